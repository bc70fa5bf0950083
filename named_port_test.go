package handstamp_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

// namedURI runs a login that needs a client which somebody registers by hand, and
// returns the redirect URI that it names.
func (w *world) namedURI() string {
	w.t.Helper()
	err := w.signIn(nil)
	wantKind(w.t, err, handstamp.ErrRegistrationRequired)
	var known *handstamp.Error
	if !errors.As(err, &known) || known.RedirectURI == "" {
		w.t.Fatalf("no redirect URI is named: %v", err)
	}
	return known.RedirectURI
}

// TestNamedPortIsKept: the redirect URI that a user is told to register is the one that
// the next login, in whichever process, comes back to.
func TestNamedPortIsKept(t *testing.T) {
	for name, h := range map[string]lab.Habits{
		"no registration":       {NoRegistration: true, RedirectExact: true},
		"registration rejected": {ClosedRegistration: lab.RegistrationAllowlist, RedirectExact: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, h)
			uri := w.namedURI()
			if again := w.namedURI(); again != uri {
				t.Errorf("named %s, and then %s", uri, again)
			}
			st, err := w.session().Status(context.Background(), w.lab.MCPURL())
			if err != nil || st.ManualRegistration == nil || st.ManualRegistration.RedirectURI != uri || st.ManualRegistration.Issuer != w.lab.Issuer() {
				t.Errorf("status: %+v, %v", st.ManualRegistration, err)
			}
			w.lab.RegisterClient(lab.ConfiguredClient{ID: "by-hand", Method: lab.MethodNone, RedirectURIs: []string{uri}})
			byHand := func(c *handstamp.Client) { c.Registration = &handstamp.Registration{ClientID: "by-hand"} }
			for range 2 {
				if err := w.signIn(byHand); err != nil {
					t.Fatalf("%v\n%s", err, w.diary())
				}
			}
			if st, err := w.session().Status(context.Background(), w.lab.MCPURL()); err != nil || st.ManualRegistration != nil {
				t.Errorf("status after the login: %+v, %v", st.ManualRegistration, err)
			}
		})
	}
}

// TestNamedPortIsTaken: the client that was registered with it cannot come back
// elsewhere, while a user who has registered none yet is named another.
func TestNamedPortIsTaken(t *testing.T) {
	w := newWorld(t, lab.Habits{NoRegistration: true, RedirectExact: true})
	uri := w.namedURI()
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	err = w.signIn(func(c *handstamp.Client) { c.Registration = &handstamp.Registration{ClientID: "by-hand"} })
	wantKind(t, err, handstamp.ErrInvalidConfig)
	if another := w.namedURI(); another == uri {
		t.Error("a port that is taken is named")
	}
}
