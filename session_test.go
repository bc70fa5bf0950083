package handstamp_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

// keep is an OnRegister that gives the registration back to later sessions, as
// an application does that has a place of its own for it.
func keep(r **handstamp.Registration) func(context.Context, handstamp.Registration) error {
	return func(_ context.Context, given handstamp.Registration) error {
		given.Response = ""
		*r = &given
		return nil
	}
}

func TestFirstLoginCostsSixRequests(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	w.WantCounts(map[string]int{"mcp": 2, "resource_metadata": 1, "server_metadata": 1, "register": 1, "token:code": 1})
	w.WantTabs(1)
	if n := w.AsRequests() + w.Lab.Counts()["mcp"]; n != 6 {
		t.Errorf("%d requests, want 6\n%s", n, w.Diary())
	}
}

func TestLaterSessionsWalkIn(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())

	t.Run("second session", func(t *testing.T) {
		w.Lab.Reset()
		w.MustCall(w.Session())
		if n := w.AsRequests(); n != 0 {
			t.Errorf("%d requests to the authorization server, want 0\n%s", n, w.Diary())
		}
	})
	t.Run("rejected early", func(t *testing.T) {
		w.Lab.RevokeAccessTokens()
		w.Lab.Reset()
		w.MustCall(w.Session())
		w.WantCounts(map[string]int{"mcp": 2, "token:refresh": 1})
		if n := w.AsRequests(); n != 1 {
			t.Errorf("%d requests to the authorization server, want 1\n%s", n, w.Diary())
		}
	})
	t.Run("grant gone", func(t *testing.T) {
		w.Lab.RevokeFamilies()
		w.Lab.Reset()
		w.MustCall(w.Session())
		w.WantCounts(map[string]int{"register": 0, "token:code": 1})
	})
	t.Run("client forgotten", func(t *testing.T) {
		w.Lab.ForgetClients()
		w.Lab.RevokeAccessTokens()
		w.Lab.Reset()
		w.MustCall(w.Session())
		w.WantCounts(map[string]int{"register": 1, "token:code": 1})
	})
	w.WantTabs(3)
}

func TestExpiredTokenCostsOneRequest(t *testing.T) {
	testenv.InBubble(t, lab.Habits{AccessTokenLifetime: time.Second}, func(t *testing.T, w *testenv.Env) {
		c := w.Session()
		w.MustCall(c)
		status, err := c.Status(t.Context(), w.Lab.MCPURL())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(status.ExpiresAt)) // in the bubble
		w.Lab.Reset()
		w.MustCall(w.Session())
		w.WantCounts(map[string]int{"mcp": 1, "token:refresh": 1})
		if n := w.AsRequests(); n != 1 {
			t.Errorf("%d requests to the authorization server, want 1\n%s", n, w.Diary())
		}
		w.WantTabs(1)
	})
}

// knowledge is how a client came to know its registration.
type knowledge string

const (
	registered  knowledge = "registered"   // dynamically: the response has the method
	unsaid      knowledge = "unsaid"       // dynamically: the response has none
	configured  knowledge = "configured"   // id, secret and method are given back by the application
	idAndSecret knowledge = "id+secret"    // typed in by a user, who knows of no method
	kept        knowledge = "kept by hook" // registered once, then kept by the application alone
)

// methodLists are the orders in which a server can list the three methods, the
// shorter lists, and no list at all.
func methodLists() [][]string {
	n, p, b := lab.MethodNone, lab.MethodPost, lab.MethodBasic
	return [][]string{
		{n, p, b}, {n, b, p}, {p, n, b}, {p, b, n}, {b, n, p}, {b, p, n},
		{p, b}, {b, p}, {n, p}, {n, b}, {n}, {p}, {b}, nil,
	}
}

// TestMethodAcrossSessions is the reason why this library exists: whatever the
// server lists, in whatever order, each session uses the method that the client
// was registered with, and one that no document has is found out once.
func TestMethodAcrossSessions(t *testing.T) {
	t.Parallel()
	for _, know := range []knowledge{registered, unsaid, configured, idAndSecret, kept} {
		for _, method := range []string{lab.MethodNone, lab.MethodPost, lab.MethodBasic} {
			for i, list := range methodLists() {
				if testing.Short() && i%3 != 1 {
					continue
				}
				name := fmt.Sprintf("%s/%s/%s", know, method, strings.Join(list, ","))
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) { testMethod(t, know, method, list) })
				})
			}
		}
	}
}

func testMethod(t *testing.T, know knowledge, method string, list []string) {
	habits := lab.Habits{
		Methods: list, OmitMethods: list == nil, RegisterMethod: method, RegisterSilent: know == unsaid,
		SecretAlphabet: "%+ :/&=", RejectRepeatedID: true,
	}
	w, _ := testenv.NewInMemory(t, habits)
	var registration *handstamp.Registration
	if know == configured || know == idAndSecret {
		client := lab.ConfiguredClient{ID: "client/% 1", Method: method, RedirectURIs: []string{"http://127.0.0.1/callback"}}
		registration = &handstamp.Registration{ClientID: client.ID}
		if method != lab.MethodNone {
			client.Secret = "se:cr%et+ &="
			registration.ClientSecret = secret.String(client.Secret)
		}
		if know == configured {
			registration.TokenEndpointAuthMethod = method
		}
		w.Lab.RegisterClient(client)
	}
	session := func() *handstamp.Client {
		c := w.Session()
		c.Registration = registration
		c.CallbackPort = 0
		return c
	}

	first := session()
	if know == kept {
		first.OnRegister = keep(&registration)
	}
	w.MustCall(first)
	w.MustCall(session()) // the second session
	w.Lab.RevokeAccessTokens()
	w.MustCall(session()) // rejected early
	w.Lab.RevokeAccessTokens()
	w.MustCall(session())
	w.WantTabs(1)

	// The tokens are gone, the registration is not.
	if know == kept {
		w.Store = new(store.Memory)
	} else {
		w.Lab.RevokeFamilies()
	}
	w.MustCall(session())
	w.Lab.RevokeAccessTokens()
	w.MustCall(session())
	w.WantTabs(2)

	wrong := 0
	for _, r := range w.Lab.Requests() {
		if strings.HasPrefix(r.Endpoint, "token") && r.Error == "invalid_client" {
			wrong++
		}
	}
	// Where a method was registered, the server's list decides nothing. Where
	// it is written nowhere, the first guess may be wrong, once ever; Basic is
	// tried twice, for servers that look for the client_id in the form.
	allowed := 0
	if method != lab.MethodNone && (know == idAndSecret || know == unsaid && method != asked(list)) {
		if allowed = 1; method == lab.MethodPost {
			allowed = 2
		}
	}
	if wrong > allowed {
		t.Errorf("%d token requests with a wrong method, want at most %d\n%s", wrong, allowed, w.Diary())
	}
	if n := w.Lab.Counts()["register"]; n > 1 {
		t.Errorf("registered %d times\n%s", n, w.Diary())
	}
}

// asked is the method in a registration request: none where that is listed,
// else the first of the list that a client with a secret can have.
func asked(list []string) string {
	switch {
	case slices.Contains(list, lab.MethodNone):
		return lab.MethodNone
	case slices.Contains(list, lab.MethodPost):
		return lab.MethodPost
	}
	return lab.MethodBasic
}

// A Grant is a struct. A pointer to one is an error before anything is sent, and not taken for a grant
// of another kind.
func TestGrantAsAPointer(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	for _, grant := range []handstamp.Grant{
		&handstamp.ClientCredentials{}, &handstamp.JWTBearer{}, &handstamp.TokenExchange{}, &handstamp.Enterprise{},
		&handstamp.DeviceCode{}, (*handstamp.DeviceCode)(nil),
	} {
		c := w.Session()
		c.Grant = grant
		testenv.WantKind(t, w.Login(c), handstamp.ErrInvalidConfig)
		testenv.WantKind(t, w.Call(c), handstamp.ErrInvalidConfig)
	}
	if n := len(w.Lab.Requests()); n > 0 {
		t.Errorf("%d requests\n%s", n, w.Diary())
	}
}
