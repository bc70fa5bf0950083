package handstamp_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

// An authorization server that breaks the rules is rejected by default, by an error that names
// the one way through; described by the user it serves, in later sessions too.
func TestAuthorizationServerDescribedByTheUser(t *testing.T) {
	for name, test := range map[string]struct {
		habits    lab.Habits
		metadata  func(w *world, document map[string]any)
		described func(w *world) handstamp.AuthorizationServer
	}{
		"a template as its issuer (Entra ID, /common)": {
			habits:   lab.Habits{IssuerPath: "/9188040d-6c67-4c5b-b112-36a304b66dad", Iss: lab.IssOn},
			metadata: func(w *world, d map[string]any) { d["issuer"] = w.lab.URL() + "/{tenantid}" },
		},
		"another issuer (Entra ID, /organizations)": {
			habits:   lab.Habits{Iss: lab.IssOff},
			metadata: func(w *world, d map[string]any) { d["issuer"] = w.lab.URL() + "/72f988bf/v2.0" },
		},
		"another host as its issuer": {
			habits:   lab.Habits{Iss: lab.IssOff},
			metadata: func(_ *world, d map[string]any) { d["issuer"] = "https://tenant.idp.example/" },
		},
		"no issuer": {
			metadata: func(_ *world, d map[string]any) { delete(d, "issuer") },
		},
		"no token endpoint": {
			metadata: func(_ *world, d map[string]any) { delete(d, "token_endpoint") },
			described: func(w *world) handstamp.AuthorizationServer {
				return handstamp.AuthorizationServer{Issuer: w.lab.Issuer(), TokenEndpoint: w.lab.URL() + "/token"}
			},
		},
		"no metadata at all": {
			habits: lab.Habits{ServerForm: lab.ServerNone},
			described: func(w *world) handstamp.AuthorizationServer {
				return handstamp.AuthorizationServer{
					AuthorizationEndpoint: w.lab.URL() + "/authorize", TokenEndpoint: w.lab.URL() + "/token",
					RegistrationEndpoint: w.lab.URL() + "/register", RevocationEndpoint: w.lab.URL() + "/revoke",
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, test.habits)
			session := func() *handstamp.Client {
				c, line := w.wired()
				if test.metadata != nil {
					line.onJSON(atServer, func(d map[string]any) { test.metadata(w, d) })
				}
				return c
			}
			err := w.login(session())
			wantKind(t, err, handstamp.ErrProtocol)
			e, ok := errors.AsType[*handstamp.Error](err)
			if !ok || e.Setting != "AuthorizationServer" || !strings.Contains(e.Hint, "AuthorizationServer") {
				t.Errorf("the error does not name the way through: %v", err)
			}
			w.wantTabs(0)

			described := handstamp.AuthorizationServer{Issuer: w.lab.Issuer()}
			if test.described != nil {
				described = test.described(w)
			}
			c := session()
			c.AuthorizationServer = &described
			w.mustLogin(c)
			w.mustCall(c)
			w.lab.RevokeAccessTokens()
			c = session() // even one that knows nothing of the description
			w.mustCall(c)
			w.wantTabs(1)
			status, err := c.Status(t.Context(), w.lab.MCPURL())
			if err != nil || !strings.HasPrefix(status.Issuer, w.lab.URL()) || strings.Contains(status.Issuer, "{") {
				t.Errorf("status %+v, %v", status, err)
			}
			if result, err := c.Logout(t.Context(), w.lab.MCPURL(), handstamp.LogoutOptions{}); err != nil || !result.Revoked {
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
			w := newWorld(t, lab.Habits{})
			c, _ := w.wired()
			test.described.Issuer = strings.ReplaceAll(test.described.Issuer, "HOST", w.lab.URL())
			c.AuthorizationServer, c.Registration = &test.described, test.registration
			wantKind(t, w.login(c), test.kind)
			w.wantTabs(0)
			w.wantCounts(map[string]int{"register": 0})
		})
	}
}

// A callback must come from one of the tenants that the template stands for.
func TestCallbackOfATenant(t *testing.T) {
	const path = "/9188040d-6c67-4c5b-b112-36a304b66dad"
	for iss, right := range map[string]bool{
		"BASE" + path: true, "BASE/72f988bf": true, "": false, "BASE/": false, "BASE/a/b": false, "BASE/%2e%2e": false, "BASE/{tenantid}": false,
		"https://evil.example" + path: false,
	} {
		w := newWorld(t, lab.Habits{IssuerPath: path, Iss: lab.IssOn})
		c, line := w.wired()
		line.onJSON(atServer, func(d map[string]any) { d["issuer"] = w.lab.URL() + "/{tenantid}" })
		c.AuthorizationServer = &handstamp.AuthorizationServer{Issuer: w.lab.Issuer()}
		c.Prompt.Authorize = func(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
			params, err := w.consent(ctx, r)
			params.Set("iss", strings.ReplaceAll(iss, "BASE", w.lab.URL()))
			return params, err
		}
		if err := w.login(c); (err == nil) != right {
			t.Errorf("iss %q: error %v, want it taken: %t", iss, err, right)
		}
	}
}

// Endpoints alone leave the issuer open. A callback that names another one than their origin is
// rejected by an error that says what to add, and with that added the login works.
func TestDescribedEndpointsWithAnotherIssuer(t *testing.T) {
	w := newWorld(t, lab.Habits{ServerForm: lab.ServerNone, IssuerPath: "/tenant", Iss: lab.IssOn})
	c, _ := w.wired()
	described := handstamp.AuthorizationServer{
		AuthorizationEndpoint: w.lab.URL() + "/authorize", TokenEndpoint: w.lab.URL() + "/token",
		RegistrationEndpoint: w.lab.URL() + "/register",
	}
	c.AuthorizationServer = &described
	err := w.login(c)
	wantKind(t, err, handstamp.ErrProtocol)
	if e, ok := errors.AsType[*handstamp.Error](err); !ok || !strings.Contains(e.Hint, "with its issuer") || !strings.Contains(err.Error(), w.lab.Issuer()) {
		t.Errorf("error %v", err)
	}
	described.Issuer = w.lab.Issuer()
	d, _ := w.wired()
	d.AuthorizationServer = &described
	w.mustLogin(d)
	w.mustCall(d)
}
