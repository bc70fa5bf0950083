package handstamp_test

import (
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// An authorization server that breaks the rules is rejected by default, by an error that names
// the one way through; described by the user it serves, in later sessions too.
func TestAuthorizationServerDescribedByTheUser(t *testing.T) {
	for name, test := range map[string]struct {
		habits    lab.Habits
		metadata  func(w *testenv.Env, document map[string]any)
		described func(w *testenv.Env) handstamp.AuthorizationServer
	}{
		"a template as its issuer (Entra ID, /common)": {
			habits:   lab.Habits{IssuerPath: "/9188040d-6c67-4c5b-b112-36a304b66dad", Iss: lab.IssOn},
			metadata: func(w *testenv.Env, d map[string]any) { d["issuer"] = w.Lab.URL() + "/{tenantid}" },
		},
		"another issuer (Entra ID, /organizations)": {
			habits:   lab.Habits{Iss: lab.IssOff},
			metadata: func(w *testenv.Env, d map[string]any) { d["issuer"] = w.Lab.URL() + "/72f988bf/v2.0" },
		},
		"another host as its issuer": {
			habits:   lab.Habits{Iss: lab.IssOff},
			metadata: func(_ *testenv.Env, d map[string]any) { d["issuer"] = "https://tenant.idp.example/" },
		},
		"no issuer": {
			metadata: func(_ *testenv.Env, d map[string]any) { delete(d, "issuer") },
		},
		"no token endpoint": {
			metadata: func(_ *testenv.Env, d map[string]any) { delete(d, "token_endpoint") },
			described: func(w *testenv.Env) handstamp.AuthorizationServer {
				return handstamp.AuthorizationServer{Issuer: w.Lab.Issuer(), TokenEndpoint: w.Lab.URL() + "/token"}
			},
		},
		"no metadata at all": {
			habits: lab.Habits{ServerForm: lab.ServerNone},
			described: func(w *testenv.Env) handstamp.AuthorizationServer {
				return handstamp.AuthorizationServer{
					AuthorizationEndpoint: w.Lab.URL() + "/authorize", TokenEndpoint: w.Lab.URL() + "/token",
					RegistrationEndpoint: w.Lab.URL() + "/register", RevocationEndpoint: w.Lab.URL() + "/revoke",
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, test.habits)
			session := func() *handstamp.Client {
				c, line := w.Recorded()
				if test.metadata != nil {
					line.OnJSON(testenv.AtServer, func(d map[string]any) { test.metadata(w, d) })
				}
				return c
			}
			err := w.Login(session())
			testenv.WantKind(t, err, handstamp.ErrProtocol)
			e, ok := errtype.As[*handstamp.Error](err)
			if !ok || e.Setting != "AuthorizationServer" || !strings.Contains(e.Hint, "AuthorizationServer") {
				t.Errorf("the error does not name the way through: %v", err)
			}
			w.WantTabs(0)

			described := handstamp.AuthorizationServer{Issuer: w.Lab.Issuer()}
			if test.described != nil {
				described = test.described(w)
			}
			c := session()
			c.AuthorizationServer = &described
			w.MustLogin(c)
			w.MustCall(c)
			w.Lab.RevokeAccessTokens()
			c = session() // even one that knows nothing of the description
			w.MustCall(c)
			w.WantTabs(1)
			status, err := c.Status(t.Context(), w.Lab.MCPURL())
			if err != nil || !strings.HasPrefix(status.Issuer, w.Lab.URL()) || strings.Contains(status.Issuer, "{") {
				t.Errorf("status %+v, %v", status, err)
			}
			if result, err := c.Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{}); err != nil || !result.Revoked {
				t.Errorf("logout: %+v, %v", result, err)
			}
		})
	}
}

// The description widens nothing else: whose client it is, what the callback must prove, and
// what a URL may be.
func TestDescriptionsThatCannotWork(t *testing.T) {
	for name, test := range map[string]struct {
		described    handstamp.AuthorizationServer
		registration *handstamp.Registration
		kind         error
	}{
		"nothing":              {handstamp.AuthorizationServer{}, nil, handstamp.ErrInvalidConfig},
		"one endpoint":         {handstamp.AuthorizationServer{TokenEndpoint: "https://as.example/token"}, nil, handstamp.ErrInvalidConfig},
		"plain http":           {handstamp.AuthorizationServer{Issuer: "http://as.example"}, nil, handstamp.ErrInvalidConfig},
		"a script":             {handstamp.AuthorizationServer{AuthorizationEndpoint: "javascript:1", TokenEndpoint: "https://as.example/token"}, nil, handstamp.ErrInvalidConfig},
		"a template":           {handstamp.AuthorizationServer{Issuer: "https://as.example/{tenantid}"}, nil, handstamp.ErrInvalidConfig},
		"another client's":     {handstamp.AuthorizationServer{Issuer: "https://as.example"}, &handstamp.Registration{Issuer: "https://other.example", ClientID: "app"}, handstamp.ErrInvalidConfig},
		"an issuer of nothing": {handstamp.AuthorizationServer{Issuer: "HOST/nothing"}, nil, handstamp.ErrInvalidConfig},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{})
			c, _ := w.Recorded()
			test.described.Issuer = strings.ReplaceAll(test.described.Issuer, "HOST", w.Lab.URL())
			c.AuthorizationServer, c.Registration = &test.described, test.registration
			testenv.WantKind(t, w.Login(c), test.kind)
			w.WantTabs(0)
			w.WantCounts(map[string]int{"register": 0})
		})
	}
}

// Endpoints alone leave the issuer open. A callback that names another one than their origin is
// rejected by an error that says what to add, and with that added the login works.
func TestDescribedEndpointsWithAnotherIssuer(t *testing.T) {
	w := testenv.New(t, lab.Habits{ServerForm: lab.ServerNone, IssuerPath: "/tenant", Iss: lab.IssOn})
	c, _ := w.Recorded()
	described := handstamp.AuthorizationServer{
		AuthorizationEndpoint: w.Lab.URL() + "/authorize", TokenEndpoint: w.Lab.URL() + "/token",
		RegistrationEndpoint: w.Lab.URL() + "/register",
	}
	c.AuthorizationServer = &described
	err := w.Login(c)
	testenv.WantKind(t, err, handstamp.ErrProtocol)
	if e, ok := errtype.As[*handstamp.Error](err); !ok || !strings.Contains(e.Hint, "with its issuer") || !strings.Contains(err.Error(), w.Lab.Issuer()) {
		t.Errorf("error %v", err)
	}
	described.Issuer = w.Lab.Issuer()
	d, _ := w.Recorded()
	d.AuthorizationServer = &described
	w.MustLogin(d)
	w.MustCall(d)
}
