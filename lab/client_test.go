package lab_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/lab"
)

const redirectURI = "http://127.0.0.1:7777/callback"

const verifier = "a-verifier-that-is-long-enough-to-be-one-in-RFC-7636"

// hand is a client written by hand: it sends what a test tells it to.
type hand struct {
	t      testing.TB
	server *lab.Server
	http   *http.Client
	id     string
	secret string
	method string
}

// reply is a response, read to its end.
type reply struct {
	status   int
	header   http.Header
	raw      string
	document map[string]any
}

func (r reply) text(name string) string {
	s, _ := r.document[name].(string)
	return s
}

// is checks the status and the OAuth error code.
func (r reply) is(t testing.TB, status int, code string) {
	t.Helper()
	if r.status != status || r.text("error") != code {
		t.Fatalf("%d %q, want %d %q: %s", r.status, r.text("error"), status, code, r.raw)
	}
}

// start starts a server with one configured public client.
func start(t testing.TB, h lab.Habits) *hand {
	t.Helper()
	return startWith(t, h, lab.Options{})
}

func startWith(t testing.TB, h lab.Habits, o lab.Options) *hand {
	t.Helper()
	server, err := lab.StartWith(h, o)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	c := &hand{t: t, server: server, id: "ana", method: lab.MethodNone, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	server.RegisterClient(lab.ConfiguredClient{ID: c.id, RedirectURIs: []string{redirectURI}})
	return c
}

// try sends a request and reads the response.
func (c *hand) try(r *http.Request) (reply, error) {
	response, err := c.http.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	out := reply{status: response.StatusCode, header: response.Header, raw: string(raw)}
	if json.Unmarshal(raw, &out.document) != nil {
		out.document = nil
	}
	return out, err
}

func (c *hand) do(r *http.Request) reply {
	c.t.Helper()
	out, err := c.try(r)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

func (c *hand) request(method, target, body string) *http.Request {
	c.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, target, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// post sends an empty POST.
func (c *hand) post(target string) reply {
	c.t.Helper()
	return c.do(c.request(http.MethodPost, target, ""))
}

func (c *hand) get(target string) reply {
	c.t.Helper()
	return c.do(c.request(http.MethodGet, target, ""))
}

// metadata is the authorization server's, from where RFC 8414 has it.
func (c *hand) metadata() map[string]any {
	c.t.Helper()
	h := c.server.Habits()
	r := c.get(c.server.URL() + "/.well-known/oauth-authorization-server" + h.IssuerPath)
	if r.status != http.StatusOK {
		c.t.Fatalf("metadata: %d", r.status)
	}
	return r.document
}

func (c *hand) endpoint(path string) string {
	return c.server.URL() + c.server.Habits().IssuerPath + path
}

// register registers dynamically and becomes the client that it gets.
func (c *hand) register(document map[string]any) reply {
	c.t.Helper()
	full := map[string]any{"redirect_uris": []string{redirectURI}, "grant_types": []string{"authorization_code", "refresh_token"}}
	maps.Copy(full, document)
	raw, err := json.Marshal(full)
	if err != nil {
		c.t.Fatal(err)
	}
	r := c.request(http.MethodPost, c.endpoint("/register"), string(raw))
	r.Header.Set("Content-Type", "application/json")
	out := c.do(r)
	if out.status == http.StatusCreated {
		c.id, c.secret, c.method = out.text("client_id"), out.text("client_secret"), out.text("token_endpoint_auth_method")
	}
	return out
}

// authorization is an authorization request with these parameters changed; an
// empty value takes one out.
func (c *hand) authorization(changes url.Values) string {
	sum := sha256.Sum256([]byte(verifier))
	params := url.Values{
		"response_type":         {"code"},
		"client_id":             {c.id},
		"redirect_uri":          {redirectURI},
		"state":                 {"a state"},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(sum[:])},
		"code_challenge_method": {"S256"},
		"resource":              {c.server.ResourceURL()},
	}
	change(params, changes)
	return c.endpoint("/authorize") + "?" + params.Encode()
}

func change(params, changes url.Values) {
	for name, values := range changes {
		if len(values) == 1 && values[0] == "" {
			delete(params, name)
		} else {
			params[name] = values
		}
	}
}

// authorize sends an authorization request and returns the parameters of the
// authorization response.
func (c *hand) authorize(changes url.Values) url.Values {
	c.t.Helper()
	r := c.get(c.authorization(changes))
	if r.status != http.StatusFound {
		c.t.Fatalf("authorize: %d: %s", r.status, r.raw)
	}
	location, err := url.Parse(r.header.Get("Location"))
	if err != nil {
		c.t.Fatal(err)
	}
	return location.Query()
}

// tokenRequest is a token request with the client's own authentication.
func (c *hand) tokenRequest(form url.Values) *http.Request {
	c.t.Helper()
	form = maps.Clone(form)
	var header string
	switch c.method {
	case lab.MethodBasic:
		header = basic(url.QueryEscape(c.id), url.QueryEscape(c.secret))
	case lab.MethodPost:
		form.Set("client_id", c.id)
		form.Set("client_secret", c.secret)
	default:
		form.Set("client_id", c.id)
	}
	r := c.request(http.MethodPost, c.endpoint("/token"), form.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if header != "" {
		r.Header.Set("Authorization", header)
	}
	return r
}

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

// codeForm exchanges a code, with parameters changed.
func (c *hand) codeForm(code string, changes url.Values) url.Values {
	form := url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {code},
		"redirect_uri":  {redirectURI},
		"code_verifier": {verifier},
		"resource":      {c.server.ResourceURL()},
	}
	change(form, changes)
	return form
}

// login goes all the way to tokens.
func (c *hand) login(changes url.Values) reply {
	c.t.Helper()
	code := c.authorize(changes).Get("code")
	out := c.do(c.tokenRequest(c.codeForm(code, nil)))
	if out.status != http.StatusOK {
		c.t.Fatalf("token: %d: %s", out.status, out.raw)
	}
	return out
}

// refresh sends a refresh token, with parameters changed.
func (c *hand) refresh(token string, changes url.Values) reply {
	c.t.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "resource": {c.server.ResourceURL()}}
	change(form, changes)
	return c.do(c.tokenRequest(form))
}

// call sends a JSON-RPC request to the MCP server; an empty token is none.
func (c *hand) call(token, method, params string) reply {
	c.t.Helper()
	if params == "" {
		params = "{}"
	}
	body := bytes.NewBufferString(`{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":` + params + `}`)
	r := c.request(http.MethodPost, c.server.MCPURL(), body.String())
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return c.do(r)
}

// works reports whether the MCP server takes an access token.
func (c *hand) works(token string) bool {
	c.t.Helper()
	return c.call(token, "ping", "").status == http.StatusOK
}
