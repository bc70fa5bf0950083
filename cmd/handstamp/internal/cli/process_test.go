//go:build unix

package cli

import (
	"bufio"
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// waitLimit bounds what a test waits for before it fails. A process that lives for longer is killed: it
// waits on for a user, or for as long as its peers do not end.
const waitLimit = time.Minute

// command is the command as a process of its own, with a home of the test's.
type command struct {
	t      *testing.T
	home   string
	server *lab.Server
	env    []string // beside, or instead of, what every command gets
}

func newCommand(t *testing.T) *command {
	t.Helper()
	server, err := lab.Start(lab.NoneFirst())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	processes.Watch(t, server)
	return &command{t: t, home: filepath.Join(t.TempDir(), "home"), server: server}
}

// start starts handstamp with args and returns what it writes and reads.
func (c *command) start(args ...string) (cmd *exec.Cmd, stdin io.WriteCloser, stdout, stderr *bufio.Reader) {
	c.t.Helper()
	return c.startProgram("handstamp", args...)
}

// startProgram starts a program of this test binary likewise.
func (c *command) startProgram(name string, args ...string) (cmd *exec.Cmd, stdin io.WriteCloser, stdout, stderr *bufio.Reader) {
	c.t.Helper()
	return c.startWithin(waitLimit, name, args...)
}

// startWithin is startProgram for a process that may take some time.
func (c *command) startWithin(limit time.Duration, name string, args ...string) (cmd *exec.Cmd, stdin io.WriteCloser, stdout, stderr *bufio.Reader) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), limit)
	c.t.Cleanup(cancel)
	cmd = exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "HANDSTAMP_HOME="+c.home, "HANDSTAMP_BROWSER=labbrowser")
	cmd.Env = append(cmd.Env, c.env...)
	var err error
	if stdin, err = cmd.StdinPipe(); err != nil {
		c.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	errOut, err := cmd.StderrPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	return cmd, stdin, bufio.NewReader(out), bufio.NewReader(errOut)
}

// run runs handstamp and returns its output and exit code.
func (c *command) run(args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	cmd, stdin, out, errOut := c.start(args...)
	stdin.Close()
	o, _ := io.ReadAll(out)
	e, _ := io.ReadAll(errOut)
	return string(o), string(e), c.wait(cmd)
}

func (c *command) wait(cmd *exec.Cmd) int {
	c.t.Helper()
	err := cmd.Wait() // ctx's error where the test has ended, also of a process that ended by itself
	if cmd.ProcessState == nil {
		c.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

// login signs in.
func (c *command) login() {
	c.t.Helper()
	if _, stderr, code := c.run("login", c.server.MCPURL()); code != 0 {
		c.t.Fatalf("login: %d\n%s", code, stderr)
	}
}

// lineWith reads lines until one contains text.
func lineWith(t *testing.T, r *bufio.Reader, text string) string {
	t.Helper()
	var all strings.Builder
	for {
		line, err := r.ReadString('\n')
		if strings.Contains(line, text) {
			return strings.TrimSpace(line)
		}
		all.WriteString(line)
		if err != nil {
			t.Fatalf("no line with %q in:\n%s", text, all.String())
		}
	}
}

// ends waits for the process and checks its exit code.
func (c *command) ends(cmd *exec.Cmd, want int) {
	c.t.Helper()
	if code := c.wait(cmd); code != want {
		c.t.Errorf("exit code %d, want %d", code, want)
	}
}

// A signal ends a login that waits for the user at once, and the next login is
// not in the way of what was left.
func TestSignalDuringLogin(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		c := newCommand(t)
		cmd, _, _, stderr := c.start("login", c.server.MCPURL(), "--no-browser")
		lineWith(t, stderr, "code_challenge=")
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		lineWith(t, stderr, "X Interrupted")
		c.ends(cmd, exitInterrupted)
		c.login()
	}
}

// A signal while a refresh is in flight: the rotated refresh token is on disk
// before the process ends, so the next process needs no login and no refresh.
func TestSignalDuringRefresh(t *testing.T) {
	c := newCommand(t)
	c.login()
	gate := c.server.Hold("token:refresh:committed")
	defer gate.Release()
	cmd, _, stdout, stderr := c.start("token", c.server.MCPURL(), "--refresh")
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	if _, err := gate.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	gate.Release()
	token, err := io.ReadAll(stdout)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(stderr); err != nil {
		t.Fatal(err)
	}
	want := exitInterrupted
	if len(token) > 0 {
		want = 0 // the response overtook the signal
	}
	c.ends(cmd, want)
	// The server revokes everything if the old refresh token came again.
	if _, stderr, code := c.run("token", c.server.MCPURL(), "--refresh"); code != 0 {
		t.Fatalf("after the interruption: %d\n%s", code, stderr)
	}
	if audit := c.server.Audit(); audit.Refreshes != 2 || audit.Reuses != 0 {
		t.Errorf("%d refreshes and %d reuses, want 2 and 0", audit.Refreshes, audit.Reuses)
	}
}

// What is pasted is raced with the listener: rubbish and another login's URL do
// not end the wait, the right URL does, and no browser reaches the listener.
func TestPaste(t *testing.T) {
	c := newCommand(t)
	cmd, stdin, _, stderr := c.start("login", c.server.MCPURL(), "--paste")
	authorize := lineWith(t, stderr, "code_challenge=")
	lineWith(t, stderr, "paste the URL of that page here")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(authorize)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	callback, err := resp.Location()
	if err != nil {
		t.Fatal(err)
	}
	stranger := *callback
	query := stranger.Query()
	query.Set("state", strings.Repeat("A", len(query.Get("state"))))
	stranger.RawQuery = query.Encode()
	for _, line := range []string{"", "hello", stranger.String(), "  " + callback.String() + "  "} {
		if _, err := io.WriteString(stdin, line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	lineWith(t, stderr, "✓ Signed in to")
	c.ends(cmd, 0)
	if n := c.server.Counts()["token:code"]; n != 1 {
		t.Errorf("%d code exchanges, want 1", n)
	}
}

// The end of standard input is no callback: with --paste the listener still waits.
func TestPasteEnds(t *testing.T) {
	t.Parallel()
	c := newCommand(t)
	cmd, stdin, _, stderr := c.start("login", c.server.MCPURL(), "--paste")
	stdin.Close()
	authorize := lineWith(t, stderr, "code_challenge=")
	lineWith(t, stderr, "paste the URL of that page here")
	if _, err := lab.Browse(t.Context(), authorize); err != nil {
		t.Fatal(err)
	}
	lineWith(t, stderr, "✓ Signed in to")
	c.ends(cmd, 0)
}

// exec becomes the command: signals reach it, and its exit code is the process's.
func TestExecSignal(t *testing.T) {
	c := newCommand(t)
	c.login()
	script := `trap 'exit 9' TERM; echo $$; read wait_for_ever`
	cmd, _, stdout, _ := c.start("exec", c.server.MCPURL(), "--env", "TOKEN", "--", "sh", "-c", script)
	pid, err := stdout.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if want := cmd.Process.Pid; strings.TrimSpace(pid) != strconv.Itoa(want) {
		t.Errorf("the command is process %s, not %d", strings.TrimSpace(pid), want)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.ends(cmd, 9)
}

// No process is ever started with a secret in its arguments: what the browser
// gets is the authorization URL, which has none.
func TestBrowserArguments(t *testing.T) {
	c := newCommand(t)
	browsed := filepath.Join(t.TempDir(), "browsed")
	t.Setenv("TEST_BROWSED", browsed)
	c.login()
	b, err := os.ReadFile(browsed)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), "\n"); n != 1 {
		t.Errorf("%d browsers were opened, want 1", n)
	}
	for _, secret := range c.server.Secrets() {
		if strings.Contains(string(b), secret) {
			t.Error("the browser's arguments hold a secret")
		}
	}
}

// --proxy carries every request, those to the authorization server, too.
func TestProxy(t *testing.T) {
	c := newCommand(t)
	var mu sync.Mutex
	seen := make(map[string]bool)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen[r.URL.Path] = true
		mu.Unlock()
		r.RequestURI = ""
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		maps.Copy(w.Header(), resp.Header)
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	defer proxy.Close()
	if _, stderr, code := c.run("login", c.server.MCPURL(), "--proxy", proxy.URL); code != 0 {
		t.Fatalf("login: %d\n%s", code, stderr)
	}
	for _, path := range []string{"/mcp", "/register", "/token"} {
		if !seen[path] {
			t.Errorf("the request to %s went round the proxy", path)
		}
	}
	if seen["/authorize"] {
		t.Error("the browser went through the proxy")
	}
}

// A login that the user or the server rejects while a bridge runs is named in one line of the
// MCP host's log, with the command that helps.
func TestBridgeNamesARejectedLogin(t *testing.T) {
	server, err := lab.Start(lab.Habits{Consent: lab.ConsentDeny})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	processes.Watch(t, server)
	c := &command{t: t, home: filepath.Join(t.TempDir(), "home"), server: server}
	for _, flags := range [][]string{nil, {"--quiet"}, {"--login=never"}} {
		cmd, stdin, stdout, stderr := c.start(append([]string{"bridge", server.MCPURL()}, flags...)...)
		go io.Copy(io.Discard, stdout)
		if _, err := io.WriteString(stdin, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",`+
			`"capabilities":{},"clientInfo":{"name":"host","version":"1"}}}`+"\n"); err != nil {
			t.Fatal(err)
		}
		line := lineWith(t, stderr, "; run: handstamp login "+server.MCPURL())
		if !strings.HasPrefix(line, "handstamp: ") {
			t.Errorf("%v: %q", flags, line)
		}
		stdin.Close()
		rest, _ := io.ReadAll(stderr)
		if strings.Contains(string(rest), "; run: ") {
			t.Errorf("%v: twice:\n%s", flags, rest)
		}
		_ = cmd.Wait()
	}
}

// A bridge that ends while the user has not signed in yet adds nothing to the line with the URL.
func TestBridgeThatEndsDuringALoginWritesOneLine(t *testing.T) {
	c := newCommand(t)
	cmd, stdin, stdout, stderr := c.start("bridge", c.server.MCPURL(), "--no-browser")
	go io.Copy(io.Discard, stdout)
	if _, err := io.WriteString(stdin, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",`+
		`"capabilities":{},"clientInfo":{"name":"host","version":"1"}}}`+"\n"); err != nil {
		t.Fatal(err)
	}
	lineWith(t, stderr, "handstamp: Sign in to "+c.server.MCPURL())
	stdin.Close()
	if rest, _ := io.ReadAll(stderr); len(rest) > 0 {
		t.Errorf("more lines:\n%s", rest)
	}
	_ = cmd.Wait()
}
