package handstamp_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store/filestore"
)

// TestRefreshNamesTheScopeWhereTheServerWantsIt, and nowhere else.
func TestRefreshNamesTheScopeWhereTheServerWantsIt(t *testing.T) {
	w := testenv.New(t, lab.Habits{ScopesSupported: []string{"tools"}})
	w.MustCall(w.Session())
	scopes := func() []string {
		var all []string
		for _, r := range w.Lab.Requests() {
			if r.Endpoint == "token:refresh" {
				all = append(all, r.Scope)
			}
		}
		return all
	}
	w.Lab.SetFault("token:refresh", lab.Fault{Kind: lab.FaultStatus, Status: 400, ContentType: "application/json", Times: 1,
		Body: `{"error":"invalid_request","error_description":"AADSTS90009: Application is requesting a token for itself."}`})
	w.Expire()
	w.MustCall(w.Session())
	w.Expire()
	w.MustCall(w.Session())
	if got := scopes(); len(got) != 3 || got[0] != "" || got[1] != "tools" || got[2] != "tools" {
		t.Errorf("the refreshes named the scopes %q, want none first, then tools, remembered\n%s", got, w.Diary())
	}
	// A server that has stopped to take it gets it once more without.
	w.Lab.SetFault("token:refresh", lab.Fault{Kind: lab.FaultStatus, Status: 400, ContentType: "application/json", Times: 1,
		Body: `{"error":"invalid_scope"}`})
	w.Expire()
	w.MustCall(w.Session())
	w.Expire()
	w.MustCall(w.Session())
	if got := scopes(); len(got) != 6 || got[4] != "" || got[5] != "" {
		t.Errorf("the refreshes named the scopes %q, want none in the last two\n%s", got, w.Diary())
	}
	w.WantTabs(1)
}

// TestScopeRejectedEitherWay: a server that rejects a refresh with its scope and
// without it does not get them in turns.
func TestScopeRejectedEitherWay(t *testing.T) {
	for _, body := range []string{
		`{"error":"invalid_scope"}`,
		`{"error":"invalid_request","error_description":"AADSTS90009: Application is requesting a token for itself."}`,
		`{"error":"invalid_scope","error_description":"scope is required"}`,
	} {
		for _, remembered := range []bool{false, true} {
			testenv.InBubble(t, lab.Habits{ScopesSupported: []string{"tools"}}, func(t *testing.T, w *testenv.Env) {
				w.MustCall(w.Session())
				w.Expire()
				if r := w.Record(); remembered {
					r.RefreshScope = []string{r.Grant.Issuer}
					w.Put(r)
				}
				w.Lab.SetFault("token:refresh", rejectionOf(400, body))
				c := w.Session()
				c.LoginPolicy = handstamp.LoginNever
				if err := w.Call(c); !errors.Is(err, handstamp.ErrLoginRequired) {
					t.Errorf("%s: %v, want ErrLoginRequired", body, err)
				}
				if n := w.Lab.Counts()["token:refresh"]; n > 3 { // one more two seconds later
					t.Errorf("%s, remembered %v: %d requests, want at most 3\n%s", body, remembered, n, w.Diary())
				}
				w.MustCall(w.Session())
				w.WantTabs(2)
			})
		}
	}
}

// relocated is an authorization server whose token endpoint has moved to another
// path, as seen by a client that sends its requests through it.
type relocated struct {
	status int    // of the old path
	to     string // the token endpoint in the metadata: a path, or another origin's URL
}

// RoundTrip implements [http.RoundTripper].
func (r *relocated) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path == "/token" {
		return &http.Response{StatusCode: r.status, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
	}
	if req.URL.Path == "/v2/token" {
		req = req.Clone(req.Context())
		req.URL.Path = "/token"
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil || !strings.Contains(req.URL.Path, "/.well-known/oauth-authorization-server") {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	origin := "http://" + req.URL.Host
	to := r.to
	if strings.HasPrefix(to, "/") {
		to = origin + to
	}
	body = bytes.Replace(body, []byte(origin+"/token"), []byte(to), 1)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, nil
}

// TestTokenEndpointThatHasMoved: where the token endpoint is not there any more, the
// metadata is read again, and one on the same origin is used from then on. Nothing
// is sent to another origin, and nothing is given up.
func TestTokenEndpointThatHasMoved(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		status int
		to     string
		found  bool
	}{
		{404, "/v2/token", true},
		{405, "/v2/token", true},
		{410, "/v2/token", true},
		{404, "/token", false},
		{404, "http://127.0.0.1:1/v2/token", false},
		{415, "/v2/token", false}, // of another kind: the endpoint is there
	} {
		t.Run(fmt.Sprint(tc.status, " ", tc.to), func(t *testing.T) {
			t.Parallel()
			w := testenv.New(t, lab.NoneFirst())
			w.MustCall(w.Session())
			w.Expire()
			moved := &relocated{status: tc.status, to: tc.to}
			c := w.Session()
			c.BaseTransport, c.AuthTransport = moved, moved
			err := w.Call(c)
			if (err == nil) != tc.found {
				t.Errorf("error %v, want success %v", err, tc.found)
			}
			if !tc.found {
				testenv.WantKind(t, err, handstamp.ErrUnreachable)
			}
			if r := w.Record(); r.Grant.RefreshToken == "" || strings.HasSuffix(r.Grant.TokenEndpoint, "/v2/token") != tc.found {
				t.Errorf("the record has the token endpoint %s", r.Grant.TokenEndpoint)
			}
			w.WantTabs(1)
		})
	}
}

func TestTroubleKeepsTheCredential(t *testing.T) {
	t.Parallel()
	for name, fault := range testenv.Trouble {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testenv.InBubble(t, lab.NoneFirst(), func(t *testing.T, w *testenv.Env) {
				w.MustCall(w.Session())
				w.Expire()
				before := w.Record()
				w.Lab.SetFault("token", fault)

				c := w.Session()
				err := w.Call(c)
				var trouble *handstamp.Error
				if !errors.Is(err, handstamp.ErrUnreachable) || !errors.As(err, &trouble) {
					t.Fatalf("error %v, want ErrUnreachable\n%s", err, w.Diary())
				}
				after := w.Record()
				if after.Grant == nil || after.Grant.RefreshToken != before.Grant.RefreshToken {
					t.Error("the refresh token was not kept")
				}
				if after.Retry == nil || !after.Retry.NotBefore.After(time.Now()) {
					t.Error("the record has no cooldown")
				}
				requests := w.Lab.Counts()["token:refresh"]
				if err := w.Call(w.Session()); !errors.Is(err, handstamp.ErrUnreachable) {
					t.Errorf("another session within the wait: %v", err)
				}
				if n := w.Lab.Counts()["token:refresh"]; n != requests {
					t.Errorf("asked %d more times within the wait", n-requests)
				}
				w.WantTabs(1)

				// The trouble passes, and so does the wait.
				w.Lab.SetFault("token")
				rec := w.Record()
				rec.Retry.NotBefore = time.Now()
				if err := record.Put(context.Background(), w.Store, rec); err != nil {
					t.Fatal(err)
				}
				w.MustCall(w.Session())
				w.WantTabs(1)
			})
		})
	}
}

func TestLostResponse(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rotation string
		tabs     int32
	}{
		{lab.RotateGrace, 1}, {lab.RotateSame, 1}, {lab.RotateUntilUsed, 1}, {lab.RotateNone, 1}, {lab.RotateRepeat, 1},
		{lab.RotateStrict, 2}, {lab.RotateStrictKeep, 2},
	} {
		for _, kind := range []string{lab.FaultCutAfter, lab.FaultCutBody} {
			t.Run(test.rotation+"/"+kind, func(t *testing.T) {
				t.Parallel()
				w := testenv.New(t, lab.Habits{Rotation: test.rotation, Grace: time.Minute})
				w.MustCall(w.Session())
				w.Expire()
				w.Lab.SetFault("token", lab.Fault{Kind: kind, Times: 1})

				quiet := w.Session()
				quiet.LoginPolicy = handstamp.LoginNever
				err := w.Call(quiet)
				if test.tabs == 1 {
					if err != nil {
						t.Fatalf("%v\n%s", err, w.Diary())
					}
					w.MustCall(w.Session())
					w.WantTabs(1)
					return
				}
				// Nothing could save this login; it is named, and one clean
				// login with the same client follows.
				if kind == lab.FaultCutAfter {
					if !errors.Is(err, handstamp.ErrLoginRequired) {
						t.Fatalf("error %v, want ErrLoginRequired\n%s", err, w.Diary())
					}
					status, err := quiet.Status(context.Background(), w.Lab.MCPURL())
					if err != nil || status.GrantError == nil || !status.GrantError.Interrupted {
						t.Errorf("status %+v, %v: the interrupted refresh is not named", status, err)
					}
				}
				w.MustCall(w.Session())
				w.WantCounts(map[string]int{"register": 1})
			})
		}
	}
}

// interruptedRefresh returns the intent that a process left behind which was killed
// while it used the token.
func interruptedRefresh(token secret.String, at time.Time) *record.Intent {
	mac := hmac.New(sha256.New, []byte("x"))
	mac.Write([]byte(token.Reveal()))
	return &record.Intent{ID: "x", At: at, Fingerprint: hex.EncodeToString(mac.Sum(nil)[:8])}
}

// A token endpoint that never responds is a passing trouble, noted in the store: the
// time for asking must not use up the time for storing.
func TestTokenEndpointThatHangs(t *testing.T) {
	dir := t.TempDir() + "/s"
	w := testenv.New(t, lab.NoneFirst())
	fs, err := filestore.Open(filestore.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	w.Store = fs
	w.MustCall(w.Session())
	w.Expire()
	synctest.Test(t, func(t *testing.T) {
		fs, err := filestore.Open(filestore.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		c := &handstamp.Client{Store: fs, AuthTransport: testenv.RoundTripFunc(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}), LoginPolicy: handstamp.LoginNever}
		// The record's times are real ones, and the bubble's clock stands in 2000.
		rec := w.Record()
		rec.Grant.ExpiresAt = time.Now().Add(-time.Second)
		rec.Grant.ObtainedAt = time.Now().Add(-time.Hour)
		if err := record.Put(context.Background(), fs, rec); err != nil {
			t.Fatal(err)
		}
		_, err = c.Token(context.Background(), w.Lab.MCPURL(), handstamp.TokenOptions{})
		if !errors.Is(err, handstamp.ErrUnreachable) {
			t.Errorf("kind: %v", err)
		}
		rec, _ = record.Get(context.Background(), fs, rec.Key)
		if rec.Retry == nil || rec.Intent == nil || !rec.Intent.Sent {
			t.Errorf("not noted: retry %v intent %+v", rec.Retry, rec.Intent)
		}
	})
}

// An interrupted refresh is repeated at once, in case the server forgives; when it does
// not, each session does not try again, and the end is named.
func TestInterruptedRefreshIsRepeatedOnce(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	rec := w.Record()
	rec.Intent = interruptedRefresh(rec.Grant.RefreshToken, time.Now())
	w.Put(rec)
	w.Lab.SetFault("token", lab.Fault{Kind: lab.FaultStatus, Status: 400, ContentType: "application/json", Body: `{"error":"invalid_grant"}`})
	for range 5 {
		w.MustCall(w.Session())
	}
	if n := w.Lab.Counts()["token:refresh"]; n > 1 {
		t.Errorf("%d refreshes with a rejected token", n)
	}
	rec = w.Record()
	rec.Grant.ExpiresAt, rec.Retry = time.Now().Add(-time.Second), nil
	w.Put(rec)
	q := w.Session()
	q.LoginPolicy = handstamp.LoginNever
	err := w.Call(q)
	st, _ := q.Status(t.Context(), w.Lab.MCPURL())
	if st.GrantError == nil || !st.GrantError.Interrupted {
		t.Errorf("not named: %v %+v", err, st)
	}
}

// A process that was suspended during a refresh may send the used refresh token after several later
// ones, and a strict server then ends the login: that is named for a day, and not for ever.
func TestInterruptedRefreshIsNamedAfterLaterOnes(t *testing.T) {
	for name, c := range map[string]struct {
		later time.Duration
		named bool
	}{
		"an hour later":  {time.Hour, true},
		"two days later": {48 * time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			testenv.InBubble(t, lab.NoneFirst(), func(t *testing.T, w *testenv.Env) {
				w.MustLogin(w.Session())
				rec := w.Record()
				rec.Intent = interruptedRefresh(rec.Grant.RefreshToken, time.Now())
				w.Put(rec)
				refresh := func() error {
					_, err := w.Session().Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{Refresh: true})
					return err
				}
				for range 3 {
					if err := refresh(); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(c.later) // the bubble's
				w.Lab.RevokeFamilies()
				session := w.Session()
				session.LoginPolicy = handstamp.LoginNever
				_, err := session.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{Refresh: true})
				status, _ := session.Status(t.Context(), w.Lab.MCPURL())
				if status.GrantError == nil || status.GrantError.Interrupted != c.named {
					t.Errorf("%v, %+v; want it to be named: %t", err, status.GrantError, c.named)
				}
			})
		})
	}
}

// A saved response that was read long afterwards is used, and its token refreshed in turn.
func TestSavedResponseOfLongAgo(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	rec := w.Record()
	body, _ := json.Marshal(map[string]any{"access_token": "old", "token_type": "Bearer", "expires_in": 3600, "refresh_token": rec.Grant.RefreshToken.Reveal()})
	rec.Intent = interruptedRefresh(rec.Grant.RefreshToken, time.Now().Add(-2*time.Hour))
	rec.Intent.Response = &record.RawResponse{Status: 200, ContentType: "application/json", ReceivedAt: time.Now().Add(-2 * time.Hour), Body: secret.String(body)}
	rec.Grant.ExpiresAt = time.Now().Add(-time.Minute)
	w.Put(rec)
	tok, err := w.Session().Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if tok.ExpiresAt.Before(time.Now()) {
		t.Errorf("Token returned one that expired %v ago", time.Since(tok.ExpiresAt))
	}
}
