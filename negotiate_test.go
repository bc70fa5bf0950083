package handstamp_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// TestRegistrationIsNegotiated: a rejection takes away what it names, the login works,
// what was dropped is dropped in the authorization request too, and the next
// registration begins where this one ended.
func TestRegistrationIsNegotiated(t *testing.T) {
	t.Parallel()
	metadata := func(has, description string) lab.RegistrationRule {
		return lab.RegistrationRule{Has: has, Error: "invalid_client_metadata", Description: description}
	}
	all := []string{"tools", "admin", "profile"}
	for _, tc := range []struct {
		name     string
		rules    []lab.RegistrationRule
		requests int    // of registration, in the first login
		scope    string // of the authorization request
		method   string
		host     string
	}{
		{name: "any scope", scope: "", requests: 2, rules: []lab.RegistrationRule{{
			Has: "scope", Status: 403, Error: "insufficient_scope",
			Description: "Policy 'Allowed Client Scopes' rejected request to client-registration service. Details: Not permitted to use specified clientScope",
		}}},
		{name: "a scope that is named", scope: "tools profile offline_access", requests: 2,
			rules: []lab.RegistrationRule{metadata("scope:admin", "Requested scopes are not valid: admin")}},
		{name: "two scopes, one after the other", scope: "tools offline_access", requests: 3,
			rules: []lab.RegistrationRule{metadata("scope:admin", "unknown scope admin"), metadata("scope:profile", "unknown scope profile")}},
		{name: "the only scopes", scope: "tools", requests: 2,
			rules: []lab.RegistrationRule{metadata("scope:admin", "Only tools is supported as scope")}},
		{name: "offline access", scope: "tools admin profile", requests: 2,
			rules: []lab.RegistrationRule{{Has: "scope:offline_access", Body: `{"message":"offline_access is not available to dynamic clients"}`}}},
		{name: "a scope, in a validator's words", scope: "", requests: 2,
			rules: []lab.RegistrationRule{{Has: "scope", Status: 422, Body: `{"detail":[{"loc":["body","scope"],"msg":"Extra inputs are not permitted","input":"tools"}]}`}}},
		{name: "a grant", scope: "tools admin profile offline_access", requests: 2,
			rules: []lab.RegistrationRule{metadata("grant:refresh_token", "unsupported grant_type refresh_token")}},
		{name: "the method", scope: "tools admin profile offline_access", requests: 2, method: lab.MethodPost,
			rules: []lab.RegistrationRule{{Has: "method:none", Status: 401, Error: "invalid_token", Description: "public clients cannot register"}}},
		{name: "two methods", scope: "tools admin profile offline_access", requests: 3, method: lab.MethodBasic,
			rules: []lab.RegistrationRule{metadata("method:none", "bad token_endpoint_auth_method"), metadata("method:client_secret_post", "bad token_endpoint_auth_method")}},
		{name: "the application type", scope: "tools admin profile offline_access", requests: 2,
			rules: []lab.RegistrationRule{{Has: "application_type:native", Error: "invalid_redirect_uri", Description: "native clients must use a custom scheme"}}},
		{name: "any application type", scope: "tools admin profile offline_access", requests: 3,
			rules: []lab.RegistrationRule{{Has: "application_type", Body: `[{"code":"unrecognized_keys","keys":["application_type"]}]`}}},
		{name: "the address", scope: "tools admin profile offline_access", requests: 2, host: "localhost",
			rules: []lab.RegistrationRule{{Has: "redirect_host:127.0.0.1", Error: "invalid_redirect_uri"}}},
		{name: "the address, in Keycloak's words", scope: "tools admin profile offline_access", requests: 2, host: "localhost",
			rules: []lab.RegistrationRule{{Has: "redirect_host:127.0.0.1", Status: 403, Error: "insufficient_scope",
				Description: "Policy 'Trusted Hosts' rejected request to client-registration service. Details: URI doesn't match any trusted host or trusted domain"}}},
		{name: "everything", scope: "", requests: 5, method: lab.MethodPost, host: "localhost", rules: []lab.RegistrationRule{
			metadata("scope", "scope"), metadata("method:none", "token_endpoint_auth_method"),
			metadata("application_type:native", "application_type"), metadata("redirect_host:127.0.0.1", "redirect_uris")}},
		{name: "without a word, the scope", scope: "", requests: 3, // offline_access, and then all
			rules: []lab.RegistrationRule{{Has: "scope", Error: "invalid_client_metadata"}}},
		{name: "without a word, the method", scope: "tools admin profile offline_access", requests: 5, method: lab.MethodPost,
			rules: []lab.RegistrationRule{{Has: "method:none", Error: "invalid_client_metadata"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := testenv.New(t, lab.Habits{
				ScopesSupported: all, Offline: lab.OfflineListed, RedirectExact: true, RejectRegistrations: tc.rules,
			})
			c, requests := watching(w)
			w.MustCall(c)
			w.WantTabs(1)
			w.WantCounts(map[string]int{"register": tc.requests})
			first := (*requests)[0]
			redirect, err := url.Parse(first.Get("redirect_uri"))
			if err != nil {
				t.Fatal(err)
			}
			if want := or(tc.host, "127.0.0.1"); redirect.Hostname() != want {
				t.Errorf("came back to %s, want %s", redirect, want)
			}
			if first.Get("scope") != tc.scope {
				t.Errorf("the authorization request asks for %q, want %q", first.Get("scope"), tc.scope)
			}
			if got, want := w.Record().GrantClient().Method, or(tc.method, lab.MethodNone); got != want {
				t.Errorf("method %s, want %s", got, want)
			}

			// A later session that has to register again.
			w.Lab.ForgetClients()
			w.Lab.RevokeFamilies()
			w.Lab.Reset()
			c, requests = watching(w)
			w.MustCall(c)
			w.WantCounts(map[string]int{"register": 1})
			if got := (*requests)[0].Get("scope"); got != tc.scope {
				t.Errorf("the second authorization request asks for %q, want %q", got, tc.scope)
			}
		})
	}
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// TestRegistrationEndsAtOnce: a rejection that names nothing to leave out is final.
func TestRegistrationEndsAtOnce(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		rule     lab.RegistrationRule
		requests int
	}{
		{"allow-list", lab.RegistrationRule{Status: 403, Body: "Forbidden"}, 1},
		{"allow-list with a code", lab.RegistrationRule{Status: 403, Error: "access_denied", Description: "client not approved"}, 1},
		{"a token is wanted", lab.RegistrationRule{Status: 401, Error: "invalid_token", Description: "initial access token required"}, 1},
		{"not there", lab.RegistrationRule{Status: 404, Error: "not_found"}, 1},
		{"switched off", lab.RegistrationRule{Error: "registration_not_supported", Description: "dynamic registration is disabled"}, 1},
		{"Keycloak does not trust this machine", lab.RegistrationRule{Status: 403, Error: "insufficient_scope",
			Description: "Policy 'Trusted Hosts' rejected request to client-registration service. Details: Host not trusted."}, 2},
		{"always the method", lab.RegistrationRule{Error: "invalid_client_metadata", Description: "token_endpoint_auth_method"}, 3},
		{"always something", lab.RegistrationRule{Error: "invalid_client_metadata"}, 8},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			named := tc.rule
			named.Has = "grant:authorization_code"
			w := testenv.New(t, lab.Habits{ScopesSupported: []string{"tools"}, Offline: lab.OfflineListed, RejectRegistrations: []lab.RegistrationRule{named}})
			_, err := w.Session().Login(context.Background(), w.Lab.MCPURL(), handstamp.LoginOptions{})
			testenv.WantKind(t, err, handstamp.ErrRegistrationRequired)
			if n := w.Lab.Counts()["register"]; n > tc.requests || n < min(tc.requests, 3) {
				t.Errorf("%d registrations, want %d\n%s", n, tc.requests, w.Diary())
			}
			w.WantTabs(0)
			if len(w.Record().LearnedOf(w.Lab.Issuer()).OmitScopes) != 0 {
				t.Error("something was learned of a registration that never worked")
			}
		})
	}
}

// TestBusyRegistrationIsWaitedFor: 429 says when to come again.
func TestBusyRegistrationIsWaitedFor(t *testing.T) {
	busy := func(retryAfter, body string, times int) lab.Fault {
		return lab.Fault{
			Kind: lab.FaultStatus, Status: http.StatusTooManyRequests, RetryAfter: retryAfter, Body: body, Times: times,
		}
	}
	for _, body := range []string{"slow down", `{"error":"too_many_requests"}`} {
		t.Run("a second, "+body, func(t *testing.T) {
			testenv.InBubble(t, lab.Habits{}, func(t *testing.T, w *testenv.Env) {
				start := time.Now()
				w.Lab.SetFault("register", busy("1", body, 1))
				w.MustCall(w.Session())
				w.WantCounts(map[string]int{"register": 2})
				if waited := time.Since(start); waited < time.Second {
					t.Errorf("it came again after %v", waited)
				}
			})
		})
	}
	for _, body := range []string{"", `{"error":"too_many_requests"}`} {
		t.Run("ten minutes, "+body, func(t *testing.T) {
			testenv.InBubble(t, lab.Habits{}, func(t *testing.T, w *testenv.Env) {
				w.Lab.SetFault("register", busy("600", body, 0))
				err := w.Call(w.Session())
				var known *handstamp.Error
				if !errors.Is(err, handstamp.ErrUnreachable) || !errors.As(err, &known) || time.Until(known.RetryAt) < 5*time.Minute {
					t.Errorf("the error is %v", err)
				}
				w.WantCounts(map[string]int{"register": 1})
			})
		})
	}
}

// TestConfiguredScopesThatAreRejected: a notice names the configured scopes that are left
// out of the request, in this login and in later ones.
func TestConfiguredScopesThatAreRejected(t *testing.T) {
	w := testenv.New(t, lab.Habits{RejectRegistrations: []lab.RegistrationRule{
		{Has: "scope:admin", Error: "invalid_client_metadata", Description: "scope admin is not allowed"},
	}})
	for range 2 {
		c, requests := watching(w)
		c.Scopes = []string{"tools", "admin"}
		var notified []string
		c.Hooks.Notice = func(_, message string) { notified = append(notified, message) }
		if _, err := c.Login(context.Background(), w.Lab.MCPURL(), handstamp.LoginOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
		if got := (*requests)[0].Get("scope"); got != "tools" {
			t.Errorf("requested %q", got)
		}
		if len(notified) != 1 || !strings.Contains(notified[0], `"admin"`) {
			t.Errorf("notices %q", notified)
		}
	}
}

// TestOfflineAccessRejectedAtTheCodeExchange: the user has consented, and only the token
// endpoint rejects offline access: one more authorization without it, and
// none with it in later logins.
func TestOfflineAccessRejectedAtTheCodeExchange(t *testing.T) {
	w := testenv.New(t, testenv.Personality(t, "offline-not-allowed"))
	c, requests := watching(w)
	w.MustCall(c)
	w.WantTabs(2)
	for i, want := range []bool{true, false} {
		if got := strings.Contains((*requests)[i].Get("scope"), "offline_access"); got != want {
			t.Errorf("request %d asks for offline access: %v", i, got)
		}
	}
	w.Lab.RevokeFamilies()
	c, requests = watching(w)
	w.MustCall(c)
	w.WantTabs(3)
	if got := (*requests)[0].Get("scope"); got != "tools" {
		t.Errorf("the next login asks for %q", got)
	}
	if got := w.Record().LearnedOf(w.Lab.Issuer()).OmitScopes; len(got) != 1 || got[0] != "offline_access" {
		t.Errorf("learned to omit %q", got)
	}
}

// TestSecretBesideMethodNone: it is tried once when none is rejected, and then known.
func TestSecretBesideMethodNone(t *testing.T) {
	for _, silent := range []bool{false, true} {
		h := testenv.Personality(t, "secret-beside-none")
		h.RegisterSilent = silent
		w := testenv.New(t, h)
		w.MustCall(w.Session())
		w.WantTabs(1)
		if c := w.Record().GrantClient(); c.Method != lab.MethodPost || c.MethodSource != record.MethodLearned {
			t.Errorf("method %s, %s", c.Method, c.MethodSource)
		}
		w.Expire()
		w.Lab.Reset()
		w.MustCall(w.Session())
		w.WantCounts(map[string]int{"token:refresh": 1, "mcp": 1})
	}
}
