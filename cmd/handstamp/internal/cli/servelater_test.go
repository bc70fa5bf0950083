//go:build unix

package cli

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
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
	first := c.serveToStay()
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

// TestServeAndALoginThatReplacesAnother, perhaps as another account: MCP hosts use it from the next
// request on, although the server still accepts the token from before.
func TestServeAndALoginThatReplacesAnother(t *testing.T) {
	c := newCommand(t)
	c.login()
	s := c.serve()
	for range 2 {
		stdout, stderr, code := c.run("token", c.server.MCPURL())
		if code != 0 {
			t.Fatalf("token: %d %s", code, stderr)
		}
		if status, body := s.call("initialize"); status != http.StatusOK {
			t.Errorf("%d %s", status, body)
		}
		requests := c.server.Requests()
		if last := requests[len(requests)-1]; last.Endpoint != "mcp" || last.Bearer != lab.Fingerprint(strings.TrimSpace(stdout)) {
			t.Errorf("the MCP host's request goes out with another token than the one that is stored: %s", last)
		}
		if _, stderr, code := c.run("login", c.server.MCPURL(), "--force"); code != 0 {
			t.Fatalf("login: %d %s", code, stderr)
		}
	}
	s.stop()
}

// TestServeAndANameThatCameLater shows a server that was added in another process, and requests
// need what is configured for it by then.
func TestServeAndANameThatCameLater(t *testing.T) {
	c := newCommand(t)
	c.login()
	s := c.serve()
	if status, body := s.call("initialize"); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	if _, stderr, code := c.run("add", "later", c.server.MCPURL(), "--header", "X-Tenant=${NO_SUCH_TENANT}"); code != 0 {
		t.Fatalf("%d %s", code, stderr)
	}
	s.await(">later</h2>")
	if status, body := s.call("initialize"); status != http.StatusServiceUnavailable || !strings.Contains(body, "NO_SUCH_TENANT is not set") {
		t.Errorf("without the header: %d %s", status, body)
	}
	if _, stderr, code := c.run("add", "later", c.server.MCPURL(), "--header", "X-Tenant=7", "--force"); code != 0 {
		t.Fatalf("%d %s", code, stderr)
	}
	s.get("/")
	if status, body := s.call("initialize"); status != http.StatusOK {
		t.Errorf("with the header: %d %s", status, body)
	}
	s.stop()
}

// TestTwoServesAtOnce on different ports know the same bearer tokens, and the one that was started
// last stays the one that is found.
func TestTwoServesAtOnce(t *testing.T) {
	c := newCommand(t)
	c.login()
	first := c.serve()
	second := c.serveToStay()
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

// TestServesThatBeginAtOnce are one page, which the others find.
func TestServesThatBeginAtOnce(t *testing.T) {
	c := newCommand(t)
	c.login()
	var stops []func()
	var outs []io.Reader
	for range 3 {
		cmd, stdin, stdout, _ := c.startWithin(5*time.Minute, "handstamp", "serve", "--json")
		stdin.Close()
		outs = append(outs, stdout)
		stops = append(stops, func() {
			_ = cmd.Process.Signal(syscall.SIGINT)
			c.wait(cmd)
		})
	}
	bases := make(map[string]bool)
	first := 0
	for _, out := range outs {
		var o serveOutput
		if err := json.NewDecoder(out).Decode(&o); err != nil {
			t.Fatal(err)
		}
		base, _, _ := strings.Cut(o.URL, "/?")
		bases[base] = true
		if !o.Already {
			first++
		}
	}
	if first != 1 || len(bases) != 1 {
		t.Errorf("%d pages at %v", first, bases)
	}
	for _, stop := range stops {
		stop()
	}
}

// TestServeAndADamagedState serves, with names and tokens that work, whatever the file has.
func TestServeAndADamagedState(t *testing.T) {
	c := newCommand(t)
	c.login()
	first := c.serve()
	first.stop()
	file := c.serveStateFile()
	kept := first.Servers[0]
	key := `"key":{"server":"` + kept.Server + `","profile":"default"}`
	other := `{"name":"other","key":{"server":"http://127.0.0.1:1/mcp","profile":"default"},"bearer":"` + kept.Bearer[1:] + `x"}`
	for name, text := range map[string]string{
		"empty":            "",
		"cut":              `{"port":1,"servers":[{"na`,
		"null":             "null",
		"a list":           "[]",
		"of other types":   `{"port":"x","servers":{}}`,
		"a port too large": `{"port":99999,"servers":[]}`,
		"a negative port":  `{"port":-1,"servers":null}`,
		"no token":         `{"servers":[{"name":"n",` + key + `}]}`,
		"a short token":    `{"servers":[{"name":"n",` + key + `,"bearer":"x"}]}`,
		"no key":           `{"servers":[{"name":"n","bearer":"` + kept.Bearer + `"}]}`,
		"no name":          `{"servers":[{` + key + `,"bearer":"` + kept.Bearer + `"}]}`,
		"a name of a path": `{"servers":[{"name":"../n",` + key + `,"bearer":"` + kept.Bearer + `"}]}`,
		"two of a name":    `{"servers":[` + other + `,{"name":"other",` + key + `,"bearer":"` + kept.Bearer + `"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			s := c.serve()
			if status, body := s.call("initialize"); status != http.StatusOK {
				t.Errorf("%+v: %d %s", s.serveOutput, status, body)
			}
			s.stop()
		})
	}
}

// TestServeAndALockThatIsHeld waits for it once, and says that nothing is kept.
func TestServeAndALockThatIsHeld(t *testing.T) {
	waits := 0
	s := &serveState{path: filepath.Join(t.TempDir(), "state.json"), lock: func() (func(), error) {
		waits++
		return nil, errors.New("it is held")
	}}
	one := s.name(store.Key{Server: "https://one.example/mcp"}, "")
	two := s.name(store.Key{Server: "https://two.example/mcp"}, "")
	l, _, err, unkept := s.begin(func(int) (net.Listener, error) { return net.Listen("tcp4", "127.0.0.1:0") })
	if err != nil || unkept == nil || waits != 1 || s.bearer(one) == "" || s.bearer(one) == s.bearer(two) {
		t.Errorf("%v, %v, %d waits for the lock, %+v", err, unkept, waits, s.Servers)
	}
	l.Close()
}
