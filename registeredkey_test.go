package handstamp_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

func newClientKey(t *testing.T, alg string) *clientkey.Key {
	t.Helper()
	key, err := clientkey.Generate(alg)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A key whose algorithm the server does not take registers no client and opens no browser.
func TestKeyOfAnotherAlgorithmRegistersNoClient(t *testing.T) {
	for name, methods := range map[string][]string{
		"a key is all it takes": {lab.MethodPrivateKeyJWT},
		"it takes secrets too":  {lab.MethodBasic, lab.MethodPrivateKeyJWT},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{
				Methods: methods, Assertions: lab.Assertions{Algorithms: []string{lab.AlgES256, lab.AlgRS256}},
			})
			c := w.Session()
			c.Key = newClientKey(t, "EdDSA")
			if err := w.Login(c); !errors.Is(err, handstamp.ErrInvalidConfig) {
				t.Errorf("%v, want ErrInvalidConfig", err)
			}
			w.WantTabs(0)
			w.WantCounts(map[string]int{"register": 0})
			c = w.Session()
			c.Key = newClientKey(t, "ES256")
			w.MustLogin(c)
		})
	}
}

// Another key than the one that a client was registered with is registered in its place: with an
// update where the server takes one, and as another client elsewhere.
func TestRegisteredKeyIsReplaced(t *testing.T) {
	for name, want := range map[string]map[string]int{
		"managed":    {"register": 1, "registration": 1},
		"registered": {"register": 2, "registration": 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{
				Methods: []string{lab.MethodPrivateKeyJWT}, ManageClients: name == "managed",
			})
			c := w.Session()
			c.Key = newClientKey(t, "ES256")
			w.MustLogin(c)
			next := newClientKey(t, "ES256")
			c = w.Session()
			c.Key = next
			w.MustLogin(c)
			w.WantCounts(want)
			w.WantTabs(2)
			w.Expire()
			c = w.Session()
			c.Key, c.LoginPolicy = next, handstamp.LoginNever
			w.MustCall(c)
		})
	}
}

// The redirect URIs of other processes stay registered when a login needs another one.
func TestRedirectURIsAreAdded(t *testing.T) {
	w := testenv.New(t, lab.Habits{ManageClients: true, RedirectExact: true})
	first, second := "http://127.0.0.1:4001/callback", "http://127.0.0.1:4002/callback"
	for _, uri := range []string{first, second} {
		c := w.Session()
		c.RedirectURI = uri
		w.MustLogin(c)
	}
	w.WantCounts(map[string]int{"register": 1, "registration": 1})
	clients := w.Lab.Clients()
	if len(clients) != 1 || !slices.Contains(clients[0].RedirectURIs, first) || !slices.Contains(clients[0].RedirectURIs, second) {
		t.Errorf("registered %+v, want both redirect URIs", clients)
	}
	c := w.Session()
	c.RedirectURI = first
	w.MustLogin(c)
	w.WantCounts(map[string]int{"register": 1, "registration": 1})
}
