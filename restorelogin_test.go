package handstamp_test

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// A login whose token the MCP server rejects leaves the one that was there, however each is made.
func TestRejectedLoginKeepsTheOneBefore(t *testing.T) {
	t.Parallel()
	secretMachine := machines(t)["client_secret_basic"]
	t.Run("with a browser", func(t *testing.T) {
		t.Parallel()
		rejectedLoginKeepsTheOneBefore(testenv.New(t, lab.Habits{}), (*testenv.Env).Session)
	})
	t.Run("bound to a key", func(t *testing.T) {
		testenv.InBubble(t, lab.Habits{DPoP: bound}, func(_ *testing.T, w *testenv.Env) {
			rejectedLoginKeepsTheOneBefore(w, (*testenv.Env).Session)
		})
	})
	t.Run("without a user", func(t *testing.T) {
		testenv.InBubble(t, secretMachine.habits(), func(_ *testing.T, w *testenv.Env) {
			rejectedLoginKeepsTheOneBefore(secretMachine.known(w), secretMachine.session)
		})
	})
}

func rejectedLoginKeepsTheOneBefore(w *testenv.Env, session func(*testenv.Env) *handstamp.Client) {
	t := w.T
	t.Helper()
	w.MustCall(session(w))
	before := w.Record()
	w.Lab.SetFault("mcp", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusUnauthorized})
	c := session(w)
	result, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{Force: true})
	if err != nil || result.Rejected == nil || !result.Kept {
		t.Fatalf("%v, %+v", err, result)
	}
	w.Lab.SetFault("mcp")
	after := w.Record()
	if after.Grant == nil || after.Grant.AccessToken != before.Grant.AccessToken ||
		after.Grant.RefreshToken != before.Grant.RefreshToken || after.Grant.Rejected {
		t.Error("another login is stored")
	}
	tabs := w.Tabs.Load()
	w.Lab.Reset()
	w.MustCall(c) // and in this process
	w.MustCall(session(w))
	w.WantCounts(map[string]int{"mcp": 2, "as": 0})
	w.Expire()
	w.MustCall(session(w))
	w.WantTabs(tabs)
}

// A rejected login of another process is not replaced by what this one has replaced long before.
func TestRejectedLoginOfAnotherProcess(t *testing.T) {
	testenv.InBubble(t, lab.Habits{}, func(t *testing.T, w *testenv.Env) {
		w.MustLogin(w.Session())
		first := w.Record().Grant.AccessToken
		c := w.Session()
		w.MustLogin(c) // in place of the first one
		w.Lab.RevokeFamilies()

		other, consents := w.Session(), make(chan struct{})
		other.Prompt.Authorize = func(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
			<-consents
			return w.Consent(ctx, r)
		}
		called := make(chan error, 1)
		go func() { called <- w.Call(other) }() // which signs in
		synctest.Wait()
		type end struct {
			result *handstamp.LoginResult
			err    error
		}
		ended := make(chan end, 1)
		go func() {
			result, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
			ended <- end{result, err}
		}()
		synctest.Wait() // it waits for the login of the other
		w.Lab.SetFault("mcp", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusUnauthorized})
		close(consents)
		if err := <-called; err == nil {
			t.Error("the call worked")
		}
		if e := <-ended; e.err != nil || e.result.Rejected == nil || e.result.Kept {
			t.Errorf("the login ended with %+v, %v", e.result, e.err)
		}
		if stored := w.Record().Grant; stored == nil || stored.AccessToken == first {
			t.Error("the login from before the last one is stored again")
		}
	})
}

// A login that is rejected is replaced by the one before it, although the MCP server has just accepted
// that.
func TestRejectedLoginBesideOneThatIsAccepted(t *testing.T) {
	testenv.InBubble(t, lab.Habits{}, func(t *testing.T, w *testenv.Env) {
		c, proofs := w.Session(), new(sync.Mutex)
		accept, reject := make(chan struct{}), make(chan struct{})
		first := ""
		c.BaseTransport = testenv.RoundTripFunc(func(r *http.Request) (*http.Response, error) {
			token := r.Header.Get("Authorization")
			proofs.Lock()
			if first == "" {
				first = token
			}
			accepted := token == first
			proofs.Unlock()
			switch {
			case token == "":
			case accepted:
				<-accept
			default:
				<-reject
				r = r.Clone(r.Context())
				r.Header.Set("Authorization", "Bearer unknown")
			}
			return w.Transport().RoundTrip(r)
		})
		login := func() <-chan *handstamp.LoginResult {
			ended := make(chan *handstamp.LoginResult, 1)
			go func() {
				result, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{Force: true})
				if err != nil {
					t.Error(err)
				}
				ended <- result
			}()
			synctest.Wait() // for its proof
			return ended
		}
		one := login()
		stored := w.Record().Grant.AccessToken
		two := login()
		close(accept)
		if result := <-one; result == nil || result.Rejected != nil {
			t.Errorf("the first login: %+v", result)
		}
		close(reject)
		if result := <-two; result == nil || result.Rejected == nil || !result.Kept {
			t.Errorf("the second login: %+v", result)
		}
		if w.Record().Grant.AccessToken != stored {
			t.Error("the first login is not stored")
		}
	})
}

// A bound login survives a login without proofs at a server that takes no other tokens.
func TestBoundLoginSurvivesOneWithoutProofs(t *testing.T) {
	for name, habits := range map[string]lab.DPoP{
		"required":   {Supported: true, Resource: lab.DPoPRequired},
		"challenged": {Supported: true, Resource: lab.DPoPChallenged},
	} {
		t.Run(name, func(t *testing.T) {
			testenv.InBubble(t, lab.Habits{DPoP: habits}, func(t *testing.T, w *testenv.Env) {
				w.MustCall(w.Session())
				c := w.Session()
				c.DPoP = handstamp.DPoPNever
				result, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{Force: true})
				if err == nil && result.Rejected == nil {
					t.Fatal("a bearer token is good enough")
				}
				tabs := w.Tabs.Load()
				w.MustCall(w.Session())
				w.WantTabs(tabs)
			})
		})
	}
}
