package handstamp_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store/filestore"
)

// put stores a record that a test has changed.
func (w *world) put(rec *record.Record) {
	w.t.Helper()
	if err := record.Put(context.Background(), w.store, rec); err != nil {
		w.t.Fatal(err)
	}
}

// roundTrip is an http.RoundTripper.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// interruptedRenewal returns the intent that a process left behind which was killed
// while it spent the token.
func interruptedRenewal(token secret.String, at time.Time) *record.Intent {
	mac := hmac.New(sha256.New, []byte("x"))
	mac.Write([]byte(token.Reveal()))
	return &record.Intent{ID: "x", At: at, Fingerprint: hex.EncodeToString(mac.Sum(nil)[:8])}
}

// Close and the start of work take two locks; in different orders they would wait for
// each other for ever.
func TestCloseDuringRenewals(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 2000 {
			c := &handstamp.Client{Store: w.store, LoginPolicy: handstamp.LoginNever}
			ts := c.TokenSource(context.Background(), w.lab.MCPURL())
			var wg sync.WaitGroup
			start := make(chan struct{})
			for range 4 {
				wg.Go(func() { <-start; ts.Token() })
			}
			wg.Go(func() { <-start; c.Close(context.Background()) })
			close(start)
			wg.Wait()
		}
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("deadlock")
	}
}

// A token endpoint that never answers is a passing trouble, noted in the store: the
// time for asking must not use up the time for storing.
func TestTokenEndpointThatHangs(t *testing.T) {
	dir := t.TempDir() + "/s"
	w := newWorld(t, lab.NoneFirst())
	fs, err := filestore.Open(filestore.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	w.store = fs
	w.mustCall(w.session())
	w.expire()
	synctest.Test(t, func(t *testing.T) {
		fs, err := filestore.Open(filestore.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		c := &handstamp.Client{Store: fs, AuthTransport: roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}), LoginPolicy: handstamp.LoginNever}
		// The record's times are real ones, and the bubble's clock stands in 2000.
		rec := w.record()
		rec.Grant.ExpiresAt = time.Now().Add(-time.Second)
		rec.Grant.ObtainedAt = time.Now().Add(-time.Hour)
		if err := record.Put(context.Background(), fs, rec); err != nil {
			t.Fatal(err)
		}
		_, err = c.Token(context.Background(), w.lab.MCPURL(), handstamp.TokenOptions{})
		if !errors.Is(err, handstamp.ErrUnreachable) {
			t.Errorf("kind: %v", err)
		}
		rec, _ = record.Get(context.Background(), fs, rec.Key)
		if rec.Retry == nil || rec.Intent == nil || !rec.Intent.Sent {
			t.Errorf("not noted: retry %v intent %+v", rec.Retry, rec.Intent)
		}
	})
}

// A client that is refused when the token is renewed ahead of time: the token goes on
// being used, and the server is not asked again at once.
func TestClientRejectedAheadOfTime(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.lab.RegisterClient(lab.ConfiguredClient{ID: "mine", Secret: "s", Method: lab.MethodPost, RedirectURIs: []string{"http://127.0.0.1/callback"}})
	session := func() *handstamp.Client {
		c := w.session()
		c.Registration = &handstamp.Registration{ClientID: "mine", ClientSecret: "s", TokenEndpointAuthMethod: lab.MethodPost}
		c.LoginPolicy = handstamp.LoginAuto
		return c
	}
	w.mustCall(session())
	rec := w.record()
	rec.Grant.ExpiresAt = time.Now().Add(5 * time.Second)
	rec.Grant.ObtainedAt = time.Now().Add(-time.Hour)
	w.put(rec)
	w.lab.ForgetClients()
	c := session()
	for range 3 {
		if err := w.call(c); err != nil {
			t.Errorf("call with a token that is valid: %v", err)
		}
	}
	if n := w.lab.Counts()["token:refresh"]; n > 1 {
		t.Errorf("%d refreshes", n)
	}
}

// An interrupted renewal is repeated at once, in case the server forgives; when it does
// not, each session does not try again, and the end is named.
func TestInterruptedRenewalIsRepeatedOnce(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	rec := w.record()
	rec.Intent = interruptedRenewal(rec.Grant.RefreshToken, time.Now())
	w.put(rec)
	w.lab.SetFault("token", lab.Fault{Kind: lab.FaultStatus, Status: 400, ContentType: "application/json", Body: `{"error":"invalid_grant"}`})
	for range 5 {
		w.mustCall(w.session())
	}
	if n := w.lab.Counts()["token:refresh"]; n > 1 {
		t.Errorf("%d refreshes with a refused token", n)
	}
	rec = w.record()
	rec.Grant.ExpiresAt, rec.Retry = time.Now().Add(-time.Second), nil
	w.put(rec)
	q := w.session()
	q.LoginPolicy = handstamp.LoginNever
	err := w.call(q)
	st, _ := q.Status(t.Context(), w.lab.MCPURL())
	if st.GrantError == nil || !st.GrantError.Interrupted {
		t.Errorf("not named: %v %+v", err, st)
	}
}

// An answer that was saved long before anybody could read it is renewed in turn.
func TestSavedAnswerOfLongAgo(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	rec := w.record()
	body, _ := json.Marshal(map[string]any{"access_token": "old", "token_type": "Bearer", "expires_in": 3600, "refresh_token": rec.Grant.RefreshToken.Reveal()})
	rec.Intent = interruptedRenewal(rec.Grant.RefreshToken, time.Now().Add(-2*time.Hour))
	rec.Intent.Response = &record.RawResponse{Status: 200, ContentType: "application/json", ReceivedAt: time.Now().Add(-2 * time.Hour), Body: secret.String(body)}
	rec.Grant.ExpiresAt = time.Now().Add(-time.Minute)
	w.put(rec)
	tok, err := w.session().Token(t.Context(), w.lab.MCPURL(), handstamp.TokenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if tok.ExpiresAt.Before(time.Now()) {
		t.Errorf("Token returned one that expired %v ago", time.Since(tok.ExpiresAt))
	}
}

// A server that spends the refresh token on a failed authentication: the method that
// was right all the same is known to the login that follows.
func TestMethodLearnedFromRefusedGrant(t *testing.T) {
	w := newWorld(t, lab.Habits{Methods: []string{"client_secret_basic", "client_secret_post"}, EnforceMethod: lab.MethodPost, RegisterMethod: "client_secret_basic", RefreshSpentOnBadClient: true, CodeSpentOnBadClient: true, RegisterSilent: true})
	w.mustCall(w.session())
	rec := w.record()
	rec.Clients[0].Method, rec.Clients[0].MethodSource = "client_secret_basic", record.MethodRequested
	w.put(rec)
	w.expire()
	before := w.tabs.Load()
	w.mustCall(w.session())
	if n := w.tabs.Load() - before; n != 1 {
		t.Errorf("%d tabs, want 1\n%s", n, w.diary())
	}
}

// A token that is no bearer token is not sent as one, in the next call either.
func TestTokenOfAnotherType(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	w.expire()
	w.lab.SetFault("token", lab.Fault{Kind: lab.FaultStatus, Status: 200, ContentType: "application/json", Body: `{"access_token":"a","token_type":"DPoP","expires_in":3600}`})
	c := w.session()
	c.LoginPolicy = handstamp.LoginNever
	for i := range 2 {
		if _, err := c.Token(t.Context(), w.lab.MCPURL(), handstamp.TokenOptions{}); !errors.Is(err, handstamp.ErrProtocol) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}
