package handstamp_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// moved is an MCP server that redirects each request to location, and keeps what it was sent.
type moved struct {
	*httptest.Server
	mu       sync.Mutex
	location string   // guarded by mu
	status   int      // guarded by mu
	requests []string // guarded by mu: "METHOD path content-type body"
}

// newMoved starts the server. It redirects what comes to /mcp and responds to everything else.
func newMoved(t *testing.T, secure bool) *moved {
	t.Helper()
	m := new(moved)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.requests = append(m.requests, fmt.Sprintf("%s %s %s %s", r.Method, r.URL.Path, r.Header.Get("Content-Type"), body))
		if r.URL.Path == "/mcp" {
			w.Header().Set("Location", m.location)
			w.WriteHeader(m.status)
			return
		}
		w.Write([]byte("here"))
	})
	if secure {
		m.Server = httptest.NewTLSServer(handler)
	} else {
		m.Server = httptest.NewServer(handler)
	}
	t.Cleanup(m.Close)
	return m
}

// set sets where the server redirects to and forgets the requests.
func (m *moved) set(status int, location string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status, m.location, m.requests = status, location, nil
}

func (m *moved) sent() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.requests...)
}

// secretRequest is a request with all the secrets that a caller may put on one.
func secretRequest(t *testing.T, target string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, target, strings.NewReader(`{"jsonrpc":"2.0"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer of-the-caller")
	req.Header.Set("X-Api-Key", "a-key-of-the-caller")
	req.Header.Set("Cookie", "session=of-the-caller")
	req.Header.Set("Content-Type", "application/json")
	return req
}

// otherOrigins are places that a server at origin must not redirect to.
func otherOrigins(origin string, e *testenv.Attacker) []string {
	u, _ := url.Parse(origin)
	other := map[string]string{"https": "http", "http": "https"}[u.Scheme]
	_, port, _ := strings.Cut(e.Host(), ":")
	return []string{
		e.URL + "/mcp?token=in-the-query",
		"//" + e.Host() + "/mcp?token=in-the-query",
		"http://localhost:" + port + "/mcp?token=in-the-query",
		other + "://" + u.Host + "/mcp?token=in-the-query",
		u.Scheme + "://user:password@" + u.Host + "/elsewhere?token=in-the-query",
		u.Scheme + "://" + u.Hostname() + "/mcp?token=in-the-query", // the default port
		"javascript:alert(1)", "file:///etc/passwd?token=in-the-query", "http://[::1?token=in-the-query",
	}
}

func TestRedirectToAnotherOriginGetsNothing(t *testing.T) {
	for _, secure := range []bool{false, true} {
		m := newMoved(t, secure)
		e := testenv.NewAttacker(t, testenv.New(t, lab.Habits{}).Lab)
		for _, status := range testenv.Redirects {
			for _, location := range otherOrigins(m.URL, e) {
				t.Run(fmt.Sprint(secure, " ", status, " ", location), func(t *testing.T) {
					m.set(status, location)
					c := &handstamp.Client{BaseTransport: m.Client().Transport, LoginPolicy: handstamp.LoginNever}
					resp, err := c.HTTPClient(m.URL + "/mcp").Do(secretRequest(t, m.URL+"/mcp"))
					if err == nil {
						resp.Body.Close()
						t.Fatalf("status %d, want an error", resp.StatusCode)
					}
					testenv.WantKind(t, err, handstamp.ErrProtocol)
					var known *handstamp.Error
					if !errors.As(err, &known) || !strings.Contains(known.Error(), m.URL) {
						t.Errorf("the error does not name the server: %v", err)
					}
					if strings.Contains(err.Error(), "in-the-query") || strings.Contains(err.Error(), "password") {
						t.Errorf("the error repeats what the server put into the URL: %v", err)
					}
					if sent := m.sent(); len(sent) != 1 {
						t.Errorf("sent %q, want one request", sent)
					}
				})
			}
		}
		e.WantSilence()
	}
}

// A program's own http.Client around the Transport knows no policy, and must not take the
// headers elsewhere either.
func TestRedirectUnderTheCallersOwnClient(t *testing.T) {
	m := newMoved(t, false)
	e := testenv.NewAttacker(t, testenv.New(t, lab.Habits{}).Lab)
	for _, status := range testenv.Redirects {
		for _, location := range otherOrigins(m.URL, e)[:3] {
			m.set(status, location)
			c := &handstamp.Client{LoginPolicy: handstamp.LoginNever}
			own := &http.Client{Transport: c.Transport(m.URL + "/mcp")}
			_, err := own.Do(secretRequest(t, m.URL+"/mcp"))
			testenv.WantKind(t, err, handstamp.ErrProtocol)
			own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			resp, err := own.Do(secretRequest(t, m.URL+"/mcp"))
			if err != nil {
				t.Fatalf("a client that follows nothing got no response: %v", err)
			}
			resp.Body.Close()
			if resp.StatusCode != status {
				t.Errorf("status %d, want %d", resp.StatusCode, status)
			}
		}
	}
	e.WantSilence()

	// What has nothing to do with the server is the caller's.
	e.Config.Handler = http.RedirectHandler(m.URL+"/other", http.StatusFound)
	c := &handstamp.Client{LoginPolicy: handstamp.LoginNever}
	own := &http.Client{Transport: c.Transport("https://mcp.example/mcp")}
	resp, err := own.Get(e.URL)
	if err != nil {
		t.Fatal(err)
	}
	if got := testenv.Body(t, resp); got != "here" {
		t.Errorf("got %q", got)
	}
}

// A server that wants a slash at the end wants the message too.
func TestRedirectOnTheSameOriginKeepsTheMessage(t *testing.T) {
	m := newMoved(t, false)
	c := &handstamp.Client{LoginPolicy: handstamp.LoginNever}
	u, err := url.Parse(m.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, location := range []string{"/mcp/", m.URL + "/mcp/", "//" + u.Host + "/mcp/", "mcp/", "HTTP://" + u.Host + "/mcp/?a=b"} {
		for status, want := range map[int]string{
			301: "POST /mcp/ application/json {}", 302: "POST /mcp/ application/json {}", 303: "GET /mcp/  ",
			307: "POST /mcp/ application/json {}", 308: "POST /mcp/ application/json {}",
		} {
			m.set(status, location)
			resp, err := c.HTTPClient(m.URL+"/mcp").Post(m.URL+"/mcp", "application/json", strings.NewReader("{}"))
			if err != nil {
				t.Fatalf("%d %s: %v", status, location, err)
			}
			if got := testenv.Body(t, resp); got != "here" || len(m.sent()) != 2 || m.sent()[1] != want {
				t.Errorf("%d %s: got %q after %q, want %q", status, location, got, m.sent(), want)
			}
		}
	}
	for status, want := range map[int]string{301: "DELETE /mcp/  ", 302: "DELETE /mcp/  ", 308: "DELETE /mcp/  "} {
		m.set(status, "/mcp/")
		req, err := http.NewRequest(http.MethodDelete, m.URL+"/mcp", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.HTTPClient(m.URL + "/mcp").Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if len(m.sent()) != 2 || m.sent()[1] != want {
			t.Errorf("%d: sent %q, want %q", status, m.sent(), want)
		}
	}
	// A body that cannot be sent again is not left out: the redirect is the response.
	m.set(302, "/mcp/")
	resp, err := c.HTTPClient(m.URL+"/mcp").Post(m.URL+"/mcp", "application/json", io.MultiReader(bytes.NewReader([]byte("{}"))))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 302 || len(m.sent()) != 1 {
		t.Errorf("status %d after %q", resp.StatusCode, m.sent())
	}
}

func TestRedirectsAreBounded(t *testing.T) {
	m := newMoved(t, false)
	for _, status := range testenv.Redirects {
		m.set(status, "/mcp")
		c := &handstamp.Client{LoginPolicy: handstamp.LoginNever}
		_, err := c.HTTPClient(m.URL+"/mcp").Post(m.URL+"/mcp", "application/json", strings.NewReader("{}"))
		testenv.WantKind(t, err, handstamp.ErrProtocol)
		if n := len(m.sent()); n > 6 {
			t.Errorf("%d requests", n)
		}
	}
}

// The ports that a scheme has anyway make no other origin of it.
func TestRedirectWithTheDefaultPort(t *testing.T) {
	for _, test := range []struct {
		server, location string
		followed         bool
	}{
		{"https://mcp.example/mcp", "https://mcp.example:443/mcp/", true},
		{"https://mcp.example:443/mcp", "https://MCP.example/mcp/", true},
		{"http://mcp.example/mcp", "http://mcp.example:80/mcp/", true},
		{"https://mcp.example/mcp", "https://mcp.example:80/mcp/", false},
		{"http://mcp.example/mcp", "https://mcp.example:80/mcp/", false},
		{"http://mcp.example:443/mcp", "https://mcp.example/mcp/", false},
		{"https://mcp.example:8443/mcp", "https://mcp.example/mcp/", false},
	} {
		c, base := signedIn(t, test.server)
		c.BaseTransport = redirectOnce{base, test.location}
		resp, err := c.HTTPClient(test.server).Post(test.server, "application/json", strings.NewReader("{}"))
		if err == nil {
			resp.Body.Close()
		}
		if followed := base.req != nil; followed != test.followed || followed != (err == nil) {
			t.Errorf("%s to %s: followed %t, %v", test.server, test.location, followed, err)
		}
		base.req = nil
		own := &http.Client{Transport: c.Transport(test.server)}
		if _, err := own.Post(test.server, "application/json", strings.NewReader("{}")); (base.req != nil) != test.followed {
			t.Errorf("%s to %s, the caller's client: followed %t, %v", test.server, test.location, base.req != nil, err)
		}
		if base.req != nil && base.req.Header.Get("Authorization") == "" {
			t.Errorf("%s to %s: the token was left out", test.server, test.location)
		}
	}
}

// redirectOnce responds to requests without a Referer with a redirect.
type redirectOnce struct {
	http.RoundTripper
	location string
}

func (r redirectOnce) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Response != nil {
		return r.RoundTripper.RoundTrip(req)
	}
	if req.Body != nil {
		req.Body.Close()
	}
	return &http.Response{
		StatusCode: http.StatusPermanentRedirect, Header: http.Header{"Location": {r.location}}, Body: http.NoBody, // no Request, as some leave it
	}, nil
}

// login finds the server where its requests will find it, or nowhere.
func TestLoginFollowsTheRedirectsOfTraffic(t *testing.T) {
	for _, status := range []int{301, 302, 307, 308} {
		w := testenv.New(t, lab.Habits{ResourceForm: lab.ResourceHeader})
		w.Lab.SetFault("mcp", lab.Fault{Kind: lab.FaultRedirect, Status: status, Location: "/mcp?moved=1", Times: 1})
		c, _ := w.Recorded()
		w.MustLogin(c)

		e := testenv.NewAttacker(t, w.Lab)
		w.Lab.SetFault("mcp", lab.Fault{Kind: lab.FaultRedirect, Status: status, Location: e.URL + "/mcp?x"})
		c, _ = w.Recorded()
		err := w.Login(c)
		testenv.WantKind(t, err, handstamp.ErrProtocol)
		if err == nil || !strings.Contains(err.Error(), e.URL) || strings.Contains(err.Error(), "?x") {
			t.Errorf("error %v", err)
		}
		e.WantSilence()
	}
}

// A server behind a proxy that ends TLS redirects to http: the hint names the URL to use.
func TestRedirectToHTTPBehindAProxy(t *testing.T) {
	m := newMoved(t, true)
	c := &handstamp.Client{BaseTransport: m.Client().Transport, LoginPolicy: handstamp.LoginNever}
	for path, want := range map[string]string{"/mcp/": "try " + m.URL + "/mcp/", "/a-token": "if the server has moved, use its new URL"} {
		m.set(307, strings.Replace(m.URL, "https", "http", 1)+path)
		_, err := c.HTTPClient(m.URL+"/mcp").Post(m.URL+"/mcp", "application/json", strings.NewReader("{}"))
		if e, ok := errtype.As[*handstamp.Error](err); !ok || e.Hint != want {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A server that has moved on its origin, and describes itself as where it is now, is found by a
// login and by a request alike.
func TestServerThatHasMovedOnItsOrigin(t *testing.T) {
	for _, form := range []string{"", lab.ResourcePath} { // named in the challenge, or not
		for _, explicit := range []bool{true, false} {
			w := testenv.New(t, lab.Habits{MCPPath: "/v2/mcp", ResourceForm: form, Resource: lab.ResourceRequired})
			w.Lab.SetFault("other", lab.Fault{Kind: lab.FaultRedirect, Status: 307, Location: "/v2/mcp"})
			old := strings.Replace(w.Lab.MCPURL(), "/v2/mcp", "/mcp", 1)
			c, _ := w.Recorded()
			if explicit {
				if _, err := c.Login(t.Context(), old, handstamp.LoginOptions{}); err != nil {
					t.Errorf("login: %v\n%s", err, w.Diary())
					continue
				}
			}
			if err := testenv.Call(t.Context(), c.HTTPClient(old), old); err != nil {
				t.Errorf("call: %v\n%s", err, w.Diary())
			}
			w.WantTabs(1)
			w.Lab.RevokeAccessTokens()
			c, _ = w.Recorded()
			if err := testenv.Call(t.Context(), c.HTTPClient(old), old); err != nil {
				t.Errorf("second session: %v\n%s", err, w.Diary())
			}
			w.WantTabs(1)
		}
	}
}
