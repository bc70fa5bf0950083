package bridge_test

import (
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/handstamp/handstamp/bridge"
)

var redirectStatuses = []int{301, 302, 303, 307, 308}

// mover is an MCP server that redirects what comes to /mcp, while location is set, and serves
// everywhere else.
type mover struct {
	sessions
	mu       sync.Mutex
	status   int
	location func(r *http.Request) (to string, ok bool)
	came     []string // "METHOD path"
	headers  http.Header
}

func (m *mover) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	m.came = append(m.came, r.Method+" "+r.URL.RequestURI())
	m.headers = r.Header
	status, location := m.status, m.location
	m.mu.Unlock()
	if location != nil {
		if to, ok := location(r); ok {
			http.SetCookie(w, &http.Cookie{Name: "hop", Value: "1", Path: "/"})
			w.Header()["Location"] = []string{to}
			w.WriteHeader(status)
			return
		}
	}
	m.sessions.ServeHTTP(w, r)
}

// redirect has the server redirect requests for /mcp from now on, and forgets what came.
func (m *mover) redirect(status int, to string) {
	m.redirectAll(status, func(r *http.Request) (string, bool) { return to, r.URL.Path == "/mcp" && r.URL.RawQuery == "" })
}

func (m *mover) redirectAll(status int, location func(r *http.Request) (string, bool)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status, m.location, m.came = status, location, nil
}

func (m *mover) requests() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.came)
}

// stranger is a server that nothing may be sent to.
func otherServer(t *testing.T) (*httptest.Server, *atomic.Int32) {
	t.Helper()
	hits := new(atomic.Int32)
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			hits.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s, hits
}

const secretHeader = "correct-horse-battery"

// movers starts a server and a bridge to it that carries secrets. The session has begun.
func movers(t *testing.T) (*mover, *host, string) {
	t.Helper()
	m := &mover{}
	address := strings.Replace(serve(t, m.ServeHTTP), "127.0.0.1", "localhost", 1)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, bridge.Options{
		URL: address, Logger: logger(t), HTTP: &http.Client{Jar: jar},
		Header: http.Header{"X-Api-Key": {secretHeader}, "Authorization": {"Bearer " + secretHeader}},
	})
	h.hello()
	h.send(`{"jsonrpc":"2.0","id":"warm","method":"tools/list"}`)
	h.response(`"warm"`)
	return m, h, address
}

var redirectSerial atomic.Int64

// calls makes a call and returns the response.
func (h *host) calls() string {
	h.t.Helper()
	id := strconv.FormatInt(redirectSerial.Add(1)+1000, 10)
	h.send(`{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"name":"x"}}`)
	return h.response(id)
}

func TestRedirectOnTheOriginKeepsTheMessage(t *testing.T) {
	for _, status := range redirectStatuses {
		for _, to := range []string{
			"/moved", "moved", "./moved", "//HOST/moved", "http://HOST/moved", "HTTP://LOCALHOST:PORT/moved",
			"/moved#fragment", "/a/../moved",
		} {
			m, h, address := movers(t)
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			to = strings.NewReplacer("LOCALHOST:PORT", strings.ToUpper(u.Host), "HOST", u.Host).Replace(to)
			m.redirect(status, to)
			got := h.calls()
			came := m.requests()
			if status == http.StatusSeeOther {
				if get(t, got, "error", "code") != strconv.Itoa(bridge.CodeProtocol) || !strings.Contains(got, "/moved") || len(came) != 1 {
					t.Errorf("%d %s: got %s after %q", status, to, got, came)
				}
				continue
			}
			if get(t, got, "error") != "" || !slices.Equal(came, []string{"POST /mcp", "POST /moved"}) {
				t.Errorf("%d %s: got %s after %q", status, to, got, came)
			}
			if last := m.last("tools/call"); !strings.Contains(last.body, `"name":"x"`) || last.header.Get("X-Api-Key") != secretHeader ||
				last.header.Get("Authorization") != "Bearer "+secretHeader || last.header.Get("Mcp-Session-Id") == "" ||
				last.header.Get("Cookie") != "hop=1" || last.header.Get("Content-Type") != "application/json" {
				t.Errorf("%d %s: it came with %v and %s", status, to, last.header, last.body)
			}
		}
	}
}

func TestRedirectToAnotherOriginIsAnError(t *testing.T) {
	m, h, address := movers(t)
	other, hits := otherServer(t)
	u, _ := url.Parse(address)
	otherPort := other.URL[strings.LastIndexByte(other.URL, ':')+1:]
	for _, status := range redirectStatuses {
		for _, test := range []struct{ to, named string }{
			{other.URL + "/v2/mcp?token=in-the-query", other.URL + "/v2/mcp"},
			{"http://localhost:" + otherPort + "/mcp", "http://localhost:" + otherPort + "/mcp"},
			{"//" + other.Listener.Addr().String() + "/mcp", other.URL + "/mcp"},
			{"https://" + u.Host + "/mcp", "https://" + u.Host + "/mcp"},
			{"http://127.0.0.1:" + u.Port() + "/mcp", "http://127.0.0.1:" + u.Port() + "/mcp"},
			{"http://[::1]:" + u.Port() + "/mcp", "http://[::1]:" + u.Port() + "/mcp"},
			{"http://localhost/mcp", "http://localhost/mcp"},
			{"http://localhost.evil.example:" + u.Port() + "/mcp", "localhost.evil.example"},
			{other.URL + "/" + secretHeader, other.URL},
			{other.URL + "/%63orrect-horse-battery/x", other.URL},
			{"http://" + secretHeader + ".evil.example/mcp", "a secret"},
			{"http://user:password-1@" + u.Host + "/elsewhere", "user name"},
			{"http://" + u.Host + "@" + other.Listener.Addr().String() + "/mcp", other.URL},
			{"javascript:alert(1)", "another origin"},
			{"http:" + other.Listener.Addr().String(), "another origin"},
			{"file:///etc/passwd", "another origin"},
			{"http://[::1/mcp", "not a URL"},
			{"%zz", "not a URL"},
			{"", "where"},
		} {
			m.redirect(status, test.to)
			got := h.calls()
			message := get(t, got, "error", "message")
			if get(t, got, "error", "code") != strconv.Itoa(bridge.CodeProtocol) || get(t, got, "error", "data", "retryable") != "" {
				t.Errorf("%d to %s: %s", status, test.to, got)
			}
			if !strings.Contains(message, test.named) {
				t.Errorf("%d to %s: %s does not name %s", status, test.to, message, test.named)
			}
			for _, secret := range []string{secretHeader, "in-the-query", "password-1", "may or may not", "orrect-horse"} {
				if strings.Contains(got, secret) {
					t.Errorf("%d to %s: %s", status, test.to, got)
				}
			}
			if came := m.requests(); len(came) != 1 {
				t.Errorf("%d to %s: %q", status, test.to, came)
			}
		}
	}
	m.redirectAll(0, nil)
	if got := h.calls(); get(t, got, "error") != "" {
		t.Errorf("the next call: %s", got)
	}
	if n := hits.Load(); n > 0 {
		t.Errorf("%d connections to another origin", n)
	}
}

// TestRedirectWithTheDefaultPortOfTheScheme has no network: the names are made up.
func TestRedirectWithTheDefaultPortOfTheScheme(t *testing.T) {
	for _, test := range []struct {
		server, to string
		followed   bool
	}{
		{"https://mcp.example/mcp", "https://mcp.example:443/moved", true},
		{"https://mcp.example:443/mcp", "HTTPS://MCP.example/moved", true},
		{"http://mcp.example/mcp", "http://mcp.example:80/moved", true},
		{"https://[2001:db8::1]/mcp", "https://[2001:DB8::1]:443/moved", true},
		{"https://mcp.example/mcp", "https://mcp.example:/moved", true},
		{"https://mcp.example/mcp", "http://mcp.example:443/moved", false},
		{"https://mcp.example/mcp", "http://mcp.example/moved", false},
		{"http://mcp.example/mcp", "https://mcp.example/moved", false},
		{"https://mcp.example/mcp", "https://mcp.example:80/moved", false},
		{"https://mcp.example:8443/mcp", "https://mcp.example/moved", false},
		{"https://mcp.example/mcp", "https://mcp.example.evil.example/moved", false},
		{"https://mcp.example/mcp", "https://www.mcp.example/moved", false},
	} {
		var mu sync.Mutex
		var came []string
		rt := roundTrip(func(req *http.Request) (*http.Response, error) {
			mu.Lock()
			came = append(came, req.URL.Path)
			mu.Unlock()
			w := httptest.NewRecorder()
			if req.URL.Path == "/moved" {
				result(w, readRequest(req).id, initialized)
			} else {
				w.Header().Set("Location", test.to)
				w.WriteHeader(http.StatusPermanentRedirect)
			}
			return w.Result(), nil
		})
		h := start(t, bridge.Options{URL: test.server, HTTP: &http.Client{Transport: rt}, Wire: bridge.WireHTTP})
		h.send(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`)
		got := h.response("1")
		if followed := get(t, got, "error") == ""; followed != test.followed {
			t.Errorf("%s to %s: %s", test.server, test.to, got)
		}
		mu.Lock()
		if !test.followed && slices.Contains(came, "/moved") {
			t.Errorf("%s to %s: followed", test.server, test.to)
		}
		mu.Unlock()
	}
}

type roundTrip func(req *http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestRedirectLoopSaysThatNothingWasCarriedOut(t *testing.T) {
	chain := func(hops int) func(r *http.Request) (string, bool) {
		return func(r *http.Request) (string, bool) {
			n, _ := strconv.Atoi(r.URL.Query().Get("n"))
			return "/mcp?n=" + strconv.Itoa(n+1), n < hops
		}
	}
	for name, test := range map[string]struct {
		location func(r *http.Request) (string, bool)
		want     string // in the message; empty: a result
		most     int    // requests
	}{
		"to itself":      {func(*http.Request) (string, bool) { return "/mcp", true }, "in a loop", 1},
		"with fragments": {func(*http.Request) (string, bool) { return "/mcp#again", true }, "in a loop", 1},
		"of two": {func(r *http.Request) (string, bool) {
			return map[string]string{"/mcp": "/b", "/b": "/mcp"}[r.URL.Path], true
		}, "in a loop", 2},
		"over five hops": {chain(5), "", 6},
		"over six hops":  {chain(6), "more than 5 times", 6},
		"without an end": {chain(1 << 30), "more than 5 times", 6},
		"by slash": {func(r *http.Request) (string, bool) {
			if strings.HasSuffix(r.URL.Path, "/") {
				return strings.TrimSuffix(r.URL.Path, "/"), true
			}
			return r.URL.Path + "/", true
		}, "in a loop", 2},
	} {
		for _, status := range []int{301, 302, 307, 308} {
			m, h, _ := movers(t)
			m.redirectAll(status, test.location)
			got := h.calls()
			if test.want == "" {
				if get(t, got, "error") != "" {
					t.Errorf("%s, %d: %s", name, status, got)
				}
				continue
			}
			if get(t, got, "error", "code") != strconv.Itoa(bridge.CodeProtocol) || !strings.Contains(got, test.want) ||
				!strings.Contains(got, "nothing was carried out") || strings.Contains(got, "may have been") {
				t.Errorf("%s, %d: %s", name, status, got)
			}
			if n := len(m.requests()); n > test.most {
				t.Errorf("%s, %d: %d requests", name, status, n)
			}
		}
	}
}

// A stream, the end of a session and the endpoint of HTTP+SSE are redirected like a message.
func TestRedirectOfAStream(t *testing.T) {
	other, hits := otherServer(t)
	for _, test := range []struct {
		status int
		to     string
		opens  bool
	}{
		{301, "/moved", true}, {303, "/moved", true}, {307, "/moved", true},
		{307, other.URL + "/mcp", false}, {302, other.URL + "/mcp", false},
	} {
		m := &mover{sessions: sessions{stream: make(chan string)}}
		address := serve(t, m.ServeHTTP)
		m.redirectAll(test.status, func(r *http.Request) (string, bool) {
			return test.to, r.Method == http.MethodGet && r.URL.Path == "/mcp"
		})
		h := start(t, bridge.Options{URL: address, Logger: logger(t), Header: http.Header{"X-Api-Key": {secretHeader}}})
		h.hello()
		if test.opens {
			m.stream <- "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n"
			h.note("notifications/tools/list_changed")
		}
		if got := h.calls(); get(t, got, "error") != "" {
			t.Errorf("%d to %s: %s", test.status, test.to, got)
		}
	}
	if n := hits.Load(); n > 0 {
		t.Errorf("%d connections to another origin", n)
	}
}

func TestRedirectOfTheEndOfASession(t *testing.T) {
	for _, test := range []struct {
		status int
		to     string
		want   []string
	}{
		{307, "/moved", []string{"DELETE /mcp", "DELETE /moved"}},
		{301, "/moved", []string{"DELETE /mcp", "DELETE /moved"}},
		{303, "/moved", []string{"DELETE /mcp"}},
		{308, "http://other.test/moved", []string{"DELETE /mcp"}}, // all names lead to the same server
	} {
		inMemory(t, func(t *testing.T) {
			m := &mover{}
			o := bubbleServer(t, m.ServeHTTP)
			o.Header = http.Header{"X-Api-Key": {secretHeader}}
			h := start(t, o)
			h.hello()
			h.calls()
			m.redirect(test.status, test.to)
			if err := h.end(); err != nil {
				t.Error(err)
			}
			if came := m.requests(); !slices.Equal(came, test.want) {
				t.Errorf("%d to %s: %q, want %q", test.status, test.to, came, test.want)
			}
		})
	}
}

func TestRedirectOfTheEndpointOfHTTPSSE(t *testing.T) {
	other, hits := otherServer(t)
	for _, test := range []struct {
		status int
		to     string
		fails  bool
	}{
		{307, "/elsewhere", false}, {308, "/elsewhere", false}, {302, "/elsewhere", false},
		{303, "/elsewhere", true}, {307, other.URL + "/messages", true},
	} {
		var redirecting atomic.Bool
		server := &sseServer{endpoint: "/messages", post: func(w http.ResponseWriter, r *http.Request, _ request) bool {
			if r.URL.Path != "/messages" || !redirecting.Load() {
				return false
			}
			w.Header().Set("Location", test.to)
			w.WriteHeader(test.status)
			return true
		}}
		h := start(t, bridge.Options{URL: serve(t, server.ServeHTTP), Wire: bridge.WireSSE, Logger: logger(t), Header: http.Header{"X-Api-Key": {secretHeader}}})
		h.hello()
		if got := h.calls(); get(t, got, "error") != "" {
			t.Fatal(got)
		}
		redirecting.Store(true)
		got := h.calls()
		if failed := get(t, got, "error") != ""; failed != test.fails {
			t.Errorf("%d to %s: %s", test.status, test.to, got)
		}
		if test.fails && get(t, got, "error", "code") != strconv.Itoa(bridge.CodeProtocol) {
			t.Errorf("%d to %s: %s", test.status, test.to, got)
		}
	}
	if n := hits.Load(); n > 0 {
		t.Errorf("%d connections to another origin", n)
	}
}

// An http.Client whose own policy follows everything changes nothing.
func TestRedirectUnderAClientThatFollowsEverything(t *testing.T) {
	other, hits := otherServer(t)
	m := &mover{}
	own := &http.Client{Transport: http.DefaultTransport, CheckRedirect: func(*http.Request, []*http.Request) error { return nil }}
	h := start(t, bridge.Options{URL: serve(t, m.ServeHTTP), HTTP: own, Header: http.Header{"X-Api-Key": {secretHeader}}})
	h.hello()
	m.redirect(307, other.URL+"/mcp")
	if got := h.calls(); !strings.Contains(got, other.URL+"/mcp") || !strings.Contains(got, "configure") {
		t.Errorf("got %s", got)
	}
	m.redirect(302, "/moved")
	if got := h.calls(); get(t, got, "error") != "" {
		t.Errorf("got %s", got)
	}
	if n := hits.Load(); n > 0 {
		t.Errorf("%d connections to another origin", n)
	}
	if own.CheckRedirect(nil, nil) != nil {
		t.Error("the caller's client was changed")
	}
}
