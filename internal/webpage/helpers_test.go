package webpage

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeBackend has two servers; "one" is signed in.
type fakeBackend struct {
	mu       sync.Mutex
	servers  []Server
	calls    []string
	upstream string
	life     context.Context
	end      context.CancelFunc
	client   *http.Client
}

func (b *fakeBackend) Servers(context.Context) ([]Server, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Server(nil), b.servers...), nil
}

func (b *fakeBackend) did(call string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, call)
}

func (b *fakeBackend) called() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.calls, " ")
}

func (b *fakeBackend) Login(name string) error { b.did("login:" + name); return nil }
func (b *fakeBackend) Cancel(name string)      { b.did("cancel:" + name) }
func (b *fakeBackend) Logout(_ context.Context, name string) error {
	b.did("logout:" + name)
	return nil
}

func (b *fakeBackend) Bearer(name string) string {
	return map[string]string{"one": "bearer-of-one", "two": "bearer-of-two"}[name]
}

func (b *fakeBackend) Upstream(name string) (*Upstream, error) {
	if name != "one" {
		return nil, errors.New("not signed in to " + name)
	}
	return &Upstream{URL: b.upstream, Header: http.Header{"X-Tenant": {"7"}}, Client: b.client, Life: b.life}, nil
}

func (b *fakeBackend) Explain(string, error) (int, string) {
	return http.StatusServiceUnavailable, "the server cannot be reached"
}

func (b *fakeBackend) Diagram(name string) (html []byte, policy string) {
	if name == "one" {
		return []byte("<!DOCTYPE html><title>a diagram</title>"), "default-src 'none'"
	}
	return nil, ""
}

const control = "control-secret"

// served is a page on a socket.
type served struct {
	*fakeBackend
	page *Page
	url  string // http://127.0.0.1:PORT
	host string
	c    *http.Client // with the cookies of a browser; it follows no redirect
}

// bearerTransport signs in as the library's transport does: only where there is no Authorization.
type bearerTransport struct{}

func (bearerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Authorization") == "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer upstream-token")
	}
	return http.DefaultTransport.RoundTrip(r)
}

// serve serves a page whose server "one" is behind handler.
func serve(t *testing.T, handler http.Handler) *served {
	t.Helper()
	if handler == nil {
		handler = http.NotFoundHandler()
	}
	up := httptest.NewServer(handler)
	t.Cleanup(up.Close)
	now := time.Now()
	b := &fakeBackend{upstream: up.URL + "/mcp?tenant=7", client: &http.Client{Transport: bearerTransport{}},
		servers: []Server{
			{Name: "one", Title: "one", URL: "https://one.example/mcp", Mark: Good, Headline: "Signed in",
				SignedIn: true, Stored: true, Obtained: now, Expires: now.Add(time.Hour), Life: "60 min left"},
			{Name: "two", Title: "<script>alert(2)</script>", URL: "https://two.example/mcp", Mark: None,
				Headline: "Not signed in", Pending: &Pending{URL: "javascript:alert(1)"}},
		}}
	b.life, b.end = context.WithCancel(context.Background())
	t.Cleanup(b.end)
	listener := httptest.NewUnstartedServer(nil)
	host := listener.Listener.Addr().String()
	page := New(Options{Backend: b, Host: host, Control: control, Proof: "proof"})
	page.poll = 10 * time.Millisecond
	listener.Config.Handler = page
	listener.Start()
	t.Cleanup(listener.Close)
	t.Cleanup(page.Close)
	s := &served{fakeBackend: b, page: page, url: "http://" + host, host: host}
	s.c = s.browser()
	return s
}

// browser returns a client without cookies.
func (s *served) browser() *http.Client {
	return &http.Client{Jar: new(jar), CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

// jar keeps all cookies.
type jar struct {
	mu      sync.Mutex
	cookies []*http.Cookie
}

func (j *jar) SetCookies(_ *url.URL, cookies []*http.Cookie) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.cookies = append(j.cookies, cookies...)
}

func (j *jar) Cookies(*url.URL) []*http.Cookie {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.cookies
}

// at returns the path of a part of the page.
func (s *served) at(path string) string {
	return strings.TrimSuffix(s.page.access.home, "/") + path
}

// enter opens the printed link.
func (s *served) enter(t *testing.T) {
	t.Helper()
	resp, _ := s.do(t, s.c, "GET", s.page.Link(false), "", nil)
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != s.at("/") {
		t.Fatalf("%d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
}

// do makes a request. A target that begins with a slash is on the page.
func (s *served) do(t *testing.T, c *http.Client, method, target, body string,
	header map[string]string,
) (*http.Response, string) {
	t.Helper()
	if strings.HasPrefix(target, "/") {
		target = s.url + target
	}
	r, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// form returns the headers of a form that the page posts.
func (s *served) form() map[string]string {
	return map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Origin": s.url}
}
