package handstamp_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

// TestClientRejectedInOtherWords: a client whose form of authentication has never
// worked is tried in the others, with whatever words and status the server, or
// the framework in front of it, rejects it; what worked serves the refresh and
// the revocation, too.
func TestClientRejectedInOtherWords(t *testing.T) {
	t.Parallel()
	post, basic := lab.MethodPost, lab.MethodBasic
	for _, rejection := range []struct {
		status     int
		kind, body string
	}{
		{400, "application/json", `{"error":"invalid_request","error_description":"Missing client_id"}`},
		{401, "application/json", `{"status":401,"error":"Unauthorized","path":"/token"}`},
		{401, "application/json", `{"error":"access_denied"}`},
		{401, "application/json", `{"error":"invalid_token"}`},
		{422, "application/json", `{"detail":[{"loc":["body","client_id"],"msg":"Field required","type":"missing"}]}`},
		{401, "text/html", `<html><body>Unauthorized</body></html>`},
		{401, "text/plain", `Bad credentials`},
		{403, "text/plain", `Forbidden`},
		{403, "", ``},
	} {
		for _, habits := range []lab.Habits{
			{Methods: []string{post, basic}, RegisterMethod: basic, FormClientID: true},
			{Methods: []string{basic}, RegisterMethod: post, RegisterSilent: true},
			{Methods: []string{post}, RegisterMethod: basic, RegisterSilent: true, CodeUsedOnBadClient: true, RefreshUsedOnBadClient: true},
		} {
			for _, typedIn := range []bool{false, true} {
				name := fmt.Sprint(rejection.status, " ", rejection.body, "/", habits.Methods, "/typed in ", typedIn)
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					w := testenv.New(t, habits)
					var registration *handstamp.Registration
					if typedIn {
						w.Lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: "s", Method: habits.RegisterMethod,
							RedirectURIs: []string{"http://127.0.0.1/callback"}})
						registration = &handstamp.Registration{ClientID: "app", ClientSecret: secret.String("s")}
					}
					session := func() *handstamp.Client {
						c, line := w.Recorded()
						c.Registration = registration
						line.OnResponse(func(req *http.Request, resp *http.Response) {
							if path := req.URL.Path; !strings.Contains(path, testenv.AtToken) && !strings.Contains(path, testenv.AtRevoke) {
								return
							}
							body, _ := io.ReadAll(resp.Body)
							if strings.Contains(string(body), "invalid_client") {
								body, resp.StatusCode = []byte(rejection.body), rejection.status
								resp.Header.Set("Content-Type", rejection.kind)
							}
							testenv.SetBody(resp, body)
						})
						return c
					}
					w.MustCall(session())
					tabs, most := w.Tabs.Load(), int32(1)
					if habits.CodeUsedOnBadClient {
						most = 2
					}
					if tabs > most {
						t.Errorf("%d tabs, want at most %d\n%s", tabs, most, w.Diary())
					}
					w.Lab.RevokeAccessTokens()
					w.MustCall(session())
					w.WantTabs(tabs)
					w.WantCounts(map[string]int{"token:refresh": 1})
					result, err := session().Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{})
					if err != nil || !result.Revoked {
						t.Errorf("logout: %v, revocation: %v", err, result.RevokeError)
					}
				})
			}
		}
	}
}

// A wait that was noted while the clock ran ahead ends with that clock.
func TestWaitNotedByWrongClock(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	w.Expire()
	rec := w.Record()
	for _, test := range []struct {
		wait  time.Duration
		waits bool
	}{{10 * time.Minute, true}, {24 * time.Hour, false}} {
		rec.Retry = &record.Retry{NotBefore: time.Now().Add(test.wait), Failures: 3, Reason: "503"}
		w.Put(rec)
		c := w.Session()
		status, err := c.Status(t.Context(), w.Lab.MCPURL())
		if err != nil || status.RetryAt.IsZero() == test.waits {
			t.Errorf("%v: status %+v, %v", test.wait, status, err)
		}
		switch err := w.Call(c); {
		case test.waits:
			testenv.WantKind(t, err, handstamp.ErrUnreachable)
		case err != nil:
			t.Errorf("%v: %v", test.wait, err)
		}
	}
	w.WantCounts(map[string]int{"token:refresh": 1})
}

// sealedSigner is a key in a KMS that does not let this program sign.
type sealedSigner struct {
	crypto.Signer
	err error
}

func (s sealedSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, s.err }

// pausingSigner is a key in a KMS that cannot be reached at first.
type pausingSigner struct {
	crypto.Signer
	fails atomic.Int32 // so often
}

func (s *pausingSigner) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	if s.fails.Add(-1) >= 0 {
		return nil, errors.New("no connection")
	}
	return s.Signer.Sign(r, digest, o)
}

// That this machine cannot make a token request is no trouble of the authorization server's: the error
// has the cause, a token that is good goes on, and other processes need not wait.
func TestKeyThatDoesNotSign(t *testing.T) {
	m := machines(t)["private_key_jwt"]
	denied := errors.New("access denied")
	sealed, err := clientkey.New(sealedSigner{m.key, denied}, clientkey.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, habits := range map[string]lab.Habits{
		"a refresh":          {Methods: []string{m.method}, NoRegistration: true},
		"client credentials": {Methods: []string{m.method}, NoRegistration: true, Grants: []string{lab.GrantClientCredentials}},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, habits)
			w.Lab.RegisterClient(lab.ConfiguredClient{ID: "machine", Method: m.method, JWKS: string(m.key.JWKS()),
				RedirectURIs: []string{"http://127.0.0.1/callback"}})
			session := func(key *clientkey.Key) *handstamp.Client {
				c := m.session(w)
				if c.Key = key; habits.Grants == nil {
					c.Grant = nil
				}
				return c
			}
			w.MustLogin(session(m.key))
			w.Lab.Reset()
			if habits.Grants == nil { // else the next one is obtained when this one has expired
				w.AboutToExpire()
				w.MustCall(session(sealed))
			}
			w.Expire()
			err := w.Call(session(sealed))
			testenv.WantKind(t, err, handstamp.ErrUnreachable)
			var known *handstamp.Error
			if !errors.Is(err, denied) || !errors.As(err, &known) || !known.RetryAt.IsZero() {
				t.Errorf("error %v", err)
			}
			if rec := w.Record(); rec.Retry != nil && !rec.Retry.NotBefore.IsZero() || rec.Intent != nil {
				t.Errorf("stored for the other processes: %+v, %+v", rec.Retry, rec.Intent)
			}
			w.WantCounts(map[string]int{"token": 0, "token:refresh": 0, "token:client_credentials": 0})
			w.MustCall(session(m.key))
		})
	}
}

// keySession is a session whose client has that key.
type keySession func(*clientkey.Key) *handstamp.Client

// withKey runs a test in a bubble at a server that knows a client by its key.
func withKey(t *testing.T, test func(w *testenv.Env, key *clientkey.Key, session keySession)) {
	t.Helper()
	m := machines(t)["private_key_jwt"]
	habits := lab.Habits{Methods: []string{m.method}, NoRegistration: true}
	testenv.InBubble(t, habits, func(_ *testing.T, w *testenv.Env) {
		w.Lab.RegisterClient(lab.ConfiguredClient{ID: "machine", Method: m.method, JWKS: string(m.key.JWKS())})
		test(w, m.key, func(key *clientkey.Key) *handstamp.Client {
			c := m.session(w)
			c.Grant, c.Key = nil, key
			return c
		})
	})
}

// A process whose key does not sign leaves it to the others to finish a refresh that was interrupted, and
// at once: a server accepts a repetition for a moment only.
func TestInterruptedRefreshAndAKeyThatDoesNotSign(t *testing.T) {
	withKey(t, func(w *testenv.Env, key *clientkey.Key, session keySession) {
		w.MustLogin(session(key))
		rec := w.Record()
		rec.Intent = interruptedRefresh(rec.Grant.RefreshToken, time.Now())
		w.Put(rec)
		w.Lab.Reset()
		sealed, err := clientkey.New(sealedSigner{key, errors.New("access denied")}, clientkey.Options{})
		if err != nil {
			w.T.Fatal(err)
		}
		w.MustCall(session(sealed))
		w.WantCounts(map[string]int{"token:refresh": 0})
		w.MustCall(session(key))
		w.WantCounts(map[string]int{"token:refresh": 1})
	})
}

// A key that cannot be reached for a moment fails no request.
func TestKeyThatPauses(t *testing.T) {
	withKey(t, func(w *testenv.Env, key *clientkey.Key, session keySession) {
		w.MustLogin(session(key))
		w.Expire()
		signer := &pausingSigner{Signer: key}
		signer.fails.Store(2)
		pausing, err := clientkey.New(signer, clientkey.Options{})
		if err != nil {
			w.T.Fatal(err)
		}
		w.MustCall(session(pausing))
	})
}

// hangingSigner is a key in a KMS that does not respond.
type hangingSigner struct {
	crypto.Signer
	release chan struct{}
}

func (s hangingSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	<-s.release
	panic("released")
}

// A key that does not respond holds the lock of a refresh no longer than a server would.
func TestKeyThatHangs(t *testing.T) {
	m := machines(t)["private_key_jwt"]
	testenv.InBubble(t, lab.Habits{Methods: []string{m.method}, NoRegistration: true}, func(t *testing.T, w *testenv.Env) {
		hanging := hangingSigner{m.key, make(chan struct{})}
		key, err := clientkey.New(hanging, clientkey.Options{})
		if err != nil {
			t.Fatal(err)
		}
		w.Lab.RegisterClient(lab.ConfiguredClient{ID: "machine", Method: m.method, JWKS: string(m.key.JWKS()),
			RedirectURIs: []string{"http://127.0.0.1/callback"}})
		session := func(key *clientkey.Key) *handstamp.Client {
			c := m.session(w)
			c.Key, c.Grant, c.LoginPolicy = key, nil, handstamp.LoginAuto
			return c
		}
		w.MustLogin(session(m.key))
		w.Expire()
		began := time.Now()
		err = w.Call(session(key))
		testenv.WantKind(t, err, handstamp.ErrUnreachable)
		if took := time.Since(began); took > time.Minute || !strings.Contains(err.Error(), "could not be made") {
			t.Errorf("after %v: %v", took, err)
		}
		w.MustCall(session(m.key))
		w.WantTabs(1)
		close(hanging.release) // and its panic is nothing to this program
	})
}

// Another process may change the login while the key hangs: the token of a new one is used.
func TestKeyThatHangsWhileTheLoginChanges(t *testing.T) {
	for name, change := range map[string]func(w *testenv.Env, other *handstamp.Client) error{
		"a logout": func(w *testenv.Env, other *handstamp.Client) error {
			_, err := other.Logout(w.T.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{})
			return err
		},
		"a login": func(w *testenv.Env, other *handstamp.Client) error {
			other.LoginPolicy = handstamp.LoginAuto
			_, err := other.Login(w.T.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{Force: true})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			withKey(t, func(w *testenv.Env, key *clientkey.Key, session keySession) {
				w.MustLogin(session(key))
				w.Expire()
				hanging := hangingSigner{key, make(chan struct{})}
				defer close(hanging.release)
				hangs, err := clientkey.New(hanging, clientkey.Options{})
				if err != nil {
					w.T.Fatal(err)
				}
				c := session(hangs)
				c.LoginPolicy = handstamp.LoginNever
				result := make(chan error, 1)
				go func() { result <- w.Call(c) }()
				synctest.Wait()
				if err := change(w, session(key)); err != nil {
					w.T.Fatal(err)
				}
				err = <-result
				if name == "a login" && err != nil {
					w.T.Errorf("the token of the new login is not used: %v", err)
				} else if name == "a logout" {
					testenv.WantKind(w.T, err, handstamp.ErrUnreachable)
					testenv.WantKind(w.T, w.Call(c), handstamp.ErrLoginRequired)
				}
			})
		})
	}
}

// scheduledStore keeps when the last value is due, and counts the writes.
type scheduledStore struct {
	store.Store
	last   atomic.Pointer[store.Schedule]
	writes atomic.Int32
}

func (s *scheduledStore) PutScheduled(
	ctx context.Context, key store.Key, value []byte, revision store.Revision, schedule store.Schedule,
) (store.Revision, error) {
	s.last.Store(&schedule)
	s.writes.Add(1)
	return s.Put(ctx, key, value, revision)
}

// A refresh that this machine cannot request is neither due again at once for the workers of a fleet,
// nor tried by each request.
func TestKeyThatDoesNotSignIsNotTriedAtOnce(t *testing.T) {
	m := machines(t)["private_key_jwt"]
	sealed, err := clientkey.New(sealedSigner{m.key, errors.New("throttled")}, clientkey.Options{})
	if err != nil {
		t.Fatal(err)
	}
	testenv.InBubble(t, lab.Habits{Methods: []string{m.method}, NoRegistration: true}, func(t *testing.T, w *testenv.Env) {
		w.Lab.RegisterClient(lab.ConfiguredClient{ID: "machine", Method: m.method, JWKS: string(m.key.JWKS()),
			RedirectURIs: []string{"http://127.0.0.1/callback"}})
		due := &scheduledStore{Store: w.Store}
		session := func(key *clientkey.Key) *handstamp.Client {
			c := m.session(w)
			c.Key, c.Grant, c.Store = key, nil, due
			return c
		}
		login := session(m.key)
		login.LoginPolicy = handstamp.LoginAuto
		w.MustLogin(login)
		w.AboutToExpire()
		for _, pause := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute} {
			worker := session(sealed) // as package hosted makes one for each refresh
			if busy, err := worker.RefreshAhead(t.Context(), w.Lab.MCPURL()); err == nil || !busy.IsZero() {
				t.Errorf("RefreshAhead: %v; the server is busy until %v", err, busy)
			}
			if wait := time.Until(due.last.Load().Due); wait != pause {
				t.Errorf("due in %v, want %v", wait, pause)
			}
		}
		w.Expire()
		c := session(sealed)
		call := func() {
			t.Helper()
			testenv.WantKind(t, w.Call(c), handstamp.ErrUnreachable)
		}
		call()
		writes := due.writes.Load()
		for range 5 {
			call()
		}
		if n := due.writes.Load() - writes; n != 0 {
			t.Errorf("5 requests wrote %d times", n)
		}
		time.Sleep(time.Minute)
		if call(); due.writes.Load() == writes {
			t.Error("it is not tried any more")
		}
		w.MustCall(session(m.key))
	})
}

// The error of a refresh that failed shows a reason of few words, and has its cause for those who look
// further.
func TestFailedRefreshKeepsItsCause(t *testing.T) {
	testenv.InBubble(t, lab.Habits{}, func(t *testing.T, w *testenv.Env) {
		w.MustLogin(w.Session())
		w.Expire()
		c := w.Session()
		boom := errors.New("boom")
		c.AuthTransport = failing{boom}
		err := w.Call(c)
		testenv.WantKind(t, err, handstamp.ErrUnreachable)
		if !errors.Is(err, boom) || strings.Contains(err.Error(), "boom") {
			t.Errorf("error %v", err)
		}
	})
}
