package oauth

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// rejected returns how a server rejects a registration with this response.
func rejected(t *testing.T, status int, contentType, body string) *RegistrationError {
	t.Helper()
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
	_, err := fetcher(t).Register(t.Context(), s.URL, RegistrationRequest{})
	rejection, ok := err.(*RegistrationError)
	if !ok {
		t.Fatalf("status %d, %s: %v is no rejection", status, body, err)
	}
	return rejection
}

// TestRejectionNamesWhatItBlames: servers name the member of a registration that they do not
// accept in words and places of their own.
func TestRejectionNamesWhatItBlames(t *testing.T) {
	metadata := func(description string) string {
		return fmt.Sprintf(`{"error":"invalid_client_metadata","error_description":%q}`, description)
	}
	for _, tc := range []struct {
		name   string
		status int
		body   string
		want   string // space-separated
	}{
		{"Keycloak, a scope", 403, `{"error":"insufficient_scope","error_description":"Policy 'Allowed Client Scopes' rejected request to client-registration service. Details: Not permitted to use specified clientScope"}`, "scope"},
		{"Keycloak, an address", 403, `{"error":"insufficient_scope","error_description":"Policy 'Trusted Hosts' rejected request to client-registration service. Details: URI doesn't match any trusted host or trusted domain"}`, "redirect_uris"},
		{"Keycloak, who asks", 403, `{"error":"insufficient_scope","error_description":"Policy 'Trusted Hosts' rejected request to client-registration service. Details: Host not trusted."}`, "scope"},
		{"Python SDK, scopes", 400, metadata("Requested scopes are not valid: profile, offline_access"), "offline_access scope"},
		{"Python SDK, grants", 400, metadata("grant_types must be authorization_code and refresh_token"), "grant_types"},
		{"better-auth, a grant", 400, metadata("unsupported grant_type refresh_token"), "grant_types"},
		{"better-auth, the type", 400, `{"error":"invalid_redirect_uri","error_description":"web clients require https redirect URIs on non-loopback hosts: http://x"}`, "application_type redirect_uris"},
		{"better-auth, the method", 401, `{"error":"invalid_token","error_description":"Authentication required for confidential client registration"}`, "token_endpoint_auth_method"},
		{"a proxy, the method", 400, metadata("unsupported token_endpoint_auth_method: none. Supported methods: [client_secret_post]"), "token_endpoint_auth_method"},
		{"oidc-provider", 400, `{"error":"invalid_redirect_uri","error_description":"redirect_uris must only contain web uris"}`, "application_type redirect_uris"},
		{"only a code for the address", 400, `{"error":"invalid_redirect_uri"}`, "redirect_uris application_type"},
		{"a code for the method", 400, `{"error":"unsupported_token_endpoint_auth_method"}`, "token_endpoint_auth_method"},
		{"a code for the grants", 400, `{"error":"invalid_grant_types","error_description":"no"}`, "grant_types"},
		{"a code for the type", 400, `{"error":"INVALID_APPLICATION_TYPE"}`, "application_type"},
		{"a code for the scope", 400, `{"errorCode":"unsupported_scope"}`, "scope"},
		{"a code for the addresses", 400, `{"error":"invalid_redirect_uris"}`, "redirect_uris"},
		{"only a code for the scope", 400, `{"error":"invalid_scope"}`, "scope"},
		{"Zod", 400, metadata(`[{"code":"invalid_enum_value","path":["token_endpoint_auth_method"],"message":"Invalid"}]`), "token_endpoint_auth_method"},
		{"FastAPI", 422, `{"detail":[{"type":"literal_error","loc":["body","application_type"],"msg":"Input should be 'web'","input":{"scope":"a","grant_types":["b"]}}]}`, "application_type"},
		{"Django", 400, `{"error":"invalid_client_metadata","error_description":"{'grant_types': {2: [ErrorDetail(string='is not a valid choice')]}}"}`, "grant_types"},
		{"Laravel", 422, `{"message":"The given data was invalid.","errors":{"scope":["The selected value is invalid."]}}`, "scope"},
		{"nested", 400, `{"error":{"code":"BAD","message":"grantTypes: unknown"}}`, "grant_types"},
		{"plain text", 400, `redirect_uri must be https or http://localhost`, "redirect_uris"},
		{"a grant by name", 400, metadata("Grant refresh_token is not enabled"), "grant_types"},
		{"a type by name", 400, metadata("must be native"), "application_type"},
		{"an address", 400, `{"error":"invalid_redirect_uri","error_description":"redirect_uris must be https, or http://localhost"}`, "redirect_uris application_type"},
		{"no type", 400, `{"message":"Choose an alternative"}`, ""},
		{"with 200", 200, `{"error":"invalid_scope","error_description":"no"}`, "scope"},

		{"allow-list", 403, `Forbidden`, ""},
		{"allow-list as JSON", 403, `{"error":"access_denied","error_description":"This client is not approved"}`, ""},
		{"initial access token", 401, `{"error":"invalid_token","error_description":"Missing bearer token"}`, ""},
		{"unauthorized", 401, ``, ""},
		{"unauthorized client", 401, `{"error":"invalid_client","error_description":"Client authentication failed"}`, ""},
		{"forbidden metadata", 403, `{"error":"invalid_client_metadata"}`, ""},
		{"switched off", 400, `{"error":"dynamic_client_registration_disabled","error_description":"this environment registers no clients"}`, ""},
		{"not there", 404, `{"error":"not_found"}`, ""},
		{"a page", 403, `<html><body>scope redirect_uri</body></html>`, ""},
		{"a statement", 400, `{"error":"unapproved_software_statement"}`, ""},
		{"nothing", 400, ``, ""},
	} {
		members, guess := rejected(t, tc.status, "", tc.body).NamedMembers()
		if got := strings.Join(members, " "); got != tc.want || guess {
			t.Errorf("%s: blames %q (a guess: %v), want %q", tc.name, got, guess, tc.want)
		}
	}
	if members, guess := rejected(t, 400, "", metadata("Bad metadata")).NamedMembers(); !guess || len(members) != 6 {
		t.Errorf("a rejection of the metadata in general: %q (a guess: %v)", members, guess)
	}
}

// TestRejectionNarrowsScope: scopes that are named go, or stay where they are named as
// the only ones.
func TestRejectionNarrowsScope(t *testing.T) {
	scopes := []string{"mcp:read", "read", "profile", "groups"}
	for _, tc := range []struct{ text, want string }{
		{"Requested scopes are not valid: groups, profile", "mcp:read read"},
		{"Scope 'read' is unknown.", "mcp:read profile groups"},
		{"scope mcp:read.", "read profile groups"},
		{"unknown scope: groups", "mcp:read read profile"},
		{"Only mcp:read and groups scopes are supported.", "mcp:read groups"},
		{"Supported scopes: profile, admin", "profile"},
		{"Only admin is supported", ""},
		{"scope not allowed", ""},
		{"profiles, groupset, mcp:reader: no", ""},
		{"mcp:read read profile groups", ""},
	} {
		e := &RegistrationError{Err: &Error{}, text: tc.text}
		if got := strings.Join(e.NarrowScope(scopes), " "); got != tc.want {
			t.Errorf("%q leaves %q, want %q", tc.text, got, tc.want)
		}
	}
	if !slices.Equal(scopes, []string{"mcp:read", "read", "profile", "groups"}) {
		t.Error("the caller's slice was changed")
	}
}

// TestRejectionShowsNoBody: the texts that decide stay out of what is shown.
func TestRejectionShowsNoBody(t *testing.T) {
	err := rejected(t, 403, "text/plain", "scope hunter2")
	if text := fmt.Sprint(err); strings.Contains(text, "hunter2") {
		t.Errorf("the error shows the body: %s", text)
	}
}

// TestRegistrationIsRedirected: a registration follows its server to another path of
// the same origin, and nowhere else.
func TestRegistrationIsRedirected(t *testing.T) {
	elsewhere := newCanary(t)
	for _, tc := range []struct {
		status int
		to     string
		want   bool
	}{
		{307, "/v2/register", true},
		{308, "/v2/register", true},
		{307, "/register/", true},
		{301, "/register/", true},
		{302, "/register/", true},
		{301, "/v2/register", false},
		{303, "/register/", false},
		{307, elsewhere.URL + "/register", false},
		{308, "https://user:secret@127.0.0.1/register", false},
		{307, "/register", false}, // for ever
	} {
		requests := 0
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			requests++
			if r.URL.Path == "/register" {
				w.Header().Set("Location", tc.to)
				w.WriteHeader(tc.status)
				return
			}
			body, _ := io.ReadAll(r.Body)
			if r.Method != http.MethodPost || !strings.Contains(string(body), "Handstamp") {
				t.Errorf("%d: %s with %q", tc.status, r.Method, body)
			}
			w.WriteHeader(http.StatusCreated)
			io.WriteString(w, `{"client_id":"c"}`)
		})
		_, err := fetcher(t).Register(t.Context(), s.URL+"/register", RegistrationRequest{ClientName: "Handstamp"})
		if (err == nil) != tc.want || requests > 4 {
			t.Errorf("%d to %s: error %v after %d requests, want success %v", tc.status, tc.to, err, requests, tc.want)
		}
	}
}

// TestRegistrationClientURI: a path is relative to the endpoint that registered.
func TestRegistrationClientURI(t *testing.T) {
	for uri, want := range map[string]string{
		"/register/c1":               "ORIGIN/register/c1",
		"c1":                         "ORIGIN/oauth/c1",
		"./c1":                       "ORIGIN/oauth/c1",
		"ORIGIN/register/c1":         "ORIGIN/register/c1",
		"https://as.example/c1":      "https://as.example/c1",
		"//elsewhere.example/c1":     "",
		"http://elsewhere.example/c": "",
		"":                           "",
	} {
		var s *httptest.Server
		s = serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, `{"client_id":"c","registration_access_token":"t","registration_client_uri":%q}`, strings.ReplaceAll(uri, "ORIGIN", s.URL))
		})
		r, err := fetcher(t).Register(t.Context(), s.URL+"/oauth/register", RegistrationRequest{})
		if err != nil {
			t.Errorf("%q: %v", uri, err)
			continue
		}
		want := strings.ReplaceAll(want, "ORIGIN", s.URL)
		if r.RegistrationClientURI != want || (r.RegistrationAccessToken != "") != (want != "") {
			t.Errorf("%q: %q with a token %v, want %q", uri, r.RegistrationClientURI, r.RegistrationAccessToken != "", want)
		}
	}
}
