package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// setup says which ways of oidc-provider are in force (see oidc-provider-full.mjs).
type setup struct {
	Clients []map[string]any  `json:"clients,omitempty"`
	TLS     map[string]string `json:"tls,omitempty"`
	Bound   bool              `json:"bound,omitempty"`
	DPoP    string            `json:"dpop,omitempty"`
	Nonces  bool              `json:"nonces,omitempty"`
	PAR     bool              `json:"par,omitempty"`
	Initial string            `json:"initial,omitempty"`

	DeviceSeconds int `json:"deviceSeconds,omitempty"`
}

// rawServer is a server to which a test speaks HTTP by hand.
type rawServer struct {
	t       *testing.T
	program *program
	http    *http.Client

	issuer, mcp string
	mtls        string // the origin of the aliases
	metadata    map[string]any
	wellKnown   string  // the path of the metadata
	account     account // of the one who signs in
}

// startFull starts oidc-provider.
func startFull(t *testing.T, s setup) *rawServer {
	t.Helper()
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return startRaw(t, "oidc-provider-full.mjs", string(raw))
}

// startRaw starts a server of which the first line says in JSON where it is.
func startRaw(t *testing.T, args ...string) *rawServer {
	t.Helper()
	needNPM(t)
	cmd := exec.Command(node(), args...)
	cmd.Env = append(os.Environ(), "NODE_NO_WARNINGS=1")
	r := &rawServer{t: t, program: launch(t, cmd), http: &http.Client{},
		wellKnown: "/.well-known/oauth-authorization-server",
		account:   account{username: "someone", password: "anything"}}
	var where struct{ Issuer, MCP, MTLS string }
	r.program.decode("", &where)
	r.issuer, r.mcp, r.mtls = where.Issuer, where.MCP, where.MTLS
	return r
}

// trusting makes the requests over TLS, with a client certificate where there is one.
func (r *rawServer) trusting(config *tls.Config) *rawServer {
	clone := *r
	clone.http = &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	return &clone
}

// response is one of an OAuth endpoint.
type response struct {
	status int
	header http.Header
	body   map[string]any
}

// code is the error code.
func (r response) code() string { return r.text("error") }

func (r response) text(name string) string {
	text, _ := r.body[name].(string)
	return text
}

// do sends a request; a body in text/html or none leaves the response without a body.
func (r *rawServer) do(method, url, contentType, body string, header map[string]string) response {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json, text/event-stream")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	result := response{status: resp.StatusCode, header: resp.Header}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		if err := json.NewDecoder(bytes.NewReader(raw)).Decode(&result.body); err != nil {
			r.t.Fatalf("%s: %v in %s", url, err, raw)
		}
	}
	return result
}

// post sends a form.
func (r *rawServer) post(url string, form url.Values, header map[string]string) response {
	r.t.Helper()
	return r.do(http.MethodPost, url, "application/x-www-form-urlencoded", form.Encode(), header)
}

// json sends a JSON document.
func (r *rawServer) json(method, url string, document any, header map[string]string) response {
	r.t.Helper()
	raw, err := json.Marshal(document)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.do(method, url, "application/json", string(raw), header)
}

// endpoint returns one of the metadata (RFC 8414).
func (r *rawServer) endpoint(name string) string {
	r.t.Helper()
	if r.metadata == nil {
		r.metadata = r.do(http.MethodGet, r.issuer+r.wellKnown, "", "", nil).body
	}
	endpoint, ok := r.metadata[name].(string)
	if !ok {
		r.t.Fatalf("the metadata has no %s", name)
	}
	return endpoint
}

// register registers a client (RFC 7591) for this method and grant.
func (r *rawServer) register(method, grant string, more map[string]any) response {
	r.t.Helper()
	client := map[string]any{"token_endpoint_auth_method": method, "grant_types": []string{grant},
		"redirect_uris": []string{}, "response_types": []string{}, "scope": "tools"}
	if grant == "authorization_code" {
		client["grant_types"] = []string{grant, "refresh_token"}
		client["redirect_uris"] = []string{redirectURI}
		client["response_types"] = []string{"code"}
		client["scope"] = "openid offline_access tools"
		client["application_type"] = "native"
	}
	for name, value := range more {
		client[name] = value
	}
	created := r.json(http.MethodPost, r.endpoint("registration_endpoint"), client, nil)
	if created.status != http.StatusCreated {
		r.t.Fatalf("registration: %d %v", created.status, created.body)
	}
	return created
}

// initialize is a session's first message to an MCP server.
const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",` +
	`"capabilities":{},"clientInfo":{"name":"interop","version":"1"}}}`

// call sends the first message to the MCP server.
func (r *rawServer) call(header map[string]string) response {
	r.t.Helper()
	return r.do(http.MethodPost, r.mcp, "application/json", initialize, header)
}

// must checks a status and returns the response.
func (r response) must(t *testing.T, what string, status int) response {
	t.Helper()
	if r.status != status {
		t.Fatalf("%s: status %d, want %d: %v, WWW-Authenticate: %s",
			what, r.status, status, r.body, r.header.Get("WWW-Authenticate"))
	}
	return r
}

// want checks an error.
func (r response) want(t *testing.T, what string, status int, code string) {
	t.Helper()
	if r.status != status || r.code() != code {
		t.Errorf("%s: %d %q, want %d %q: %v", what, r.status, r.code(), status, code, r.body)
	}
}
