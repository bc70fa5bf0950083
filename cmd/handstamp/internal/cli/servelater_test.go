//go:build unix

package cli

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/lab"
)

// loginElsewhere signs in to another server, in another process.
func (c *command) loginElsewhere() (url string) {
	c.t.Helper()
	server, err := lab.Start(lab.NoneFirst())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(server.Close)
	if _, stderr, code := c.run("login", server.MCPURL()); code != 0 {
		c.t.Fatalf("login: %d\n%s", code, stderr)
	}
	return server.MCPURL()
}

// only returns what was printed about a server, as the only one.
func (s *servedPage) only(server string) *servedPage {
	s.t.Helper()
	i := slices.IndexFunc(s.Servers, func(v serveServer) bool { return v.Server == server })
	if i < 0 {
		s.t.Fatalf("no %s in %+v", server, s.Servers)
	}
	only := *s
	only.Servers = s.Servers[i : i+1]
	return &only
}

// TestServeAndALoginThatCameLater: a second handstamp serve prints what the page of the first has,
// whose process has not seen the server before, since no page is open.
func TestServeAndALoginThatCameLater(t *testing.T) {
	c := newCommand(t)
	c.login()
	first := c.serve()
	url := c.loginElsewhere()
	stdout, stderr, code := c.run("serve", "--json")
	second := &servedPage{command: c}
	if err := json.Unmarshal([]byte(stdout), &second.serveOutput); err != nil || code != 0 || !second.Already {
		t.Fatalf("%d %v %s %s", code, err, stdout, stderr)
	}
	later := second.only(url)
	for range 2 {
		if status, body := later.call("initialize"); status != http.StatusOK || !strings.Contains(body, "serverInfo") {
			t.Errorf("with the bearer token that was printed: %d %s", status, body)
		}
		first.get("/") // the first process sees the server now, if not before
	}
	first.stop()
	third := c.serve()
	third.stop()
	if got := third.only(url).Servers[0]; got != later.Servers[0] {
		t.Errorf("after a restart: %+v, before %+v", got, later.Servers[0])
	}
}

// TestTwoServesAtOnce on different ports know the same bearer tokens, and the one that was started
// last stays the one that is found.
func TestTwoServesAtOnce(t *testing.T) {
	c := newCommand(t)
	c.login()
	first := c.serve()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	second := c.serve("--port", port)
	url := c.loginElsewhere()
	first.get("/")
	third := c.serve() // finds one of them
	if !third.Already || third.base != second.base {
		t.Errorf("found %+v", third.serveOutput)
	}
	for _, base := range []string{first.base, second.base} {
		at := third.only(url)
		server := at.Servers[0]
		server.URL = base + "/mcp/" + server.Name
		at.Servers = []serveServer{server}
		if status, body := at.call("initialize"); status != http.StatusOK {
			t.Errorf("at %s: %d %s", base, status, body)
		}
	}
	text, err := os.ReadFile(c.serveStateFile())
	var state serveState
	if err != nil || json.Unmarshal(text, &state) != nil || len(state.Servers) != 2 ||
		!strings.HasSuffix(second.base, ":"+strconv.Itoa(state.Port)) {
		t.Errorf("%v %+v, the second is at %s", err, &state, second.base)
	}
	first.stop()
	second.stop()
}
