package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/proctest"
)

// place is what a test server has at a path: a status, or a document in which
// BASE stands for the server's own URL.
type place struct {
	status int
	body   string
	html   bool
}

// serveDocuments starts a server with documents, everything else being 404, and
// returns the paths that are requested.
func serveDocuments(t *testing.T, places map[string]place) (*httptest.Server, *recorder) {
	t.Helper()
	var asked recorder
	var s *httptest.Server
	s = serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.add(r)
		p, ok := places[r.RequestURI]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if p.html {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
		}
		if p.status != 0 {
			w.WriteHeader(p.status)
		}
		w.Write([]byte(strings.ReplaceAll(p.body, "BASE", s.URL)))
	})
	return s, &asked
}

func TestResourceMetadataDiscovery(t *testing.T) {
	const (
		wk   = "/.well-known/oauth-protected-resource"
		good = `{"resource":"BASE/mcp","authorization_servers":["https://as.example"],"scopes_supported":["a","b"]}`
		root = `{"resource":"BASE","authorization_servers":["https://root.example"]}`
	)
	for _, tc := range []struct {
		name      string
		places    map[string]place
		path      string // of the server; "" is /mcp
		challenge string // BASE and HOST are replaced
		want      string // the authorization server; "absent", "protocol" or "transient"
		asked     []string
	}{
		{"path-inserted", map[string]place{wk + "/mcp": {body: good}, wk: {body: root}}, "", "", "https://as.example", []string{wk + "/mcp"}},
		{"root", map[string]place{wk: {body: root}}, "", "", "https://root.example", []string{wk + "/mcp", wk}},
		{"server without a path", map[string]place{wk: {body: root}}, "/", "", "https://root.example", []string{wk}},
		{"slash at the end of the server's URL", map[string]place{wk + "/mcp": {body: good}}, "/mcp/", "", "https://as.example", []string{wk + "/mcp"}},
		{"slash at the end of the metadata's URL", map[string]place{wk + "/mcp/": {body: good}, wk: {body: root}},
			"/mcp/", "", "https://as.example", []string{wk + "/mcp", wk + "/mcp/"}},
		{"slash at the end, and the metadata at the root", map[string]place{wk: {body: root}},
			"/mcp/", "", "https://root.example", []string{wk + "/mcp", wk + "/mcp/", wk}},
		{"slash before the query", map[string]place{wk + "/mcp/?t=1": {body: good}},
			"/mcp/?t=1", "", "https://as.example", []string{wk + "/mcp?t=1", wk + "/mcp/?t=1"}},
		{"query of the server's URL", map[string]place{wk + "/mcp?t=1": {body: good}}, "/mcp?t=1", "", "https://as.example", []string{wk + "/mcp?t=1"}},
		{"challenge first", map[string]place{"/custom.json": {body: good}, wk: {body: root}}, "", "BASE/custom.json", "https://as.example", []string{"/custom.json"}},
		{"relative challenge", map[string]place{"/custom.json": {body: good}}, "", "/custom.json", "https://as.example", []string{"/custom.json"}},
		{"challenge leads nowhere", map[string]place{wk: {body: root}}, "", "BASE/custom.json", "https://root.example", []string{"/custom.json", wk + "/mcp", wk}},
		{"challenge names another origin", map[string]place{wk: {body: root}}, "", "https://evil.example/m", "https://root.example", []string{wk + "/mcp", wk}},
		{"challenge names another port", map[string]place{wk: {body: root}}, "", "http://127.0.0.1:1/m", "https://root.example", []string{wk + "/mcp", wk}},
		{"challenge with user information", map[string]place{wk: {body: root}}, "", "http://user@HOST/m", "https://root.example", []string{wk + "/mcp", wk}},
		{"challenge is a script", map[string]place{wk: {body: root}}, "", "javascript:alert(1)", "https://root.example", []string{wk + "/mcp", wk}},
		{"challenge names another scheme", map[string]place{wk: {body: root}}, "", "https://HOST/m", "https://root.example", []string{wk + "/mcp", wk}},
		{"challenge names another origin, and nothing is here", nil, "", "https://evil.example/m", "absent", []string{wk + "/mcp", wk}},
		{"challenge leads to a server error", map[string]place{"/custom.json": {status: 502}, wk: {body: root}}, "", "BASE/custom.json", "https://root.example", []string{"/custom.json", wk + "/mcp", wk}},
		{"challenge leads to a server error, and nothing else is here", map[string]place{"/custom.json": {status: 502}}, "", "BASE/custom.json", "transient", []string{"/custom.json", wk + "/mcp", wk}},
		{"challenge names a well-known place that has nothing", map[string]place{wk: {body: root}}, "", "BASE" + wk + "/mcp", "https://root.example", []string{wk + "/mcp", wk}},
		{"challenge leads to a contradiction", map[string]place{"/custom.json": {body: `{"resource":"https://evil.example/mcp"}`}, wk: {body: root}}, "", "BASE/custom.json", "protocol", []string{"/custom.json"}},
		{"one of several authorization servers has no URL for us", map[string]place{wk: {body: `{"resource":"BASE","authorization_servers":["http://inner:8080","https://as.example"]}`}}, "", "", "https://as.example", nil},
		{"nothing anywhere", nil, "", "", "absent", []string{wk + "/mcp", wk}},
		{"no kind of no", map[string]place{wk + "/mcp": {status: 401}, wk: {status: 405}}, "", "", "absent", nil},
		{"not implemented", map[string]place{wk + "/mcp": {status: 501}, wk: {status: 410}}, "", "", "absent", nil},
		{"pages for people", map[string]place{wk + "/mcp": {body: "<!doctype html><p>app", html: true}, wk: {body: " <html>"}}, "", "", "absent", nil},
		{"a page, then the document", map[string]place{wk + "/mcp": {body: "<html>", html: true}, wk: {body: root}}, "", "", "https://root.example", nil},
		{"the document as HTML by its type only", map[string]place{wk + "/mcp": {body: good, html: true}}, "", "", "https://as.example", nil},
		{"with a byte order mark", map[string]place{wk + "/mcp": {body: "\ufeff" + good}}, "", "", "https://as.example", nil},
		{"nothing in a 200", map[string]place{wk + "/mcp": {body: " \n"}}, "", "", "absent", nil},
		{"another JSON in a 200", map[string]place{wk + "/mcp": {body: `{"error":"not found"}`}, wk: {body: `[]`}}, "", "", "absent", nil},
		{"out of order first", map[string]place{wk + "/mcp": {status: 503}, wk: {body: root}}, "", "", "https://root.example", nil},
		{"out of order last", map[string]place{wk: {status: 500}}, "", "", "transient", []string{wk + "/mcp", wk}},
		{"too many requests", map[string]place{wk + "/mcp": {status: 429}}, "", "", "transient", []string{wk + "/mcp", wk}},
		{"a contradiction ends the search", map[string]place{wk + "/mcp": {body: `{"resource":"https://evil.example/mcp"}`}, wk: {body: root}}, "", "", "protocol", []string{wk + "/mcp"}},
		{"broken JSON", map[string]place{wk + "/mcp": {body: `{"resource":`}}, "", "", "protocol", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, asked := serveDocuments(t, tc.places)
			path := tc.path
			if path == "" {
				path = "/mcp"
			}
			rm, err := fetcher(t).ResourceMetadata(t.Context(), s.URL+path, strings.NewReplacer("BASE", s.URL, "HOST", strings.TrimPrefix(s.URL, "http://")).Replace(tc.challenge))
			if got := outcome(rm, err, func() string { return rm.AuthorizationServers[0] }); got != tc.want {
				t.Errorf("got %s (%v), want %s", got, err, tc.want)
			}
			if tc.asked != nil && !reflect.DeepEqual(asked.list(), tc.asked) {
				t.Errorf("requested %q, want %q", asked.list(), tc.asked)
			}
		})
	}
}

// outcome names a result of a search.
func outcome[T any](doc *T, err error, value func() string) string {
	_, protocol := errtype.As[*ProtocolError](err)
	_, transient := errtype.As[*TransientError](err)
	switch {
	case err == nil && doc != nil:
		return value()
	case doc != nil:
		return "a document and an error"
	case errors.Is(err, ErrNoMetadata):
		return "absent"
	case protocol:
		return "protocol"
	case transient:
		return "transient"
	}
	return fmt.Sprintf("another error: %v", err)
}

func TestDiscoveryOffline(t *testing.T) {
	server := "http://" + proctest.UnreachableAddress(t) + "/mcp"
	if _, err := fetcher(t).ResourceMetadata(t.Context(), server, ""); outcome[ResourceMetadata](nil, err, nil) != "transient" {
		t.Errorf("error %v, want a *TransientError", err)
	}
	if _, err := fetcher(t).LegacyServerMetadata(t.Context(), server); outcome[ServerMetadata](nil, err, nil) != "transient" {
		t.Errorf("error %v, want a *TransientError", err)
	}
}

func TestResourceMatches(t *testing.T) {
	for _, tc := range []struct {
		server, resource string
		ok               bool
	}{
		{"https://rs.example/mcp", "https://rs.example/mcp", true},
		{"https://rs.example/mcp", "https://rs.example/mcp/", true},
		{"https://rs.example/mcp/", "https://rs.example/mcp", true},
		{"https://rs.example/mcp", "https://rs.example", true},
		{"https://rs.example/mcp", "https://rs.example/", true},
		{"https://rs.example/a/b", "https://rs.example/a", true},
		{"https://rs.example", "https://rs.example/", true},
		{"https://rs.example/mcp?t=1", "https://rs.example/mcp", true},
		{"https://rs.example/mcp?t=1", "https://rs.example/mcp?t=1", true},
		{"https://rs.example/mcp#x", "https://rs.example/mcp", true},
		{"https://RS.example:443/mcp", "https://rs.EXAMPLE/mcp", true},
		{"http://rs.example/mcp", "http://rs.example/mcp", true}, // plain http is the caller's decision
		{"https://rs.example/mcp", "", false},
		{"https://rs.example/mcp", "https://rs.example/mcp-evil", false},
		{"https://rs.example/mcp-evil", "https://rs.example/mcp", false},
		{"https://rs.example/mcp", "https://rs.example/mc", false},
		{"https://rs.example/mcp", "https://rs.example/MCP", false},
		{"https://rs.example", "https://rs.example/mcp", false},
		{"https://rs.example/mcp", "https://evil.example/mcp", false},
		{"https://rs.example/mcp", "https://rs.example.evil.example/mcp", false},
		{"https://rs.example/mcp", "https://rs.example:8443/mcp", false},
		{"https://rs.example/mcp", "http://rs.example/mcp", false},
		{"https://rs.example/mcp", "https://x@rs.example/mcp", false},
		{"https://rs.example/mcp", "https://rs.example/mcp#", false},
		{"https://rs.example/mcp", "urn:mcp", false},
		{"https://rs.example/a/../mcp", "https://rs.example/a", false},
	} {
		doc, _ := json.Marshal(map[string]any{"resource": tc.resource, "authorization_servers": []string{"https://as.example"}})
		rm, err := parseResourceMetadata(doc, tc.server)
		if (err == nil) != tc.ok {
			t.Errorf("server %q, resource %q: error %v, want ok %v", tc.server, tc.resource, err, tc.ok)
		}
		if tc.ok && err == nil {
			if value, _ := ChooseResource(tc.server, rm); value != tc.resource {
				t.Errorf("ChooseResource = %q, want the metadata's own %q", value, tc.resource)
			}
		}
	}
}

func TestChooseResourceWithoutMetadata(t *testing.T) {
	for server, want := range map[string]string{
		"https://rs.example":           "https://rs.example",
		"https://rs.example/":          "https://rs.example/",
		"https://RS.example:443/mcp/":  "https://RS.example:443/mcp/",
		"https://rs.example/mcp?t=1#f": "https://rs.example/mcp",
		"https://rs.example/mcp#f?x":   "https://rs.example/mcp",
	} {
		value, why := ChooseResource(server, nil)
		if value != want || why == "" {
			t.Errorf("ChooseResource(%q) = %q (%s), want %q", server, value, why, want)
		}
	}
}

// TestResourceMetadataURLs puts hostile URLs into every member that holds one.
func TestResourceMetadataURLs(t *testing.T) {
	for _, name := range []string{"resource", "authorization_servers", "jwks_uri", "resource_documentation", "resource_policy_uri", "resource_tos_uri"} {
		for _, bad := range badSchemes {
			doc := map[string]any{"resource": "https://rs.example/mcp", "authorization_servers": []string{"https://as.example"}}
			doc[name] = bad
			raw, _ := json.Marshal(doc)
			if _, err := parseResourceMetadata(raw, "https://rs.example/mcp"); outcome[ResourceMetadata](nil, err, nil) != "protocol" {
				t.Errorf("%s %q: error %v, want a *ProtocolError", name, bad, err)
			}
		}
	}
}

func TestResourceMetadataReading(t *testing.T) {
	const server = "https://rs.example/mcp"
	for _, tc := range []struct {
		name, doc string
		want      string // "ok", "absent" or "protocol"
		scopes    []string
		servers   []string
	}{
		{"no authorization servers", `{"resource":"https://rs.example/mcp"}`, "ok", nil, nil},
		{"a single authorization server", `{"resource":"https://rs.example/mcp","authorization_servers":"https://as.example/"}`, "ok", nil, []string{"https://as.example/"}},
		{"null and empty members", `{"resource":"https://rs.example/mcp","authorization_servers":null,"scopes_supported":null,"jwks_uri":""}`, "ok", nil, nil},
		{"empty list of scopes", `{"resource":"https://rs.example/mcp","scopes_supported":[]}`, "ok", []string{}, nil},
		{"scopes in a string", `{"resource":"https://rs.example/mcp","scopes_supported":"a b"}`, "ok", []string{"a", "b"}, nil},
		{"malformed scopes", `{"resource":"https://rs.example/mcp","scopes_supported":["a","b\u0001","c\"d",7]}`, "ok", []string{"a", "7"}, nil},
		{"no resource", `{"authorization_servers":["https://as.example"]}`, "protocol", nil, nil},
		{"null resource", `{"resource":null,"authorization_servers":["https://as.example"]}`, "protocol", nil, nil},
		{"name in another case", `{"Resource":"https://rs.example/mcp"}`, "absent", nil, nil},
		{"both cases", `{"resource":"https://rs.example/mcp","Authorization_Servers":["https://evil.example"]}`, "ok", nil, nil},
		{"a name twice", `{"resource":"https://rs.example/mcp","resource":"https://rs.example/mcp"}`, "protocol", nil, nil},
		{"http authorization server", `{"resource":"https://rs.example/mcp","authorization_servers":["http://as.example"]}`, "protocol", nil, nil},
		{"nested beyond reason", `{"resource":"https://rs.example/mcp","x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, "protocol", nil, nil},
		{"invalid UTF-8", "{\"resource\":\"https://rs.example/mcp\",\"x\":\"\xff\"}", "protocol", nil, nil},
		{"not an object", `"x"`, "absent", nil, nil},
		{"no JSON", `hello`, "absent", nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rm, err := parseResourceMetadata([]byte(tc.doc), server)
			if got := outcome(rm, err, func() string { return "ok" }); got != tc.want {
				t.Fatalf("got %s (%v), want %s", got, err, tc.want)
			}
			if rm == nil {
				return
			}
			if !reflect.DeepEqual(rm.ScopesSupported, tc.scopes) || !reflect.DeepEqual(rm.AuthorizationServers, tc.servers) {
				t.Errorf("scopes %#v, servers %#v; want %#v, %#v", rm.ScopesSupported, rm.AuthorizationServers, tc.scopes, tc.servers)
			}
		})
	}
}

func FuzzParseResourceMetadata(f *testing.F) {
	f.Add([]byte(`{"resource":"https://rs.example/mcp","authorization_servers":["https://as.example"],"scopes_supported":["a"]}`))
	f.Add([]byte(`{"resource":"https://rs.example","authorization_servers":"x","jwks_uri":"javascript:1"}`))
	f.Add([]byte("\ufeff{\"resource\":\"https://rs.example/\"} x"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		const server = "https://rs.example/mcp"
		rm, err := parseResourceMetadata(doc, server)
		if err != nil {
			if rm != nil {
				t.Fatal("a document and an error")
			}
			return
		}
		if checkResource(rm.Resource, server) != nil {
			t.Fatalf("resource %q was let through", rm.Resource)
		}
		for _, as := range rm.AuthorizationServers {
			if CheckEndpoint(as) != nil {
				t.Fatalf("authorization server %q was let through", as)
			}
		}
	})
}
