package handstamp_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
)

// machines are the ways in which a service authenticates.
func machines(t *testing.T) map[string]machine {
	t.Helper()
	key, err := clientkey.Generate("ES256")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]machine{
		"client_secret_basic": {secret: "s%+ :", method: lab.MethodBasic},
		"client_secret_post":  {secret: "s", method: lab.MethodPost},
		"client_secret_jwt":   {secret: "a secret that is long enough for HS256", method: lab.MethodSecretJWT},
		"private_key_jwt":     {key: key, method: lab.MethodPrivateKeyJWT},
	}
}

type machine struct {
	secret, method string
	key            *clientkey.Key
	audience       string
}

func (m machine) start(t *testing.T) *testenv.Env {
	t.Helper()
	return m.known(testenv.New(t, m.habits()))
}

func (m machine) habits() lab.Habits {
	return lab.Habits{
		Methods: []string{m.method}, Grants: []string{lab.GrantClientCredentials}, NoRegistration: true,
		Assertions: lab.Assertions{Audience: m.audience},
	}
}

// known has the server know the machine.
func (m machine) known(w *testenv.Env) *testenv.Env {
	client := lab.ConfiguredClient{ID: "machine", Method: m.method, Secret: m.secret}
	if m.key != nil {
		client.JWKS = string(m.key.JWKS())
	}
	w.Lab.RegisterClient(client)
	return w
}

func (m machine) session(w *testenv.Env) *handstamp.Client {
	c := w.Session()
	c.Grant = handstamp.ClientCredentials{}
	c.Registration = &handstamp.Registration{ClientID: "machine", ClientSecret: secret.String(m.secret)}
	c.Key = m.key
	c.LoginPolicy = handstamp.LoginNever // of users
	return c
}

// A service signs itself in, and its later sessions need nothing but the store and the key.
func TestClientCredentials(t *testing.T) {
	for name, m := range machines(t) {
		t.Run(name, func(t *testing.T) {
			w := m.start(t)
			w.MustCall(m.session(w))
			w.Lab.Reset()
			w.MustCall(m.session(w))
			w.WantCounts(map[string]int{"mcp": 1, "as": 0})
			w.Lab.RevokeAccessTokens()
			w.MustCall(m.session(w))
			w.Expire()
			stored := w.Session() // which knows no secret and no grant
			stored.Key = m.key
			w.MustCall(stored)
			w.WantTabs(0)
			if audit := w.Lab.Audit(); audit.AssertionReuses != 0 {
				t.Errorf("%d assertions were used twice", audit.AssertionReuses)
			}
		})
	}
}

// Many sessions at one expired token make one token request.
func TestClientCredentialsManySessions(t *testing.T) {
	m := machines(t)["private_key_jwt"]
	w := m.start(t)
	w.MustCall(m.session(w))
	w.Expire()
	w.Lab.Reset()
	w.CallAtOnce(20, func() *handstamp.Client { return m.session(w) })
	w.WantCounts(map[string]int{"token:client_credentials": 1, "server_metadata": 0, "resource_metadata": 0})
}

// A server that takes assertions for its token endpoint only is learned, once.
func TestAssertionAudienceIsLearned(t *testing.T) {
	m := machines(t)["private_key_jwt"]
	m.audience = lab.AudienceEndpoint
	w := m.start(t)
	w.MustCall(m.session(w))
	w.Expire()
	w.Lab.Reset()
	w.MustCall(m.session(w))
	w.WantCounts(map[string]int{"token:client_credentials": 1})
}

// What cannot authenticate is one sentence, before and after a request.
func TestClientCredentialsThatDoNotMatch(t *testing.T) {
	m := machines(t)["private_key_jwt"]
	w := m.start(t)
	other, err := clientkey.Generate("ES256")
	if err != nil {
		t.Fatal(err)
	}
	m.key = other
	if err := w.Call(m.session(w)); !errors.Is(err, handstamp.ErrClientRejected) || !strings.Contains(err.Error(), other.ID()) {
		t.Errorf("with another key: %v", err)
	}
	m.key = nil
	if err := w.Call(m.session(w)); err == nil {
		t.Error("no error without a key")
	}
	w.WantTabs(0)
}

// A key whose algorithm the server does not take is one sentence, before the browser opens.
func TestAlgorithmOfKeyIsNotTaken(t *testing.T) {
	key, err := clientkey.Generate("EdDSA")
	if err != nil {
		t.Fatal(err)
	}
	w := testenv.New(t, lab.Habits{
		Methods: []string{lab.MethodPrivateKeyJWT}, Assertions: lab.Assertions{Algorithms: []string{"ES256", "RS256"}},
	})
	c := w.Session()
	c.Registration = &handstamp.Registration{ClientID: "machine"}
	c.Key = key
	if err := w.Login(c); !errors.Is(err, handstamp.ErrInvalidConfig) {
		t.Errorf("%v, want ErrInvalidConfig", err)
	}
	w.WantTabs(0)
}

// A clock that is off is named, since servers return no more than invalid_client for it.
func TestClockOfAssertionIsOff(t *testing.T) {
	testenv.InBubble(t, lab.Habits{
		Methods: []string{lab.MethodPrivateKeyJWT}, Grants: []string{lab.GrantClientCredentials}, NoRegistration: true,
	}, func(t *testing.T, w *testenv.Env) {
		m := machines(t)["private_key_jwt"]
		w.Lab.RegisterClient(lab.ConfiguredClient{ID: "machine", Method: m.method, JWKS: string(m.key.JWKS())})
		w.Lab.Advance(5 * time.Minute)
		err := w.Call(m.session(w))
		if !errors.Is(err, handstamp.ErrClientRejected) || !strings.Contains(err.Error(), "5 minutes behind") {
			t.Errorf("%v, want the difference of the clocks", err)
		}
	})
}

// A token endpoint that moves, whatever it leaves behind, needs no user.
func TestClientCredentialsEndpointMoves(t *testing.T) {
	t.Parallel()
	m := machines(t)["client_secret_basic"]
	for name, gone := range map[string]http.HandlerFunc{
		"not found":          http.NotFound,
		"gone":               func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) },
		"method not allowed": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMethodNotAllowed) },
		"nothing listens":    nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := m.start(t)
			w.MustCall(m.session(w))
			endpoint := "http://" + proctest.UnreachableAddress(t) + "/token"
			if gone != nil {
				endpoint = testenv.Serve(t, gone).URL + "/token"
			}
			rec := w.Record()
			rec.AuthorizationServer.Metadata = []byte(strings.Replace(string(rec.AuthorizationServer.Metadata), rec.Grant.TokenEndpoint, endpoint, 1))
			rec.Grant.TokenEndpoint = endpoint
			w.Put(rec)
			w.Expire()
			w.MustCall(m.session(w))
			w.Expire()
			w.Lab.Reset()
			w.MustCall(m.session(w))
			w.WantCounts(map[string]int{"token:client_credentials": 1, "server_metadata": 0})
		})
	}
}

// A server that fails is left alone by all processes for a while.
func TestClientCredentialsServerFails(t *testing.T) {
	for name, stored := range map[string]bool{"the first token": false, "the next token": true} {
		t.Run(name, func(t *testing.T) {
			m := machines(t)["client_secret_post"]
			w := m.start(t)
			if stored {
				w.MustCall(m.session(w))
				w.Expire()
			}
			w.Lab.Reset()
			w.Lab.SetFault("token", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusServiceUnavailable, RetryAfter: "20"})
			for range 5 {
				if err := w.Call(m.session(w)); !errors.Is(err, handstamp.ErrUnreachable) {
					t.Errorf("%v", err)
				}
			}
			w.WantCounts(map[string]int{"token:client_credentials": 1})
			w.Lab.SetFault("token")
			if _, err := m.session(w).Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{}); err != nil {
				t.Errorf("login of a user: %v", err)
			}
			w.MustCall(m.session(w))
		})
	}
}

// Where no user is needed, a token that lives long enough is to be had at any time.
func TestClientCredentialsMinTTL(t *testing.T) {
	m := machines(t)["client_secret_post"]
	w := m.start(t)
	w.MustCall(m.session(w))
	rec := w.Record()
	rec.Grant.ExpiresAt = time.Now().Add(time.Minute)
	w.Put(rec)
	token, err := m.session(w).Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{MinTTL: 10 * time.Minute})
	if err != nil || time.Until(token.ExpiresAt) < 10*time.Minute {
		t.Errorf("%v, %v", token, err)
	}
}

// The next token is requested as the session is configured, and not as the one before was.
func TestClientCredentialsReconfigured(t *testing.T) {
	m := machines(t)["client_secret_post"]
	w := m.start(t)
	w.MustCall(m.session(w))
	w.Expire()
	c := m.session(w)
	c.Scopes = []string{"mcp:write"}
	if err := w.Call(c); err != nil {
		t.Log(err)
	}
	rec := w.Record()
	if rec.Grant.ScopeRequested != "mcp:write" {
		t.Errorf("requested %q\n%s", rec.Grant.ScopeRequested, w.Diary())
	}
}
