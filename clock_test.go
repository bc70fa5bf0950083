package handstamp_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// signed are the logins in which something is signed for the token endpoint, with a date in it.
func signed(t *testing.T) map[string]signedLogin {
	t.Helper()
	key, err := clientkey.Generate("ES256")
	if err != nil {
		t.Fatal(err)
	}
	keys := []string{lab.MethodPrivateKeyJWT}
	return map[string]signedLogin{
		"a configured client with a key": {
			habits: lab.Habits{Methods: keys, NoRegistration: true},
			client: func(c *handstamp.Client) {
				c.Registration, c.Key = &handstamp.Registration{ClientID: "mine"}, key
			},
			configured: &lab.ConfiguredClient{ID: "mine", Method: lab.MethodPrivateKeyJWT, JWKS: string(key.JWKS())},
		},
		"a registered client with a key": {
			habits: lab.Habits{Methods: keys},
			client: func(c *handstamp.Client) { c.Key = key },
		},
		"a client secret that signs": {
			habits: lab.Habits{Methods: []string{lab.MethodSecretJWT}, NoRegistration: true},
			client: func(c *handstamp.Client) {
				c.Registration = &handstamp.Registration{ClientID: "mine", ClientSecret: longSecret,
					TokenEndpointAuthMethod: lab.MethodSecretJWT}
			},
			configured: &lab.ConfiguredClient{ID: "mine", Method: lab.MethodSecretJWT, Secret: longSecret},
		},
		"proofs of possession": {
			habits: lab.Habits{DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPRequired}},
			client: func(*handstamp.Client) {},
		},
	}
}

const longSecret = "a secret that is long enough for HS256"

type signedLogin struct {
	habits     lab.Habits
	client     func(*handstamp.Client)
	configured *lab.ConfiguredClient
}

func (s signedLogin) session(w *testenv.Env) *handstamp.Client {
	c := w.Session()
	s.client(c)
	return c
}

// run runs a test with the login's server.
func (s signedLogin) run(t *testing.T, test func(t *testing.T, w *testenv.Env)) {
	testenv.InBubble(t, s.habits, func(t *testing.T, w *testenv.Env) {
		if s.configured != nil {
			w.Lab.RegisterClient(*s.configured)
		}
		test(t, w)
	})
}

// A refresh that is rejected because this machine's clock is off names the clock and ends nothing:
// with the right clock the next one works, without a user.
func TestClockIsOffAtARefresh(t *testing.T) {
	for name, s := range signed(t) {
		t.Run(name, func(t *testing.T) {
			s.run(t, func(t *testing.T, w *testenv.Env) {
				w.MustCall(s.session(w))
				w.Expire()
				w.Lab.Advance(5 * time.Minute)
				for range 2 { // this process, and another one
					c := s.session(w)
					c.LoginPolicy = handstamp.LoginNever
					if err := w.Call(c); err == nil || !strings.Contains(err.Error(), "5 minutes behind") {
						t.Errorf("%v, want the difference of the clocks", err)
					}
				}
				w.Lab.Advance(-5 * time.Minute)
				tabs := w.Tabs.Load()
				c := s.session(w)
				if _, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{}); err != nil {
					t.Fatalf("with the right clock: %v\n%s", err, w.Diary())
				}
				w.MustCall(c)
				w.WantTabs(tabs)
			})
		})
	}
}

// The code exchange of a login likewise.
func TestClockIsOffAtALogin(t *testing.T) {
	for name, s := range signed(t) {
		t.Run(name, func(t *testing.T) {
			s.run(t, func(t *testing.T, w *testenv.Env) {
				w.Lab.Advance(5 * time.Minute)
				err := w.Login(s.session(w))
				if err == nil || !strings.Contains(err.Error(), "5 minutes behind") {
					t.Errorf("%v, want the difference of the clocks\n%s", err, w.Diary())
				}
				w.WantTabs(1)
			})
		})
	}
}

// A key that the server does not know any more is named, and the old one goes on with what is stored.
func TestKeyDoesNotMatchAtARefresh(t *testing.T) {
	other, err := clientkey.Generate("ES256")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a configured client with a key", "a registered client with a key"} {
		s := signed(t)[name]
		t.Run(name, func(t *testing.T) {
			s.run(t, func(t *testing.T, w *testenv.Env) {
				w.MustCall(s.session(w))
				w.Expire()
				c := s.session(w)
				c.Key, c.LoginPolicy = other, handstamp.LoginNever
				err := w.Call(c)
				if err == nil || !strings.Contains(err.Error(), other.ID()) {
					t.Errorf("%v, want the key", err)
				}
				if errors.Is(err, handstamp.ErrInvalidConfig) {
					t.Errorf("%v is no mistake in the configuration", err)
				}
				tabs := w.Tabs.Load()
				w.MustCall(s.session(w)) // with the first key
				w.WantTabs(tabs)
			})
		})
	}
}
