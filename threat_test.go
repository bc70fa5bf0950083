package handstamp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

// evil is a server that nobody should talk to. It is a capable one: whatever it
// is asked for, it answers with what would take the login over.
type evil struct {
	*httptest.Server
	t testing.TB

	mu    sync.Mutex
	heard []string // guarded by mu
}

func newEvil(t testing.TB, victim *lab.Server) *evil {
	t.Helper()
	e := &evil{t: t}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := httputil.DumpRequest(r, true)
		if err != nil {
			raw = []byte(err.Error())
		}
		e.mu.Lock()
		e.heard = append(e.heard, string(raw))
		e.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{
			"resource": victim.ResourceURL(), "authorization_servers": []string{victim.Issuer()},
			"issuer": victim.Issuer(), "authorization_endpoint": e.URL + "/authorize", "token_endpoint": e.URL + "/token",
			"registration_endpoint": e.URL + "/register", "revocation_endpoint": e.URL + "/revoke",
			"code_challenge_methods_supported": []string{"S256"},
			"client_id":                        "evil-client", "client_secret": "evil-secret",
			"access_token": "evil-token", "token_type": "Bearer", "refresh_token": "evil-refresh", "expires_in": 3600,
			"jsonrpc": "2.0", "id": 1, "result": map[string]any{},
		})
	}))
	t.Cleanup(e.Close)
	return e
}

// host is the evil server's host and port.
func (e *evil) host() string { return e.Listener.Addr().String() }

// requests returns what was heard, raw.
func (e *evil) requests() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.heard...)
}

// wantSilence fails the test if anything was heard.
func (e *evil) wantSilence() {
	e.t.Helper()
	for _, r := range e.requests() {
		e.t.Errorf("the evil server was sent\n%s", r)
	}
}

// wire carries a Client's requests, keeps what was sent, and lets a test twist
// the answers. It stands for the server: what it changes, the server said.
type wire struct {
	mu     sync.Mutex
	sent   []sent                                // guarded by mu
	twists []func(*http.Request, *http.Response) // guarded by mu
}

// sent is a request as it left.
type sent struct {
	host, path string
	raw        string // with its body
	form       url.Values
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		body, err = io.ReadAll(req.Body)
		req.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	out := req.Clone(req.Context())
	out.Body = io.NopCloser(bytes.NewReader(body))
	raw, err := httputil.DumpRequest(out, false)
	if err != nil {
		return nil, err
	}
	form, _ := url.ParseQuery(string(body)) // JSON is no form, and has none
	w.mu.Lock()
	w.sent = append(w.sent, sent{host: req.URL.Host, path: req.URL.Path, raw: string(raw) + string(body), form: form})
	twists := w.twists
	w.mu.Unlock()
	resp, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	for _, twist := range twists {
		twist(req, resp)
	}
	return resp, nil
}

// requests returns what was sent, beginning with number from.
func (w *wire) requests(from int) []sent {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]sent(nil), w.sent[from:]...)
}

// onAnswer adds a twist of answers.
func (w *wire) onAnswer(twist func(*http.Request, *http.Response)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.twists = append(w.twists[:len(w.twists):len(w.twists)], twist)
}

// onJSON adds a twist of the JSON objects answered at paths that contain part.
func (w *wire) onJSON(part string, change func(document map[string]any)) {
	w.onAnswer(func(req *http.Request, resp *http.Response) {
		if !strings.Contains(req.URL.Path, part) {
			return
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		document := make(map[string]any)
		if err == nil && json.Unmarshal(body, &document) == nil {
			change(document)
			body, _ = json.Marshal(document)
		}
		setBody(resp, body)
	})
}

// setBody replaces the body of an answer.
func setBody(resp *http.Response, body []byte) {
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
}

// Paths that tell the documents apart.
const (
	atMCP      = "/mcp"
	atResource = "/.well-known/oauth-protected-resource"
	atServer   = "/.well-known/oauth-authorization-server"
	atRegister = "/register"
	atToken    = "/token"
	atRevoke   = "/revoke"
)

// wired returns a session whose requests go over a wire. Its person consents to
// everything at once.
func (w *world) wired() (*handstamp.Client, *wire) {
	line := new(wire)
	c := w.session()
	c.BaseTransport, c.AuthTransport = line, line
	c.Prompt = handstamp.Prompt{Authorize: w.consent}
	return c, line
}

// consent is a person who says yes, and an application that receives the
// callback.
func (w *world) consent(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
	w.tabs.Add(1)
	return lab.Consent(ctx, r.URL)
}

// login signs in explicitly.
func (w *world) login(c *handstamp.Client) error {
	_, err := c.Login(w.t.Context(), w.lab.MCPURL(), handstamp.LoginOptions{Force: true})
	return err
}

// mustLogin fails the test unless the login works.
func (w *world) mustLogin(c *handstamp.Client) {
	w.t.Helper()
	if err := w.login(c); err != nil {
		w.t.Fatalf("login: %v\n%s", err, w.diary())
	}
}

// wantKind checks the kind of an error.
func wantKind(t testing.TB, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("error %v, want kind %v", err, kind)
	}
}

// wantNoCredentials checks that nothing was registered, redeemed or stored.
func (w *world) wantNoCredentials() {
	w.t.Helper()
	w.wantCounts(map[string]int{"token:code": 0, "token:refresh": 0})
	status, err := w.session().Status(w.t.Context(), w.lab.MCPURL())
	if err != nil || status.State != handstamp.StateNone {
		w.t.Errorf("status %+v, %v, want none", status, err)
	}
}

// consented is an application whose user consents at once, at any authorization server.
func consented(_ context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, err
	}
	return url.Values{"code": {"a-code"}, "state": {u.Query().Get("state")}}, nil
}
