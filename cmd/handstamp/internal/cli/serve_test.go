//go:build unix

package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/proctest"
)

// servedPage is handstamp serve in a process of its own, and a browser with its page.
type servedPage struct {
	*command
	serveOutput
	base   string // the origin
	home   string // the page, which the link leads to
	client *http.Client
	said   []byte // to standard output and standard error
	stop   func()
}

// serve starts handstamp serve --json and opens its page.
func (c *command) serve(args ...string) *servedPage {
	c.t.Helper()
	cmd, stdin, stdout, stderr := c.startWithin(5*time.Minute, "handstamp", append([]string{"serve", "--json"}, args...)...)
	stdin.Close()
	s := &servedPage{command: c}
	var raw json.RawMessage
	d := json.NewDecoder(stdout)
	if err := d.Decode(&raw); err != nil {
		text, _ := io.ReadAll(stderr)
		c.t.Fatalf("%v: %s", err, text)
	}
	if err := json.Unmarshal(raw, &s.serveOutput); err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan []byte, 1)
	go func() {
		text, _ := io.ReadAll(stderr)
		ended <- text
	}()
	s.stop = func() {
		c.t.Helper()
		_ = cmd.Process.Signal(syscall.SIGINT)
		s.said = append(raw, <-ended...)
		if code := c.wait(cmd); code != exitOK {
			c.t.Errorf("exit code %d: %s", code, s.said)
		}
	}
	s.base, _, _ = strings.Cut(s.URL, "/?")
	jar, err := cookiejar.New(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	s.client = &http.Client{Jar: jar}
	resp, err := s.client.Get(s.URL)
	if err != nil {
		c.t.Fatal(err)
	}
	resp.Body.Close()
	s.home = strings.TrimSuffix(resp.Request.URL.String(), "/")
	if text := s.get("/"); !strings.Contains(text, "<title>Handstamp</title>") {
		c.t.Fatalf("this is no page: %s", text)
	}
	return s
}

// serveToStay is serve at a port that no other process gets while the page is not served.
func (c *command) serveToStay() *servedPage {
	c.t.Helper()
	return c.serve("--port", strconv.Itoa(proctest.FreePort(c.t)))
}

func (s *servedPage) get(path string) string {
	s.t.Helper()
	resp, err := s.client.Get(s.home + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

var guardValue = regexp.MustCompile(`name="guard" value="(\w+)"`)

// press presses a button of the first server, and returns the page that follows.
func (s *servedPage) press(button string) string {
	s.t.Helper()
	guard := guardValue.FindStringSubmatch(s.get("/"))
	form := url.Values{"guard": {guard[1]}}
	r, err := http.NewRequest(http.MethodPost, s.home+"/servers/"+s.Servers[0].Name+"/"+button, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", s.base)
	resp, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %d %s", button, resp.StatusCode, text)
	}
	return string(text)
}

// await loads the page until it has a text.
func (s *servedPage) await(text string) {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); !strings.Contains(s.get("/"), text); {
		if time.Now().After(end) {
			s.t.Fatalf("the page does not show %q:\n%s", text, s.get("/"))
		}
	}
}

// event reads the stream of events until one has a text, and returns what it has read.
func (s *servedPage) event(text string) (before string) {
	s.t.Helper()
	resp, err := s.client.Get(s.home + "/events")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadString('\n')
		before += line
		if strings.Contains(line, text) {
			return before
		}
		if err != nil || strings.Contains(line, "cancelled") {
			s.t.Fatalf("no event with %q: %v %s", text, err, line)
		}
	}
}

// call makes a request as an MCP host without OAuth does.
func (s *servedPage) call(method string) (status int, body string) {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodPost, s.Servers[0].URL, strings.NewReader(
		`{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"h","version":"1"}}}`))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
		"Authorization": {"Bearer " + s.Servers[0].Bearer}}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// TestServe signs out and in on the page, with an MCP host at the re-exposed server beside.
func TestServe(t *testing.T) {
	c := newCommand(t)
	c.login()
	s := c.serve()
	if len(s.Servers) != 1 || !s.Servers[0].SignedIn || s.Servers[0].Server != c.server.MCPURL() || s.Already {
		t.Fatalf("%+v", s.serveOutput)
	}
	if status, body := s.call("initialize"); status != http.StatusOK || !strings.Contains(body, "serverInfo") {
		t.Fatalf("%d %s", status, body)
	}
	if page := s.get("/"); !strings.Contains(page, "Signed in") || !strings.Contains(page, "<meter") {
		t.Errorf("the page does not show the login:\n%s", page)
	}

	page := s.press("logout")
	if !strings.Contains(page, "Not signed in") {
		t.Errorf("after the logout:\n%s", page)
	}
	if status, body := s.call("initialize"); status != http.StatusServiceUnavailable || !strings.Contains(body, "not signed in") {
		t.Errorf("after the logout: %d %s", status, body)
	}
	if n := c.server.Counts()["revoke"]; n == 0 {
		t.Errorf("nothing was revoked: %v", c.server.Counts())
	}
	tabs := c.server.Counts()["authorize"]
	s.press("login")
	s.await(`/configuration"`)
	if status, body := s.call("initialize"); status != http.StatusOK {
		t.Errorf("after the login: %d %s", status, body)
	}
	if got := c.server.Counts()["authorize"] - tabs; got != 1 {
		t.Errorf("%d tabs for the login", got)
	}
	pages := s.get("/") + s.get("/servers/"+s.Servers[0].Name+"/diagram") + s.event(`"text":"Signed in","mark":"good"`)
	if !strings.Contains(pages, "/authorize") {
		t.Errorf("the diagram does not show the login:\n%s", pages)
	}
	s.stop()
	s.wantNoSecret(pages)
}

// wantNoSecret fails the test if a secret of the server is in what the page and the command show.
func (s *servedPage) wantNoSecret(pages string) {
	s.t.Helper()
	for _, secret := range s.server.Secrets() {
		if strings.Contains(pages+string(s.said), secret) {
			s.t.Errorf("the secret %q is shown", secret)
		}
	}
}

// TestServeStartsNoLogin for an MCP host: a refresh costs the host nothing, and where the server
// has ended the login, the page has the button.
func TestServeStartsNoLogin(t *testing.T) {
	c := newCommand(t)
	c.login()
	s := c.serve()
	// A refresh that another session needs costs the MCP host nothing.
	c.server.ExpireAccessTokens()
	if status, body := s.call("initialize"); status != http.StatusOK {
		t.Errorf("after the expiry: %d %s", status, body)
	}

	// A grant that the server has ended opens no browser: the page shows what to do.
	c.server.RevokeFamilies()
	tabs := c.server.Counts()["authorize"]
	if status, body := s.call("initialize"); status != http.StatusServiceUnavailable || !strings.Contains(body, "sign in on the page") {
		t.Errorf("after the end of the grant: %d %s", status, body)
	}
	s.await("Signed out by the server")
	if got := c.server.Counts()["authorize"] - tabs; got != 0 {
		t.Errorf("an MCP host has opened %d tabs", got)
	}
	configuration := s.press("configuration")
	if !strings.Contains(configuration, s.Servers[0].Bearer) {
		t.Errorf("the bearer token is not where it is promised:\n%s", configuration)
	}
	pages := s.get("/") + configuration
	s.stop()
	s.wantNoSecret(pages)
}

// TestServeIsWhereItWas last time, with the same tokens, and new secrets of its own.
func TestServeIsWhereItWas(t *testing.T) {
	c := newCommand(t)
	c.login()
	first := c.serveToStay()
	second := c.serve() // beside it
	if !second.Already || second.base != first.base || second.Servers[0] != first.Servers[0] || second.URL == first.URL {
		t.Errorf("beside the first: %+v, %+v", second.serveOutput, first.serveOutput)
	}
	first.stop()
	file := c.serveStateFile()
	for path, mode := range map[string]os.FileMode{file: 0o600, filepath.Dir(file): 0o700} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	third := c.serve()
	third.stop()
	if third.Already || third.base != first.base || third.Servers[0] != first.Servers[0] {
		t.Errorf("the next time: %+v, %+v", third.serveOutput, first.serveOutput)
	}
	after, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var old, now serveState
	if json.Unmarshal(before, &old) != nil || json.Unmarshal(after, &now) != nil || old.Control == now.Control || old.Proof == now.Proof {
		t.Errorf("the secrets of a run are those of the last one")
	}
}

// serveStateFile returns the path of what the page keeps.
func (c *command) serveStateFile() string {
	c.t.Helper()
	found, err := filepath.Glob(filepath.Join(c.home, "*", "serve", "state.json"))
	if err != nil || len(found) != 1 {
		c.t.Fatalf("%v, %v", found, err)
	}
	return found[0]
}

// TestServeAndAStateThatOthersCouldRead replaces the bearer tokens.
func TestServeAndAStateThatOthersCouldRead(t *testing.T) {
	c := newCommand(t)
	c.login()
	first := c.serveToStay()
	first.stop()
	file := c.serveStateFile()
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	second := c.serve()
	second.stop()
	if second.Servers[0].Bearer == first.Servers[0].Bearer || !strings.Contains(string(second.said), "other users could read") {
		t.Errorf("%+v: %s", second.serveOutput, second.said)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestServeAndTheWrongProgram has another program at the port of the last run: it gets nothing with
// which it could reach a page, and its link is not opened.
func TestServeAndTheWrongProgram(t *testing.T) {
	c := newCommand(t)
	c.login()
	first := c.serveToStay()
	first.stop()
	address, err := url.Parse(first.base)
	if err != nil {
		t.Fatal(err)
	}
	const before = ", at which the page was served last time"
	_, stderr, code := c.run("serve", "--port", c.server.URL()[strings.LastIndexByte(c.server.URL(), ':')+1:])
	if code != exitOther || !strings.Contains(stderr, "nother program uses port") || strings.Contains(stderr, before) {
		t.Errorf("at the port of another program: %d %s", code, stderr)
	}
	squatter := &http.Server{Addr: address.Host, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"url":"%s/?key=evil","proof":"guess"}`, first.base)
	})}
	t.Cleanup(func() { squatter.Close() })
	ready := make(chan error, 1)
	go func() { ready <- squatter.ListenAndServe() }()
	for {
		resp, err := http.Get(first.base)
		if err == nil {
			resp.Body.Close()
			break
		}
		select {
		case err := <-ready:
			t.Fatal(err)
		default:
		}
	}
	stdout, stderr, code := c.run("serve", "--json")
	if code != exitOther || stdout != "" || !strings.Contains(stderr, before) || strings.Contains(stderr, "evil") {
		t.Errorf("%d %s %s", code, stdout, stderr)
	}
}
