package handstamp_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// A server whose registrations cannot be updated after all, whatever says so, costs one login and
// is not waited for.
func TestRegistrationCannotBeUpdated(t *testing.T) {
	for name, fault := range map[string]lab.Fault{
		"a page with 404":  {Kind: lab.FaultHTML, Status: 404},
		"text with 404":    {Kind: lab.FaultStatus, Status: 404, Body: "404 page not found"},
		"text with 405":    {Kind: lab.FaultStatus, Status: 405, Body: "Method Not Allowed"},
		"a page with 403":  {Kind: lab.FaultHTML, Status: 403},
		"501":              {Kind: lab.FaultStatus, Status: 501, Body: "not implemented"},
		"another origin":   {Kind: lab.FaultRedirect, Location: "http://127.0.0.1:1/"},
		"nothing with 204": {Kind: lab.FaultStatus, Status: 204},
		"a page with 200":  {Kind: lab.FaultHTML, Status: 200},
		"another client": {Kind: lab.FaultStatus, Status: 200, ContentType: "application/json",
			Body: `{"client_id":"another","client_secret":"stolen"}`},
	} {
		t.Run(name, func(t *testing.T) {
			testenv.InBubble(t, managed(false), func(t *testing.T, w *testenv.Env) {
				w.MustLogin(w.Session())
				time.Sleep(2 * time.Hour)
				w.Lab.SetFault("registration", fault)
				w.MustCall(w.Session())
				w.WantTabs(2)
				w.WantCounts(map[string]int{"register": 2, "registration": 1})
			})
		})
	}
}

// The response with the new secret may be lost, whatever becomes of the requests after that: the
// registration is read, and what it is then is kept.
func TestResponseWithTheNewSecretIsLost(t *testing.T) {
	for name, second := range map[string]int{ // the status of the second update
		"the update is repeated":        0,
		"the server is down after that": http.StatusServiceUnavailable,
		"it updates nothing after that": http.StatusForbidden,
	} {
		t.Run(name, func(t *testing.T) {
			testenv.InBubble(t, managed(false), func(t *testing.T, w *testenv.Env) {
				w.MustLogin(w.Session())
				time.Sleep(2 * time.Hour)
				w.Lab.SetFault("registration", lab.Fault{Kind: lab.FaultCutAfter, Times: 1})
				if err := w.Call(w.Session()); !errors.Is(err, handstamp.ErrUnreachable) {
					t.Errorf("%v, want ErrUnreachable", err)
				}
				time.Sleep(time.Minute)
				read := false
				session := w.Session()
				session.AuthTransport = testenv.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
					if req.Method == http.MethodPut && read && second != 0 {
						w.Lab.SetFault("registration", lab.Fault{Kind: lab.FaultStatus, Status: second, Times: 1})
					}
					read = read || req.Method == http.MethodGet
					return w.Transport().RoundTrip(req)
				})
				if err := w.Call(session); err != nil && second != http.StatusServiceUnavailable {
					t.Error(err)
				}
				time.Sleep(time.Minute)
				w.MustCall(w.Session())
				w.WantTabs(1)
				w.WantCounts(map[string]int{"register": 1, "registration": 4})
			})
		})
	}
}

// An application that keeps its registration is given the new secret, too.
func TestApplicationKeepsTheNewSecret(t *testing.T) {
	testenv.InBubble(t, managed(false), func(t *testing.T, w *testenv.Env) {
		var kept []handstamp.Registration
		session := func() *handstamp.Client {
			c := w.Session()
			c.OnRegister = func(_ context.Context, r handstamp.Registration) error {
				kept = append(kept, r)
				return nil
			}
			return c
		}
		w.MustLogin(session())
		time.Sleep(2 * time.Hour)
		w.MustCall(session())
		if len(kept) != 2 || kept[1].ClientSecret == kept[0].ClientSecret || kept[1].ClientID != kept[0].ClientID ||
			!kept[1].SecretExpiresAt.After(kept[0].SecretExpiresAt) || kept[1].TokenEndpointAuthMethod == "" || kept[1].Response == "" {
			t.Errorf("the application was given %+v", kept)
		}
		w.WantTabs(1)
	})
}

// Many sessions that find the secret expired, some by a refresh and one by a login, have the server
// issue one new secret, and none undoes what another stored.
func TestSecretIsReplacedOnceForAll(t *testing.T) {
	testenv.InBubble(t, managed(true), func(t *testing.T, w *testenv.Env) {
		w.MustLogin(w.Session())
		time.Sleep(2 * time.Hour)
		const sessions = 20
		errs := make(chan error, sessions)
		first := w.Session()
		var once sync.Once
		first.AuthTransport = testenv.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
			if req.Method == http.MethodPut {
				once.Do(func() {
					for range sessions {
						go func() { errs <- w.Call(w.Session()) }()
					}
					time.Sleep(5 * time.Second) // in the bubble
				})
			}
			return w.Transport().RoundTrip(req)
		})
		w.MustLogin(first)
		for range sessions {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		w.WantCounts(map[string]int{"register": 1, "registration": 1})
		time.Sleep(2 * time.Hour)
		w.MustCall(w.Session())
		w.WantCounts(map[string]int{"register": 1, "registration": 2})
	})
}

// While no disk takes what comes of it, no secret is replaced: a token that is good goes on.
func TestSecretIsNotReplacedOnAFullDisk(t *testing.T) {
	h := managed(true)
	h.AccessTokenLifetime = 3 * time.Hour
	testenv.InBubble(t, h, func(t *testing.T, w *testenv.Env) {
		w.MustLogin(w.Session())
		time.Sleep(3*time.Hour - 30*time.Second)
		c := w.Session()
		c.Store = fullDisk{w.Store}
		w.MustCall(c)
		w.WantCounts(map[string]int{"registration": 0})
		w.MustCall(w.Session())
		w.WantCounts(map[string]int{"registration": 1})
		w.WantTabs(1)
	})
}

// fullDisk is a store that has no space.
type fullDisk struct{ store.Store }

func (fullDisk) Reserve(context.Context, store.Key, int) (store.Reservation, error) {
	return nil, store.ErrUnusable
}

// A client that is registered for other grants is left as it is.
func TestRegistrationForOtherGrantsIsLeftAlone(t *testing.T) {
	h := managed(false)
	h.Grants = []string{lab.GrantDeviceCode}
	testenv.InBubble(t, h, func(t *testing.T, w *testenv.Env) {
		w.MustLogin(w.Session())
		w.MustLogin(deviceSession(w, approve(t, w)))
		w.WantCounts(map[string]int{"register": 2, "registration": 0})
	})
}
