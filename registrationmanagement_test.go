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

// managed is a server whose secrets end, and which issues new ones to the clients that ask for one.
func managed(rotate bool) lab.Habits {
	return lab.Habits{
		ManageClients: true, RegisterMethod: lab.MethodPost, SecretLifetime: time.Hour,
		Registrations: lab.Registrations{RotateToken: rotate, ReplaceSecret: true},
	}
}

// A login outlives the secret of its client: the refresh gets a new one first.
func TestSecretIsReplaced(t *testing.T) {
	for name, rotate := range map[string]bool{"same access token": false, "another access token each time": true} {
		t.Run(name, func(t *testing.T) {
			testenv.InBubble(t, managed(rotate), func(t *testing.T, w *testenv.Env) {
				w.MustLogin(w.Session())
				for range 3 {
					time.Sleep(2 * time.Hour) // in the bubble
					w.MustCall(w.Session())
				}
				w.WantTabs(1)
				w.WantCounts(map[string]int{"register": 1, "registration": 3})
			})
		})
	}
}

// Where the server does not replace it, the next login registers again, as without management.
func TestSecretIsNotReplaced(t *testing.T) {
	testenv.InBubble(t, managed(false), func(t *testing.T, w *testenv.Env) {
		w.MustLogin(w.Session())
		time.Sleep(2 * time.Hour) // in the bubble
		w.Lab.SetFault("registration", lab.Fault{Kind: lab.FaultStatus, Status: 403})
		never := w.Session()
		never.LoginPolicy = handstamp.LoginNever
		if err := w.Call(never); !errors.Is(err, handstamp.ErrLoginRequired) {
			t.Errorf("%v, want ErrLoginRequired", err)
		}
		w.MustCall(w.Session())
		w.WantTabs(2)
		w.WantCounts(map[string]int{"register": 2, "registration": 1})
	})
}

// A server that is down for a moment ends nothing.
func TestSecretReplacementFails(t *testing.T) {
	testenv.InBubble(t, managed(false), func(t *testing.T, w *testenv.Env) {
		w.MustLogin(w.Session())
		time.Sleep(2 * time.Hour) // in the bubble
		w.Lab.SetFault("registration", lab.Fault{Kind: lab.FaultStatus, Status: 503, Times: 1})
		if err := w.Call(w.Session()); !errors.Is(err, handstamp.ErrUnreachable) {
			t.Errorf("%v, want ErrUnreachable", err)
		}
		time.Sleep(time.Minute) // in the bubble
		w.MustCall(w.Session())
		w.WantTabs(1)
	})
}

// A login that comes back to another redirect URI updates its registration.
func TestRedirectURIIsAdded(t *testing.T) {
	w := testenv.New(t, lab.Habits{ManageClients: true, RedirectExact: true})
	w.MustLogin(w.Session())
	c := w.Session()
	c.RedirectURI = "http://127.0.0.1/another"
	c.Prompt = handstamp.Prompt{Authorize: w.Consent}
	if _, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	w.WantCounts(map[string]int{"register": 1, "registration": 1})
}

// What a server needs to trust a registration is sent with it, and nowhere else.
func TestInitialAccessToken(t *testing.T) {
	w := testenv.New(t, lab.Habits{Registrations: lab.Registrations{InitialToken: "initial-token"}})
	if err := w.Login(w.Session()); !errors.Is(err, handstamp.ErrRegistrationRequired) {
		t.Errorf("%v, want ErrRegistrationRequired", err)
	}
	c := w.Session()
	c.InitialAccessToken = "initial-token"
	w.MustLogin(c)
	w.MustCall(w.Session())
}

// A client with a key registers it where the server takes keys, and later sessions need the key.
func TestKeyIsRegistered(t *testing.T) {
	key, err := clientkey.Generate("ES256")
	if err != nil {
		t.Fatal(err)
	}
	w := testenv.New(t, lab.Habits{Methods: []string{lab.MethodNone, lab.MethodPrivateKeyJWT}})
	session := func() *handstamp.Client {
		c := w.Session()
		c.Key = key
		return c
	}
	w.MustLogin(session())
	w.Expire()
	w.MustCall(session())
	for _, r := range w.Lab.Requests() {
		if strings.HasPrefix(r.Endpoint, "token") && r.AuthMethod != lab.MethodPrivateKeyJWT {
			t.Errorf("%s authenticates with %q", r.Endpoint, r.AuthMethod)
		}
	}
	w.Expire()
	if err := w.Call(w.Session()); !errors.Is(err, handstamp.ErrInvalidConfig) {
		t.Errorf("without the key: %v, want ErrInvalidConfig", err)
	}
	w.WantTabs(1)
}
