package hosted_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// A user who makes an error about the client up does not have the client of all users replaced.
func TestForgedErrorKeepsTheClient(t *testing.T) {
	server := newServer(t, lab.Habits{})
	app := newApp(new(store.MemoryDatabase))
	mustSignIn(t, server, app, app, store.Owner{User: "ada"})
	for _, code := range []string{"invalid_client", "unauthorized_client"} {
		params := "error=" + code + "&iss=" + server.Issuer()
		forged := responseTo(t, begin(t, app, store.Owner{User: "eve"}, server.MCPURL(), "s"), params)
		resp := get(app.Callback(sessionOf, nil), forged, "s")
		if resp.StatusCode < 400 {
			t.Errorf("%s: status %d to %s", code, resp.StatusCode, resp.Header.Get("Location"))
		}
		forged = responseTo(t, begin(t, app, store.Owner{User: "eve"}, server.MCPURL(), "s"), params)
		_, outcome := callBack(t, app, forged, "s")
		var e *handstamp.Error
		if !errors.As(outcome.Err, &e) || e.Code != code {
			t.Errorf("%s: %v", code, outcome.Err)
		}
	}
	mustSignIn(t, server, app, app, store.Owner{User: "ben"})
	if n := server.Counts()["register"]; n != 1 {
		t.Errorf("%d registrations", n)
	}
}

// newNamer starts an MCP server that names the authorization server of another one, and scopes.
func newNamer(t *testing.T, issuer string, scopes ...string) string {
	t.Helper()
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/.well-known/oauth-protected-resource") {
			_ = json.NewEncoder(w).Encode(map[string]any{
				"resource": server.URL, "authorization_servers": []string{issuer}, "scopes_supported": scopes,
			})
			return
		}
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// What an MCP server names decides nothing for the users of another one at the same authorization
// server, whichever is used first: neither the scopes that their client is registered for, nor those
// that their logins leave out.
func TestServersDoNotShareARegistration(t *testing.T) {
	server := newServer(t, lab.Habits{
		ScopesSupported: []string{"mcp:read", "mcp:write"}, ChallengeScope: "mcp:read",
		RejectRegistrations: []lab.RegistrationRule{
			{Has: "scope:evil", Error: "invalid_client_metadata", Description: "the scope is not valid"},
		},
	})
	hostile := newNamer(t, server.Issuer(), "mcp:read", "evil")
	eve := store.Owner{Tenant: "hostile", User: "eve"}
	for _, early := range []bool{true, false} {
		app := newApp(new(store.MemoryDatabase))
		if !early {
			mustSignIn(t, server, app, app, store.Owner{Tenant: "acme", User: "ben"})
		}
		begin(t, app, eve, hostile, "s")
		mustSignIn(t, server, app, app, ada)
		all, err := app.Connections(t.Context(), ada)
		if err != nil || len(all) != 1 || !strings.Contains(all[0].Scope, "mcp:read") {
			t.Errorf("the hostile server first: %v: %d connections, %v", early, len(all), err)
		}
	}
}
