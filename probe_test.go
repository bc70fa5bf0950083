package handstamp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// host is a web server on loopback that records its requests.
type host struct {
	*httptest.Server
	mux *http.ServeMux

	mu       sync.Mutex
	requests []string // guarded by mu
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{mux: http.NewServeMux()}
	h.Server = testenv.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.requests = append(h.requests, r.Method+" "+r.URL.Path)
		h.mu.Unlock()
		h.mux.ServeHTTP(w, r)
	}))
	return h
}

// heard returns the requests so far. One that the client did not wait for may come later.
func (h *host) heard() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.requests)
}

// respond has a path respond in one way.
func (h *host) respond(pattern string, status int, contentType, body string, header ...string) {
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
}

const (
	mcpResult = `{"jsonrpc":"2.0","id":1,"result":{}}`
	webPage   = "<!DOCTYPE html><html><title>Welcome</title></html>"
)

// A request that is rejected by something that is no MCP server with OAuth registers no
// client there either.
func TestRequestToAStranger(t *testing.T) {
	for name, set := range map[string]func(h *host){
		"a sign-in page": func(h *host) { h.respond("/mcp", 401, "text/html", webPage) },
		"another login":  func(h *host) { h.respond("/mcp", 401, "", "", "WWW-Authenticate", `Basic realm="intranet"`) },
	} {
		h := newHost(t)
		set(h)
		c := &handstamp.Client{Prompt: handstamp.Prompt{Authorize: testenv.Consented}}
		resp, err := c.HTTPClient(h.URL+"/mcp").Post(h.URL+"/mcp", "application/json", strings.NewReader("{}"))
		if err == nil {
			resp.Body.Close()
			t.Errorf("%s: no error", name)
		}
		for _, r := range h.heard() {
			if strings.HasSuffix(r, "/register") || strings.HasSuffix(r, "/authorize") || strings.HasSuffix(r, "/token") {
				t.Errorf("%s: a stranger was sent %s", name, r)
			}
		}
	}
}

// At a URL without an MCP server, or of one that needs no login, Login returns an error:
// no client is registered and no browser opened.
func TestLoginAtAWrongURL(t *testing.T) {
	t.Parallel()
	identityProvider := func(h *host) string {
		return fmt.Sprintf(`{"issuer":%q,"authorization_endpoint":%q,"token_endpoint":%q,"registration_endpoint":%q,"code_challenge_methods_supported":["S256"]}`,
			h.URL, h.URL+"/authorize", h.URL+"/token", h.URL+"/register")
	}
	for name, c := range map[string]struct {
		set  func(h *host)
		path string
		kind error
		want string // in the error; URL stands for the host's
	}{
		"nothing there":  {func(*host) {}, "/mcp", handstamp.ErrInvalidConfig, "no MCP server at URL/mcp (404 Not Found)"},
		"nothing at all": {func(*host) {}, "", handstamp.ErrInvalidConfig, "no MCP server at URL (404 Not Found)"},
		"gone":           {func(h *host) { h.respond("/mcp", 410, "", "") }, "/mcp", handstamp.ErrInvalidConfig, "no MCP server at URL/mcp (410 Gone)"},
		"a web page":     {func(h *host) { h.respond("/", 200, "text/html", webPage) }, "/mcp", handstamp.ErrInvalidConfig, "no MCP server at URL/mcp (it is a web page)"},
		"a page that takes no POST": {func(h *host) { h.respond("GET /", 200, "text/html; charset=utf-8", webPage) }, "/",
			handstamp.ErrInvalidConfig, "no MCP server at URL/"},
		"a page without a type": {func(h *host) { h.respond("/", 200, "text/plain", "  "+webPage) }, "/", handstamp.ErrInvalidConfig, "it is a web page"},
		"a sign-in page":        {func(h *host) { h.respond("/", 401, "text/html", webPage) }, "/mcp", handstamp.ErrInvalidConfig, "no MCP server at URL/mcp"},
		"a page of an OpenID provider": {func(h *host) {
			h.respond("/", 200, "text/html", webPage)
			h.respond("/.well-known/openid-configuration", 200, "application/json", identityProvider(h))
		}, "/group/project", handstamp.ErrInvalidConfig, "it is a web page"},
		"a path of an OpenID provider": {func(h *host) {
			h.respond("/.well-known/openid-configuration", 200, "application/json", identityProvider(h))
		}, "/mcp", handstamp.ErrInvalidConfig, "404 Not Found"},
		"an API":           {func(h *host) { h.respond("/", 200, "application/json", `{"status":"ok"}`) }, "/", handstamp.ErrInvalidConfig, "no MCP server at URL/"},
		"another redirect": {func(h *host) { h.respond("/mcp", 302, "", "", "Location", "https://other.example/") }, "/mcp", nil, ""},
		"no login":         {func(h *host) { h.respond("/mcp", 200, "application/json", mcpResult) }, "/mcp", handstamp.ErrNoLoginNeeded, "this server needs no login"},
		"no login, events": {func(h *host) { h.respond("/mcp", 200, "text/event-stream", "data: "+mcpResult+"\n\n") }, "/mcp", handstamp.ErrNoLoginNeeded, "this server needs no login"},
		"no login, but a session": {func(h *host) {
			h.respond("/mcp", 400, "application/json", `{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: no session"}}`)
		}, "/mcp", handstamp.ErrNoLoginNeeded, "this server needs no login"},
		"no login, SSE": {func(h *host) { h.respond("GET /sse", 200, "text/event-stream", "event: endpoint\ndata: /messages\n\n") },
			"/sse", handstamp.ErrNoLoginNeeded, "this server needs no login"},
		"no login, metadata of other things": {func(h *host) {
			h.respond("/mcp", 200, "application/json", mcpResult)
			h.respond("/", 200, "text/html", webPage)
		}, "/mcp", handstamp.ErrNoLoginNeeded, "this server needs no login"},
		"another login": {func(h *host) { h.respond("/mcp", 401, "", "", "WWW-Authenticate", `Basic realm="intranet"`) }, "/mcp",
			handstamp.ErrProtocol, "another kind of login: Basic"},
		"forbidden":             {func(h *host) { h.respond("/mcp", 403, "", "") }, "/mcp", handstamp.ErrProtocol, "names no authorization server"},
		"not now":               {func(h *host) { h.respond("/mcp", 503, "", "") }, "/mcp", handstamp.ErrUnreachable, "503 Service Unavailable"},
		"not now, with a page":  {func(h *host) { h.respond("/mcp", 502, "text/html", webPage) }, "/mcp", handstamp.ErrUnreachable, "502 Bad Gateway"},
		"too many, with a page": {func(h *host) { h.respond("/mcp", 429, "text/html", webPage) }, "/mcp", handstamp.ErrUnreachable, "429 Too Many Requests"},
		"meant: /mcp":           {func(h *host) { h.respond("/mcp", 200, "application/json", mcpResult) }, "/", handstamp.ErrInvalidConfig, "did you mean URL/mcp?"},
		"meant: /api/mcp": {func(h *host) {
			h.respond("/api/mcp", 401, "", "", "WWW-Authenticate", "Bearer")
			h.respond("/", 200, "text/html", webPage)
		}, "/api", handstamp.ErrInvalidConfig, "did you mean URL/api/mcp?"},
		"meant: /sse": {func(h *host) { h.respond("GET /sse", 401, "", "", "WWW-Authenticate", "Bearer") }, "/mcp", handstamp.ErrInvalidConfig, "did you mean URL/sse?"},
		"meant: the resource that is named": {func(h *host) {
			h.respond("/deep/in/mcp", 401, "", "", "WWW-Authenticate", "Bearer")
			h.respond("/.well-known/oauth-protected-resource", 200, "application/json",
				fmt.Sprintf(`{"resource":%q,"authorization_servers":[%q]}`, h.URL+"/deep/in/mcp", h.URL))
			h.respond("/.well-known/oauth-authorization-server", 200, "application/json", identityProvider(h))
		}, "/", handstamp.ErrProtocol, "did you mean URL/deep/in/mcp?"},
		"named, but not there": {func(h *host) {
			h.respond("/.well-known/oauth-protected-resource", 200, "application/json",
				fmt.Sprintf(`{"resource":%q,"authorization_servers":[%q]}`, h.URL+"/deep", h.URL))
		}, "/", handstamp.ErrProtocol, "describes another resource"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			c.set(h)
			client := &handstamp.Client{Prompt: handstamp.Prompt{
				Authorize: func(context.Context, handstamp.AuthorizationRequest) (url.Values, error) {
					t.Error("a user was sent to sign in")
					return nil, errors.New("nothing to sign in to")
				},
			}}
			_, err := client.Login(t.Context(), h.URL+c.path, handstamp.LoginOptions{})
			if err == nil || c.kind != nil && !errors.Is(err, c.kind) {
				t.Errorf("the error is %v, want %v", err, c.kind)
			}
			if err != nil && !strings.Contains(err.Error(), strings.ReplaceAll(c.want, "URL", h.URL)) {
				t.Errorf("the error is %q, which lacks %q", err, c.want)
			}
			if strings.Contains(err.Error(), "did you mean") != strings.Contains(c.want, "did you mean") && c.want != "" {
				t.Errorf("the error is %q", err)
			}
			for _, r := range h.heard() {
				if strings.HasSuffix(r, "/register") || strings.HasSuffix(r, "/authorize") || strings.HasSuffix(r, "/token") {
					t.Errorf("a stranger was sent %s", r)
				}
			}
		})
	}
}

// A server that responds oddly to the first request, and wants a login all the
// same, gets one.
func TestLoginAtAServerThatRespondsOddly(t *testing.T) {
	t.Parallel()
	const resource = "/.well-known/oauth-protected-resource"
	for name, c := range map[string]struct {
		path string // of its metadata; "": that of its authorization server only
		set  func(h *host)
	}{
		"404, but metadata":    {resource + "/mcp", func(*host) {}},
		"a page, but metadata": {resource + "/mcp", func(h *host) { h.respond("/mcp", 200, "text/html", webPage) }},
		"a 403 and metadata":   {resource + "/mcp", func(h *host) { h.respond("/mcp", 403, "", "") }},
		"a 500 and metadata":   {resource + "/mcp", func(h *host) { h.respond("/mcp", 500, "", "") }},
		"200 without a token":  {resource + "/mcp", func(h *host) { h.respond("/mcp", 200, "application/json", mcpResult) }},
		"GET only, with a challenge": {"/metadata", func(h *host) {
			h.respond("GET /mcp", 401, "", "", "WWW-Authenticate", "Bearer resource_metadata=\"/metadata\"")
		}},
		"GET only, without one": {"", func(h *host) { h.respond("GET /mcp", 401, "", "") }},
		"a 400":                 {"", func(h *host) { h.respond("/mcp", 400, "application/json", `{"error":"no session"}`) }},
		"a 401 with a page":     {"", func(h *host) { h.respond("/mcp", 401, "text/html", webPage) }},
		"a 403 with a page":     {"", func(h *host) { h.respond("/mcp", 403, "text/html", webPage) }},
		"a 406":                 {"", func(h *host) { h.respond("/mcp", 406, "", "") }},
		"200, then a login":     {"", func(h *host) { h.respond("/mcp", 200, "application/json", mcpResult) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, h := testenv.New(t, lab.Habits{}), newHost(t)
			c.set(h)
			if c.path != "" {
				h.respond(c.path, 200, "application/json",
					fmt.Sprintf(`{"resource":%q,"authorization_servers":[%q]}`, h.URL+"/mcp", w.Lab.Issuer()))
			} else {
				h.respond("/.well-known/oauth-authorization-server", 200, "application/json", fmt.Sprintf(
					`{"issuer":%q,"authorization_endpoint":%q,"token_endpoint":%q}`, w.Lab.Issuer(), h.URL+"/authorize", h.URL+"/token"))
			}
			client := w.Session()
			client.Resource = w.Lab.ResourceURL()
			if _, err := client.Login(t.Context(), h.URL+"/mcp", handstamp.LoginOptions{}); err != nil {
				t.Errorf("login: %v", err)
			}
		})
	}
}
