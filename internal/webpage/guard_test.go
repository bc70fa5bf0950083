package webpage

import (
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// TestOnlyThePageItselfIsServed tries every address and header with which a page of another site,
// or of another port of this machine, could reach the page in the user's browser, which sends the
// cookie along.
func TestOnlyThePageItselfIsServed(t *testing.T) {
	s := serve(t, nil)
	s.enter(t)
	port := s.host[strings.LastIndexByte(s.host, ':'):]
	for _, c := range []struct {
		name   string
		header map[string]string
		ok     bool
	}{
		{"a browser", map[string]string{"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, true},
		{"a program", nil, true},
		{"the page", map[string]string{"Origin": s.url, "Sec-Fetch-Site": "same-origin"}, true},
		{"a link elsewhere", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, true},
		{"a frame elsewhere", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, false},
		{"an image elsewhere", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, false},
		{"another port", map[string]string{"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}, false},
		{"another origin", map[string]string{"Origin": "https://evil.example"}, false},
		{"another port's origin", map[string]string{"Origin": "http://127.0.0.1:1"}, false},
		{"the same host by https", map[string]string{"Origin": "https://" + s.host}, false},
		{"an origin that is hidden", map[string]string{"Origin": "null"}, false},
		{"a rebound name", map[string]string{"Host": "evil.example" + port}, false},
		{"localhost", map[string]string{"Host": "localhost" + port}, false},
		{"another port's host", map[string]string{"Host": "127.0.0.1:1"}, false},
		{"no port", map[string]string{"Host": "127.0.0.1"}, false},
		{"a longer name", map[string]string{"Host": "127.0.0.1.evil.example" + port}, false},
	} {
		resp, body := s.do(t, s.c, "GET", s.at("/"), "", c.header)
		if got := resp.StatusCode == http.StatusOK; got != c.ok || got != strings.Contains(body, "one.example") {
			t.Errorf("%s: %d", c.name, resp.StatusCode)
		}
		header := map[string]string{"Authorization": "Bearer bearer-of-one", "Content-Type": "application/json"}
		maps.Copy(header, c.header)
		resp, _ = s.do(t, s.c, "POST", "/mcp/one", "{}", header)
		link := c.name == "a link elsewhere" // to the page only
		if got := resp.StatusCode != http.StatusForbidden; got != (c.ok && !link) {
			t.Errorf("%s: %d at the server", c.name, resp.StatusCode)
		}
	}
}

// TestNoPageWithoutTheLink holds everything but style, script and icon behind the cookie.
func TestNoPageWithoutTheLink(t *testing.T) {
	s := serve(t, nil)
	for _, c := range []struct{ method, path string }{
		{"GET", "/"}, {"GET", "/events"}, {"GET", "/?key="}, {"GET", "/?key=x"}, {"GET", "/servers/one/diagram"},
		{"POST", "/servers/one/logout"}, {"POST", "/link"}, {"GET", "/link"}, {"PUT", "/"},
		{"GET", s.at("/")}, {"GET", s.at("/events")}, {"POST", s.at("/servers/one/logout")}, {"GET", s.at("")},
	} {
		resp, body := s.do(t, s.browser(), c.method, c.path, "", nil)
		if resp.StatusCode != http.StatusUnauthorized || strings.Contains(body, "one.example") || len(resp.Cookies()) > 0 {
			t.Errorf("%s %s: %d, %v", c.method, c.path, resp.StatusCode, resp.Cookies())
		}
	}
	for name := range assets {
		if resp, _ := s.do(t, s.browser(), "GET", s.page.access.assets+name, "", nil); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
	if s.called() != "" {
		t.Errorf("the backend was called: %s", s.called())
	}
}

// TestLinkForBrowserWorksOnce takes the key for a cookie that scripts and other sites do not get.
func TestLinkForBrowserWorksOnce(t *testing.T) {
	s := serve(t, nil)
	link := s.page.Link(true)
	resp, _ := s.do(t, s.browser(), "GET", link, "", map[string]string{"Sec-Purpose": "prefetch"})
	if resp.StatusCode == http.StatusSeeOther {
		t.Error("a prefetch has used the link")
	}
	resp, _ = s.do(t, s.c, "GET", link, "", nil)
	cookies := resp.Cookies()
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != s.at("/") || len(cookies) != 1 {
		t.Fatalf("%d to %q, %v", resp.StatusCode, resp.Header.Get("Location"), cookies)
	}
	if got := resp.Header.Get("Clear-Site-Data"); got != `"cache", "storage"` {
		t.Errorf("the browser keeps what it has of the address: %q", got)
	}
	if c := cookies[0]; !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Domain != "" || c.Path != s.at("/") {
		t.Errorf("the cookie is %v", c)
	}
	if resp, _ := s.do(t, s.browser(), "GET", link, "", nil); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the second time: %d", resp.StatusCode)
	}
	for range 2 { // the one that is printed
		if resp, _ := s.do(t, s.browser(), "GET", s.page.Link(false), "", nil); resp.StatusCode != http.StatusSeeOther {
			t.Errorf("the printed link: %d", resp.StatusCode)
		}
	}
}

// TestCookieGoesToThePageOnly and not to programs of other users at other ports of this machine, to
// which a browser sends the cookies of all ports: a page there can have the browser request any path
// of its own port.
func TestCookieGoesToThePageOnly(t *testing.T) {
	s := serve(t, nil)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Jar: jar}
	resp, body := s.do(t, c, "GET", s.page.Link(true), "", nil)
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, "one.example") {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	home := resp.Request.URL.Path
	for _, path := range []string{"/", "/servers/one/login", "/events", "/mcp/one", s.page.access.assets + "page.css", "/?key=x",
		strings.ToLower(home), home[:len(home)-1], home[:len(home)-2] + "/"} {
		u, err := url.Parse("http://127.0.0.1:1" + path)
		if err != nil {
			t.Fatal(err)
		}
		if cookies := jar.Cookies(u); len(cookies) > 0 {
			t.Errorf("%s gets %v", u, cookies)
		}
	}
	// The path is as secret as the cookie: neither a stranger nor a link gets it.
	assets := s.page.access.assets
	for _, path := range []string{"/", "/nothing", "/?key=x", assets + "page.css", assets + "page.js", "/mcp/one", "/link"} {
		resp, body := s.do(t, s.browser(), "GET", path, "", map[string]string{"Accept": "text/html"})
		if strings.Contains(body, strings.Trim(home, "/")) || resp.Header.Get("Location") != "" {
			t.Errorf("%s: %v %s", path, resp.Header, body)
		}
	}
	if strings.Contains(s.page.Link(true), strings.Trim(home, "/")) {
		t.Error("the link that other users see has the path")
	}
}

// TestFilesOfThePageAreElsewhereAtEachStart, so that a browser takes none from its cache that it has
// of another program at the port.
func TestFilesOfThePageAreElsewhereAtEachStart(t *testing.T) {
	loaded := regexp.MustCompile(`(?:src|href)="(/[^"]*\.(?:js|css|svg))"`)
	seen := make(map[string]bool)
	for range 2 {
		s := serve(t, nil)
		s.enter(t)
		_, page := s.do(t, s.c, "GET", s.at("/"), "", nil)
		_, failed := s.do(t, s.browser(), "GET", "/", "", map[string]string{"Accept": "text/html"})
		_, configuration := s.do(t, s.c, "POST", s.at("/servers/one/configuration"), url.Values{"guard": {s.page.access.guard}}.Encode(), s.form())
		here := make(map[string]bool)
		for _, html := range []string{page, failed, configuration} {
			files := loaded.FindAllStringSubmatch(html, -1)
			if len(files) < 2 {
				t.Errorf("the page loads %q:\n%s", files, html)
			}
			for _, file := range files {
				here[file[1]] = true
			}
		}
		for file := range here {
			if resp, _ := s.do(t, s.browser(), "GET", file, "", nil); resp.StatusCode != http.StatusOK || seen[file] {
				t.Errorf("%s: %d", file, resp.StatusCode)
			}
			seen[file] = true
			fixed := file[strings.LastIndexByte(file, '/'):]
			if resp, _ := s.do(t, s.browser(), "GET", fixed, "", nil); resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s: %d", fixed, resp.StatusCode)
			}
		}
	}
}

// TestAnotherProcessGetsALink with the secret of the state, and learns that it is at the page.
func TestAnotherProcessGetsALink(t *testing.T) {
	s := serve(t, nil)
	resp, body := s.do(t, s.browser(), "POST", "/link", "", map[string]string{"Authorization": "Bearer " + control})
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, `"proof":"proof"`) ||
		!strings.Contains(body, s.url+"/?key=") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// TestButtonsNeedTheirForm presses buttons as other sites could.
func TestButtonsNeedTheirForm(t *testing.T) {
	s := serve(t, nil)
	s.enter(t)
	good := url.Values{"guard": {s.page.access.guard}}.Encode()
	for _, c := range []struct {
		name, body string
		change     map[string]string
		stranger   bool
		status     int
	}{
		{"no token", "", nil, false, 403},
		{"another token", "guard=x", nil, false, 403},
		{"two tokens, the first is another", "guard=x&" + good, nil, false, 403},
		{"no origin", good, map[string]string{"Origin": ""}, false, 403},
		{"another origin", good, map[string]string{"Origin": "https://evil.example"}, false, 403},
		{"an opaque origin", good, map[string]string{"Origin": "null"}, false, 403},
		{"a simple request of another kind", good, map[string]string{"Content-Type": "text/plain"}, false, 403},
		{"multipart", good, map[string]string{"Content-Type": "multipart/form-data; boundary=x"}, false, 403},
		{"another port of this machine", good, map[string]string{"Sec-Fetch-Site": "same-site"}, false, 403},
		{"no cookie", good, nil, true, 401},
		{"too large", good + "&x=" + strings.Repeat("x", maxForm), nil, false, 403},
		{"the page", good, nil, false, 303},
	} {
		header := s.form()
		maps.Copy(header, c.change)
		if header["Origin"] == "" {
			delete(header, "Origin")
		}
		client := s.c
		if c.stranger {
			client = s.browser()
		}
		resp, body := s.do(t, client, "POST", s.at("/servers/one/logout"), c.body, header)
		if resp.StatusCode != c.status {
			t.Errorf("%s: %d %s", c.name, resp.StatusCode, body)
		}
		if want := map[bool]string{true: "logout:one"}[c.status == 303]; s.called() != want {
			t.Errorf("%s: the backend was called: %q", c.name, s.called())
		}
	}
	for path, status := range map[string]int{
		"/servers/three/logout": 404, "/servers/one/other": 404, "/servers/one/logout/x": 404, "/servers//logout": 404,
		"/servers/one%2flogout": 404, "/logout": 404, "/servers/one/../two/login": 404, "//servers/one/login": 404,
	} {
		if resp, _ := s.do(t, s.c, "POST", s.at(path), good, s.form()); resp.StatusCode != status {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	if s.called() != "logout:one" {
		t.Errorf("the backend was called: %s", s.called())
	}
}

// TestEveryResponseIsProtected looks at all kinds of responses.
func TestEveryResponseIsProtected(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src *")
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Access-Control-Allow-Origin", "*")
	}))
	s.enter(t)
	mcp := map[string]string{"Authorization": "Bearer bearer-of-one", "Accept": "text/html"}
	html := map[string]string{"Accept": "text/html"}
	guard := url.Values{"guard": {s.page.access.guard}}.Encode()
	assets := s.page.access.assets
	for _, c := range []struct {
		method, path, body string
		header             map[string]string
	}{
		{"GET", s.at("/"), "", nil}, {"GET", s.at("/"), "", html}, {"GET", s.at("/nothing"), "", html},
		{"GET", "/", "", nil}, {"GET", "/", "", html}, {"GET", "/nothing", "", html}, {"GET", assets + "page.css", "", nil},
		{"GET", assets + "page.js", "", nil}, {"GET", assets + "icon.svg", "", nil}, {"GET", "/?key=x", "", nil}, {"POST", "/", "", html},
		{"GET", "/", "", map[string]string{"Host": "evil.example", "Accept": "text/html"}},
		{"GET", "/mcp/one", "", mcp}, {"GET", "/mcp/two", "", nil}, {"POST", s.at("/servers/one/configuration"), guard, s.form()},
	} {
		resp, body := s.do(t, s.c, c.method, c.path, c.body, c.header)
		name := c.method + " " + c.path
		for header, want := range map[string]string{
			"Cache-Control": "no-store", "Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
			"Referrer-Policy": "same-origin", "X-Frame-Options": "DENY",
		} {
			if got := resp.Header.Values(header); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %s is %q", name, header, got)
			}
		}
		if resp.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s may be read by other sites", name)
		}
		if strings.Contains(body, "<script>") || strings.Contains(body, "<style") || strings.Contains(body, " style=") ||
			strings.Contains(body, "alert(1)") {
			t.Errorf("%s has what the policy forbids:\n%s", name, body)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
		t.Error("the policy allows too much")
	}
}

// TestBearerOnlyOnItsPage shows an MCP host's bearer token where a form's token leads, and nowhere
// else.
func TestBearerOnlyOnItsPage(t *testing.T) {
	s := serve(t, nil)
	s.enter(t)
	if _, body := s.do(t, s.c, "GET", s.at("/"), "", nil); strings.Contains(body, "bearer-of") || strings.Contains(body, control) {
		t.Error("the page shows a secret")
	}
	resp, body := s.do(t, s.c, "POST", s.at("/servers/one/configuration"), url.Values{"guard": {s.page.access.guard}}.Encode(), s.form())
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, "Bearer bearer-of-one") || strings.Contains(body, "bearer-of-two") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, _ := s.do(t, s.c, "GET", s.at("/servers/one/configuration"), "", nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("GET: %d", resp.StatusCode)
	}
}

// TestDiagram has the policy of its document, and cannot be framed either.
func TestDiagram(t *testing.T) {
	s := serve(t, nil)
	s.enter(t)
	resp, body := s.do(t, s.c, "GET", s.at("/servers/one/diagram"), "", nil)
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, "a diagram") ||
		resp.Header.Get("Content-Security-Policy") != "default-src 'none'; frame-ancestors 'none'" {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
	for path, status := range map[string]int{"/servers/two/diagram": 404, "/servers/three/diagram": 404, "/servers/one/diagram/": 404} {
		if resp, _ := s.do(t, s.c, "GET", s.at(path), "", nil); resp.StatusCode != status {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
}
