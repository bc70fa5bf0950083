package handstamp_test

import (
	"crypto"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
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
			if rec := w.Record(); rec.Retry != nil || rec.Intent != nil {
				t.Errorf("stored for the other processes: %+v, %+v", rec.Retry, rec.Intent)
			}
			w.WantCounts(map[string]int{"token": 0, "token:refresh": 0, "token:client_credentials": 0})
			w.MustCall(session(m.key))
		})
	}
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
