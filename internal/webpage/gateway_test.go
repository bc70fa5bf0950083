package webpage

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
)

// mcp returns the headers of an MCP host's message.
func mcpHeader(more ...string) map[string]string {
	h := map[string]string{"Authorization": "Bearer bearer-of-one", "Content-Type": "application/json",
		"Accept": "application/json, text/event-stream"}
	for i := 0; i < len(more); i += 2 {
		h[more[i]] = more[i+1]
	}
	return h
}

// TestMCPHostsNeedTheirBearer tries everything but the right token, and messages that a page could
// send without permission.
func TestMCPHostsNeedTheirBearer(t *testing.T) {
	reached := make(chan string, 100)
	s := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached <- r.Method }))
	s.enter(t)
	for _, c := range []struct {
		name, method, path string
		header             map[string]string
		status             int
	}{
		{"no token", "POST", "/mcp/one", mcpHeader("Authorization", ""), 401},
		{"another token", "POST", "/mcp/one", mcpHeader("Authorization", "Bearer x"), 401},
		{"another server's", "POST", "/mcp/one", mcpHeader("Authorization", "Bearer bearer-of-two"), 401},
		{"the page's own secret", "POST", "/mcp/one", mcpHeader("Authorization", "Bearer "+control), 401},
		{"Basic", "POST", "/mcp/one", mcpHeader("Authorization", "Basic bearer-of-one"), 401},
		{"longer", "POST", "/mcp/one", mcpHeader("Authorization", "Bearer bearer-of-one2"), 401},
		{"shorter", "POST", "/mcp/one", mcpHeader("Authorization", "Bearer bearer-of-on"), 401},
		{"in the address", "POST", "/mcp/one?access_token=bearer-of-one", mcpHeader("Authorization", ""), 401},
		{"an unknown server", "POST", "/mcp/three", mcpHeader(), 401},
		{"an unknown server, no token", "POST", "/mcp/three", mcpHeader("Authorization", "Bearer "), 401},
		{"no name", "POST", "/mcp/", mcpHeader("Authorization", "Bearer"), 401},
		{"dots", "POST", "/mcp/..", mcpHeader(), 401},
		{"dots in between", "POST", "/mcp/two/../one", mcpHeader(), 401},
		{"encoded dots", "POST", "/mcp/%2e%2e/one", mcpHeader(), 401},
		{"an encoded slash", "POST", "/mcp/one%2f..%2ftwo", mcpHeader(), 401},
		{"below it", "POST", "/mcp/one/admin", mcpHeader(), 401},
		{"a slash after it", "POST", "/mcp/one/", mcpHeader(), 401},
		{"an encoded letter", "POST", "/mcp/%6fne", mcpHeader(), 401},
		{"a null", "POST", "/mcp/one%00", mcpHeader(), 401},
		{"capitals", "POST", "/mcp/ONE", mcpHeader(), 401},
		{"text/plain", "POST", "/mcp/one", mcpHeader("Content-Type", "text/plain"), 415},
		{"text/plain that mentions JSON", "POST", "/mcp/one", mcpHeader("Content-Type", "text/plain; application/json"), 415},
		{"a form", "POST", "/mcp/one", mcpHeader("Content-Type", "application/x-www-form-urlencoded"), 415},
		{"no type", "POST", "/mcp/one", mcpHeader("Content-Type", ""), 415},
		{"a query", "POST", "/mcp/one?tenant=8", mcpHeader(), 400},
		{"PUT", "PUT", "/mcp/one", mcpHeader(), 405},
		{"a preflight", "OPTIONS", "/mcp/one", mcpHeader(), 405},
		{"another site's page", "POST", "/mcp/one", mcpHeader("Origin", "https://evil.example"), 403},
		{"a rebound name", "POST", "/mcp/one", mcpHeader("Host", "evil.example"), 403},
		{"not signed in", "POST", "/mcp/two", mcpHeader("Authorization", "Bearer bearer-of-two"), 503},
	} {
		resp, body := s.do(t, s.c, c.method, c.path, `{"jsonrpc":"2.0","id":1,"method":"ping"}`, c.header)
		if resp.StatusCode != c.status {
			t.Errorf("%s: %d, want %d: %s", c.name, resp.StatusCode, c.status, body)
		}
		if resp.StatusCode == 401 && resp.Header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s: WWW-Authenticate %q", c.name, resp.Header.Get("WWW-Authenticate"))
		}
	}
	if len(reached) > 0 {
		t.Errorf("%d requests have reached the server", len(reached))
	}
	for _, c := range []struct{ method, kind string }{
		{"POST", "application/json"}, {"POST", "Application/JSON; charset=utf-8"}, {"GET", ""}, {"DELETE", ""},
	} {
		resp, _ := s.do(t, s.browser(), c.method, "/mcp/one", "", mcpHeader("Content-Type", c.kind, "Authorization", "bearer bearer-of-one"))
		if resp.StatusCode != http.StatusOK || <-reached != c.method {
			t.Errorf("%v: %d", c, resp.StatusCode)
		}
	}
}

// TestWhatIsForwarded compares a message at the server with that of the MCP host, and the
// response at the MCP host with that of the server.
func TestWhatIsForwarded(t *testing.T) {
	const message = `{ "jsonrpc":"2.0", "id":1.0, "method":"tools/call" }`
	got := make(chan *http.Request, 1)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) != message {
			t.Errorf("the server got %q", body)
		}
		got <- r
		for name, value := range map[string]string{
			"Mcp-Session-Id": "s1", "Content-Type": "application/json", "Set-Cookie": "lb=1", "Retry-After": "7",
			"WWW-Authenticate": `Bearer resource_metadata="https://evil.example"`, "Clear-Site-Data": `"cookies"`,
			"Access-Control-Allow-Origin": "*", "Refresh": "0;url=https://evil.example", "Link": "<https://evil.example>",
			"Content-Security-Policy": "default-src *", "Location": "https://evil.example", "Server": "x",
		} {
			w.Header().Set(name, value)
		}
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `{"jsonrpc":"2.0","id":1.0,"result":{"a" : 1e2}}`)
	}))
	s.enter(t) // the browser's cookie goes along
	resp, body := s.do(t, s.c, "POST", "/mcp/one", message, mcpHeader("Mcp-Session-Id", "s1", "Mcp-Protocol-Version", "2025-11-25",
		"Last-Event-Id", "7", "Mcp-Param-Region", "eu", "User-Agent", "host/1", "Referer", "http://x/", "X-Forwarded-For", "10.0.0.1",
		"Proxy-Authorization", "Basic eDp5", "Traceparent", "00-1", "X-Tenant", "evil"))
	r := <-got
	if r.Header.Get("Authorization") != "Bearer upstream-token" || r.URL.String() != "/mcp?tenant=7" {
		t.Errorf("%s with %q", r.URL, r.Header.Get("Authorization"))
	}
	if r.Host != strings.TrimPrefix(s.upstream[:strings.LastIndex(s.upstream, "/")], "http://") {
		t.Errorf("the host is %q", r.Host)
	}
	for _, name := range []string{"Cookie", "Referer", "Origin", "X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "Proxy-Authorization"} {
		if value := r.Header.Get(name); value != "" {
			t.Errorf("%s: %q is forwarded", name, value)
		}
	}
	for name, want := range map[string]string{"Mcp-Session-Id": "s1", "Mcp-Protocol-Version": "2025-11-25", "Last-Event-Id": "7",
		"Mcp-Param-Region": "eu", "User-Agent": "host/1", "Traceparent": "00-1", "X-Tenant": "7", "Accept": "application/json, text/event-stream"} {
		if r.Header.Get(name) != want {
			t.Errorf("%s is %q", name, r.Header.Get(name))
		}
	}
	if resp.StatusCode != http.StatusForbidden || body != `{"jsonrpc":"2.0","id":1.0,"result":{"a" : 1e2}}` ||
		resp.Header.Get("Mcp-Session-Id") != "s1" || resp.Header.Get("Retry-After") != "7" {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
	for _, name := range []string{"Set-Cookie", "WWW-Authenticate", "Clear-Site-Data", "Access-Control-Allow-Origin", "Refresh", "Link", "Location", "Server"} {
		if value := resp.Header.Get(name); value != "" {
			t.Errorf("%s: %q comes back", name, value)
		}
	}
}

// TestResponsesThatMislead are those that would send an MCP host to another server, or have it
// take its own token for the rejected one.
func TestResponsesThatMislead(t *testing.T) {
	status := make(chan int, 1)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "https://evil.example/")
		w.WriteHeader(<-status)
	}))
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, code := range []int{401, 301, 302, 303, 307, 308, 300} {
		status <- code
		resp, body := s.do(t, s.c, "POST", "/mcp/one", "{}", mcpHeader())
		if resp.StatusCode != http.StatusBadGateway || resp.Header.Get("Location") != "" || strings.Contains(body, "evil") {
			t.Errorf("%d: %d %v %s", code, resp.StatusCode, resp.Header, body)
		}
	}
	events, _ := s.page.log.after(0)
	if len(events) != 7 || events[0].Mark != Bad || !strings.Contains(events[0].Text, "status 401") {
		t.Errorf("%+v", events)
	}
}

// TestMessageIsSentAgain where the server moves it on its own origin.
func TestMessageIsSentAgain(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/mcp" {
			http.Redirect(w, r, "/v2/mcp", http.StatusTemporaryRedirect)
			return
		}
		io.Copy(w, r.Body)
	}))
	resp, body := s.do(t, s.c, "POST", "/mcp/one", `{"id":1}`, mcpHeader())
	if resp.StatusCode != http.StatusOK || body != `{"id":1}` {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// TestMessageDoesNotBecomeAGet has a server redirect with each status on its own origin, where a GET
// opens a stream: the message arrives, or the MCP host gets an error, with any client.
func TestMessageDoesNotBecomeAGet(t *testing.T) {
	opened := make(chan string, 10)
	code := make(chan int, 1)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/mcp":
			http.Redirect(w, r, "/elsewhere", <-code)
		case r.Method == http.MethodGet:
			opened <- r.URL.Path
		default:
			io.Copy(w, r.Body)
		}
	}))
	c := &handstamp.Client{LoginPolicy: handstamp.LoginNever}
	defer c.Close(t.Context())
	library := c.HTTPClient(s.upstream)
	for _, tt := range []struct {
		client *http.Client
		method string
		code   int
		status int
	}{
		{library, "POST", 301, 200}, {library, "POST", 302, 200}, {library, "POST", 303, 502}, {library, "POST", 307, 200},
		{library, "DELETE", 303, 502}, {library, "DELETE", 308, 200}, {http.DefaultClient, "POST", 301, 502},
		{http.DefaultClient, "POST", 302, 502}, {http.DefaultClient, "POST", 303, 502}, {http.DefaultClient, "POST", 308, 200},
	} {
		*s.client = *tt.client
		code <- tt.code
		resp, body := s.do(t, s.c, tt.method, "/mcp/one", `{"id":1}`, mcpHeader())
		if resp.StatusCode != tt.status || tt.status == 200 && tt.method == "POST" && body != `{"id":1}` {
			t.Errorf("%s, %d: %d %s", tt.method, tt.code, resp.StatusCode, body)
		}
		select {
		case path := <-opened:
			t.Errorf("%s, %d: a GET of %s", tt.method, tt.code, path)
		default:
		}
	}
}

// TestStreamsArriveAsTheyCome reads an event before the server has written the next one.
func TestStreamsArriveAsTheyCome(t *testing.T) {
	next := make(chan struct{})
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "id: %d\ndata: {}\n\n", i)
			http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	}))
	resp, cancel := s.open(t, http.MethodGet)
	defer cancel()
	lines := bufio.NewScanner(resp.Body)
	for i := range 3 {
		if !lines.Scan() || lines.Text() != fmt.Sprintf("id: %d", i) {
			t.Fatalf("%q, %v", lines.Text(), lines.Err())
		}
		lines.Scan()
		lines.Scan()
		next <- struct{}{}
	}
	if lines.Scan() {
		t.Errorf("one more: %q", lines.Text())
	}
}

// open begins a request of an MCP host.
func (s *served) open(t *testing.T, method string) (*http.Response, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, method, s.url+"/mcp/one", strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range mcpHeader() {
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp, cancel
}

// TestStreamsEnd at the server when the MCP host goes, and at the MCP host when the user signs out.
func TestStreamsEnd(t *testing.T) {
	ended := make(chan struct{}, 2)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		ended <- struct{}{}
	}))
	_, cancel := s.open(t, http.MethodGet)
	cancel()
	wait(t, ended)
	resp, cancel := s.open(t, http.MethodPost)
	defer cancel()
	s.end()
	wait(t, ended)
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("a stream that was cut off looks complete")
	}
}

func wait(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
	}
}

// TestServerThatCannotBeReached is explained in the words of the backend, and no address is shown.
func TestServerThatCannotBeReached(t *testing.T) {
	s := serve(t, nil)
	s.fakeBackend.upstream = "http://127.0.0.1:1/secret-tenant"
	resp, body := s.do(t, s.c, "POST", "/mcp/one", "{}", mcpHeader())
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "the server cannot be reached") || strings.Contains(body, "tenant") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	resp, body = s.do(t, s.c, "POST", "/mcp/one", strings.Repeat("x", maxMessage+1), mcpHeader())
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("too large: %d %s", resp.StatusCode, body)
	}
}
