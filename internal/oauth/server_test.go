package oauth

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// metadata returns a document with the issuer and whatever is to be changed in
// it; nil removes a member.
func metadata(issuer string, changes map[string]any) []byte {
	doc := map[string]any{
		"issuer":                           issuer,
		"authorization_endpoint":           "https://as.example/authorize",
		"token_endpoint":                   "https://as.example/token",
		"registration_endpoint":            "https://as.example/register",
		"code_challenge_methods_supported": []string{"S256"},
	}
	for name, value := range changes {
		if value == nil {
			delete(doc, name)
			continue
		}
		doc[name] = value
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		panic(err)
	}
	return raw
}

func TestServerMetadataDiscovery(t *testing.T) {
	doc := func(issuer string) place { return place{body: string(metadata(issuer, nil))} }
	for _, tc := range []struct {
		name   string
		path   string // of the issuer
		places map[string]place
		want   string // the form and the issuer without its origin; or the kind of error
		asked  []string
	}{
		{"RFC 8414", "", map[string]place{wellKnownOAuth: doc("BASE")}, "rfc8414 ", []string{wellKnownOAuth}},
		{"OpenID", "", map[string]place{wellKnownOIDC: doc("BASE")}, "oidc ", []string{wellKnownOAuth, wellKnownOIDC}},
		{"RFC 8414, path inserted", "/t", map[string]place{wellKnownOAuth + "/t": doc("BASE/t"), wellKnownOAuth: doc("BASE")}, "rfc8414 /t", []string{wellKnownOAuth + "/t"}},
		{"OpenID, path inserted", "/t", map[string]place{wellKnownOIDC + "/t": doc("BASE/t")}, "oidc /t", []string{wellKnownOAuth + "/t", wellKnownOIDC + "/t"}},
		{"OpenID, path first", "/a/b", map[string]place{"/a/b" + wellKnownOIDC: doc("BASE/a/b")}, "oidc /a/b", []string{wellKnownOAuth + "/a/b", wellKnownOIDC + "/a/b", "/a/b" + wellKnownOIDC}},
		{"one slash makes no place", "/t/", map[string]place{"/t" + wellKnownOIDC: doc("BASE/t/")}, "oidc /t/", []string{wellKnownOAuth + "/t", wellKnownOIDC + "/t", "/t" + wellKnownOIDC}},
		{"slash in the metadata only", "", map[string]place{wellKnownOAuth: doc("BASE/")}, "rfc8414 /", nil},
		{"slash in the resource metadata only", "/", map[string]place{wellKnownOAuth: doc("BASE")}, "rfc8414 ", nil},
		{"two slashes", "", map[string]place{wellKnownOAuth: doc("BASE//")}, "protocol", nil},
		{"another issuer", "", map[string]place{wellKnownOAuth: doc("https://evil.example"), wellKnownOIDC: doc("BASE")}, "protocol", []string{wellKnownOAuth}},
		{"the root's issuer for a path", "/t", map[string]place{wellKnownOAuth + "/t": doc("BASE")}, "protocol", nil},
		{"another case", "/t", map[string]place{wellKnownOAuth + "/t": doc("BASE/T")}, "protocol", nil},
		{"nothing", "/t", nil, "absent", nil},
		{"no is not always 404", "", map[string]place{wellKnownOAuth: {status: 403}, wellKnownOIDC: {body: "<html>"}}, "absent", nil},
		{"first out of order", "", map[string]place{wellKnownOAuth: {status: 502}, wellKnownOIDC: doc("BASE")}, "oidc ", nil},
		{"the first document is completed by the second", "", map[string]place{
			wellKnownOAuth: {body: string(metadata("BASE", map[string]any{"registration_endpoint": nil, "code_challenge_methods_supported": nil}))},
			wellKnownOIDC:  {body: string(metadata("BASE/", map[string]any{"token_endpoint": "https://other.example/token"}))},
		}, "rfc8414 + registration + PKCE", []string{wellKnownOAuth, wellKnownOIDC}},
		{"by a third", "/t", map[string]place{
			wellKnownOAuth + "/t": {body: string(metadata("BASE/t", map[string]any{"token_endpoint": nil}))},
			"/t" + wellKnownOIDC:  doc("BASE/t"),
		}, "rfc8414 /t + registration + PKCE", []string{wellKnownOAuth + "/t", wellKnownOIDC + "/t", "/t" + wellKnownOIDC}},
		{"but not by another issuer's", "", map[string]place{
			wellKnownOAuth: {body: string(metadata("BASE", map[string]any{"registration_endpoint": nil}))},
			wellKnownOIDC:  doc("https://evil.example"),
		}, "rfc8414 + PKCE", []string{wellKnownOAuth, wellKnownOIDC}},
		{"nor by one without an issuer", "", map[string]place{
			wellKnownOAuth: {body: string(metadata("BASE", map[string]any{"authorization_endpoint": nil}))},
			wellKnownOIDC:  {body: string(metadata("BASE", map[string]any{"issuer": nil}))},
		}, "protocol", []string{wellKnownOAuth, wellKnownOIDC}},
		{"nor by a broken one", "", map[string]place{
			wellKnownOAuth: {body: string(metadata("BASE", map[string]any{"code_challenge_methods_supported": nil}))},
			wellKnownOIDC:  {body: string(metadata("BASE", map[string]any{"service_documentation": "javascript:1"}))},
		}, "rfc8414 + registration", nil},
		{"a document without an issuer gives way", "", map[string]place{
			wellKnownOAuth: {body: string(metadata("BASE", map[string]any{"issuer": nil, "token_endpoint": "https://evil.example/token"}))},
			wellKnownOIDC:  doc("BASE"),
		}, "oidc + registration + PKCE", nil},
		{"incomplete, and out of order", "", map[string]place{
			wellKnownOAuth: {body: string(metadata("BASE", map[string]any{"token_endpoint": nil}))}, wellKnownOIDC: {status: 503},
		}, "transient", nil},
		{"enough, and out of order", "", map[string]place{
			wellKnownOAuth: {body: string(metadata("BASE", map[string]any{"registration_endpoint": ""}))}, wellKnownOIDC: {status: 503},
		}, "rfc8414 + PKCE", nil},
		{"out of order, else nothing", "", map[string]place{wellKnownOAuth: {status: 502}}, "transient", []string{wellKnownOAuth, wellKnownOIDC}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, asked := serveDocuments(t, tc.places)
			m, err := fetcher(t).ServerMetadata(t.Context(), s.URL+tc.path)
			got := outcome(m, err, func() string { return m.Form + " " + strings.TrimPrefix(m.Issuer, s.URL) })
			if m != nil && strings.Contains(tc.want, "+") {
				got = strings.TrimSpace(got)
				if m.RegistrationEndpoint != "" {
					got += " + registration"
				}
				if m.PKCE() == nil {
					got += " + PKCE"
				}
				if m.TokenEndpoint != "https://as.example/token" {
					t.Errorf("token endpoint %q: a later document replaces what is there", m.TokenEndpoint)
				}
				if again, err := ParseServerMetadata(m.Raw, s.URL+tc.path, m.Form); err != nil || !reflect.DeepEqual(again, m) {
					t.Errorf("the stored document reads otherwise: %v", err)
				}
			}
			if got != tc.want {
				t.Errorf("got %q (%v), want %q", got, err, tc.want)
			}
			if tc.asked != nil && !reflect.DeepEqual(asked.list(), tc.asked) {
				t.Errorf("requested %q, want %q", asked.list(), tc.asked)
			}
		})
	}
	for _, issuer := range []string{"", "as.example", "http://as.example", "https://as.example?x", "https://as.example?", "https://as.example#x", "https://u@as.example"} {
		if _, err := fetcher(t).ServerMetadata(t.Context(), issuer); outcome[ServerMetadata](nil, err, nil) != "protocol" {
			t.Errorf("issuer %q: error %v, want a *ProtocolError", issuer, err)
		}
	}
}

func TestLegacyServerMetadata(t *testing.T) {
	other, _ := serveDocuments(t, map[string]place{wellKnownOAuth: {body: string(metadata("BASE", map[string]any{"token_endpoint": "https://other.example/token"}))}})
	absent, _ := serveDocuments(t, nil)
	for _, tc := range []struct {
		name   string
		places map[string]place
		want   string // form, issuer and token endpoint; or the kind of error
	}{
		{"nothing", nil, "legacy BASE BASE/token"},
		{"document at the origin", map[string]place{wellKnownOAuth: {body: string(metadata("BASE", nil))}}, "rfc8414 BASE https://as.example/token"},
		{"issuer with a path", map[string]place{wellKnownOAuth: {body: string(metadata("BASE/oauth", nil))}}, "rfc8414 BASE/oauth https://as.example/token"},
		{"OpenID document at the origin", map[string]place{wellKnownOIDC: {body: string(metadata("BASE", nil))}}, "oidc BASE https://as.example/token"},
		{"another origin's name leads to that origin's own document", map[string]place{wellKnownOAuth: {body: string(metadata(other.URL, nil))}}, "rfc8414 OTHER https://other.example/token"},
		{"another origin that has none", map[string]place{wellKnownOAuth: {body: string(metadata(absent.URL, nil))}}, "protocol"},
		{"no issuer", map[string]place{wellKnownOAuth: {body: string(metadata("", nil))}}, "protocol"},
		{"out of order", map[string]place{wellKnownOAuth: {status: 500}}, "transient"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, asked := serveDocuments(t, tc.places)
			m, err := fetcher(t).LegacyServerMetadata(t.Context(), s.URL+"/mcp")
			got := outcome(m, err, func() string { return fmt.Sprintf("%s %s %s", m.Form, m.Issuer, m.TokenEndpoint) })
			got = strings.NewReplacer(s.URL, "BASE", other.URL, "OTHER").Replace(got)
			if got != tc.want {
				t.Errorf("got %q (%v), want %q", got, err, tc.want)
			}
			if a := asked.list(); a[0] != wellKnownOAuth {
				t.Errorf("requested %q first", a[0])
			}
		})
	}
}

func TestLegacyMetadata(t *testing.T) {
	m := legacyMetadata("https://rs.example:8443/a/mcp?x#y")
	want := &ServerMetadata{
		Issuer: "https://rs.example:8443", AuthorizationEndpoint: "https://rs.example:8443/authorize",
		TokenEndpoint: "https://rs.example:8443/token", RegistrationEndpoint: "https://rs.example:8443/register",
		TokenEndpointAuthMethodsSupported: []string{MethodNone}, Form: FormLegacy,
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("got %+v", m)
	}
	if err := m.PKCE(); err != nil {
		t.Errorf("PKCE() = %v", err)
	}
	if m := legacyMetadata("javascript:x"); m.TokenEndpoint != "" || m.Issuer != "" {
		t.Errorf("a URL that is none has endpoints: %+v", m)
	}
}

func TestParseServerMetadata(t *testing.T) {
	const issuer = "https://as.example"
	for _, tc := range []struct {
		name    string
		changes map[string]any
		ok      bool
	}{
		{"as it should be", nil, true},
		{"no registration", map[string]any{"registration_endpoint": nil}, true},
		{"empty members", map[string]any{"registration_endpoint": "", "revocation_endpoint": json.RawMessage("null"), "service_documentation": ""}, true},
		{"endpoints elsewhere", map[string]any{"token_endpoint": "https://tokens.example/t"}, true},
		{"endpoint with a query", map[string]any{"authorization_endpoint": "https://as.example/authorize?p=1"}, true},
		{"relative documentation", map[string]any{"service_documentation": "docs/index.html"}, true},
		{"no token endpoint", map[string]any{"token_endpoint": nil}, false},
		{"no authorization endpoint", map[string]any{"authorization_endpoint": nil}, false},
		{"no issuer", map[string]any{"issuer": nil}, false},
		{"http token endpoint", map[string]any{"token_endpoint": "http://as.example/token"}, false},
		{"http revocation endpoint", map[string]any{"revocation_endpoint": "http://as.example/revoke"}, false},
		{"relative endpoint", map[string]any{"registration_endpoint": "/register"}, false},
		{"endpoint in another case", map[string]any{"token_endpoint": nil, "Token_Endpoint": "https://as.example/token"}, false},
		{"issuer with a fragment", map[string]any{"issuer": issuer + "#"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, err := ParseServerMetadata(metadata(issuer, tc.changes), issuer, FormRFC8414)
			if want := map[bool]string{true: "ok", false: "protocol"}[tc.ok]; outcome(m, err, func() string { return "ok" }) != want {
				t.Errorf("error %v, want %s", err, want)
			}
		})
	}
	for _, name := range []string{
		"issuer", "authorization_endpoint", "token_endpoint", "registration_endpoint", "revocation_endpoint", "introspection_endpoint",
		"device_authorization_endpoint", "pushed_authorization_request_endpoint", "userinfo_endpoint", "end_session_endpoint",
		"jwks_uri", "service_documentation", "op_policy_uri", "op_tos_uri",
	} {
		for _, bad := range badSchemes {
			raw := metadata(issuer, map[string]any{name: bad})
			if _, err := ParseServerMetadata(raw, "", FormRFC8414); outcome[ServerMetadata](nil, err, nil) != "protocol" {
				t.Errorf("%s %q: error %v, want a *ProtocolError", name, bad, err)
			}
		}
	}
	aliases := metadata(issuer, map[string]any{"mtls_endpoint_aliases": map[string]string{"token_endpoint": "file:///x"}})
	if _, err := ParseServerMetadata(aliases, issuer, FormRFC8414); err == nil {
		t.Error("a nested endpoint was not looked at")
	}
	for name, raw := range map[string]string{
		"a name twice": `{"issuer":"https://as.example","token_endpoint":"https://as.example/t","token_endpoint":"https://evil.example/t","authorization_endpoint":"https://as.example/a"}`,
		"cut off":      `{"issuer":"https://as.example","token_endpoint":"https://as.example/t","authorization_endpoint":"https://as.example/a"`,
		"too deep":     `{"issuer":` + strings.Repeat("[", 33) + strings.Repeat("]", 33) + `}`,
	} {
		if _, err := ParseServerMetadata([]byte(raw), "", ""); outcome[ServerMetadata](nil, err, nil) != "protocol" {
			t.Errorf("%s: error %v, want a *ProtocolError", name, err)
		}
	}
}

func TestParseServerMetadataFields(t *testing.T) {
	raw := metadata("https://as.example/", map[string]any{
		"scopes_supported":                               []string{"a", "offline_access"},
		"response_types_supported":                       []string{"code"},
		"grant_types_supported":                          []any{},
		"token_endpoint_auth_methods_supported":          []any{"none", nil, "client_secret_post"},
		"revocation_endpoint":                            "https://as.example/revoke",
		"authorization_response_iss_parameter_supported": true,
		"client_id_metadata_document_supported":          "true",
	})
	m, err := ParseServerMetadata(raw, "https://as.example", FormOIDC)
	if err != nil {
		t.Fatal(err)
	}
	want := &ServerMetadata{
		Issuer: "https://as.example/", AuthorizationEndpoint: "https://as.example/authorize", TokenEndpoint: "https://as.example/token",
		RegistrationEndpoint: "https://as.example/register", RevocationEndpoint: "https://as.example/revoke",
		ScopesSupported: []string{"a", "offline_access"}, GrantTypesSupported: []string{},
		TokenEndpointAuthMethodsSupported: []string{"none", "client_secret_post"}, CodeChallengeMethodsSupported: []string{"S256"},
		AuthorizationResponseIssParameterSupported: true, ClientIDMetadataDocumentSupported: true,
		Form: FormOIDC, Raw: raw,
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("\n got %+v\nwant %+v", m, want)
	}
}

func TestPKCESupport(t *testing.T) {
	for _, tc := range []struct {
		methods any
		ok      bool
	}{
		{[]string{"S256"}, true}, {[]string{"plain", "S256"}, true}, {"S256", true},
		{nil, false}, {[]string{}, false}, {[]string{"plain"}, false}, {[]string{"s256"}, false},
	} {
		m, err := ParseServerMetadata(metadata("https://as.example", map[string]any{"code_challenge_methods_supported": tc.methods}), "", FormRFC8414)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.PKCE(); (err == nil) != tc.ok {
			t.Errorf("%v: PKCE() = %v, want ok %v", tc.methods, err, tc.ok)
		}
	}
}

func FuzzParseServerMetadata(f *testing.F) {
	f.Add(metadata("https://as.example", nil))
	f.Add(metadata("https://as.example/", map[string]any{"service_documentation": "javascript:1", "x": []any{map[string]any{"y_uri": 1}}}))
	f.Add([]byte(`{"issuer":"https://as.example","issuer":1}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		m, err := ParseServerMetadata(doc, "https://as.example", FormOIDC)
		if err != nil {
			if m != nil {
				t.Fatal("a document and an error")
			}
			return
		}
		if strings.TrimSuffix(m.Issuer, "/") != "https://as.example" {
			t.Fatalf("issuer %q was let through", m.Issuer)
		}
		for _, e := range []string{m.AuthorizationEndpoint, m.TokenEndpoint, m.RegistrationEndpoint, m.RevocationEndpoint} {
			if e != "" && CheckEndpoint(e) != nil {
				t.Fatalf("endpoint %q was let through", e)
			}
		}
		again, err := ParseServerMetadata(m.Raw, "", FormOIDC)
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("the stored document reads otherwise: %v", err)
		}
	})
}
