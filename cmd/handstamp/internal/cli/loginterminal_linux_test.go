package cli

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
	"golang.org/x/sys/unix"
)

// terminalLogin starts a login at a terminal, and returns what is typed and seen there.
func terminalLogin(t *testing.T, c *command, env ...string) (*os.File, *bufio.Reader, *exec.Cmd) {
	t.Helper()
	keyboard, terminal := pseudoTerminal(t)
	size := &unix.Winsize{Row: 120, Col: 240}
	if err := unix.IoctlSetWinsize(int(keyboard.Fd()), unix.TIOCSWINSZ, size); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "handstamp", "login", c.server.MCPURL())
	cmd.Env = append(os.Environ(), "HANDSTAMP_HOME="+c.home, "HANDSTAMP_BROWSER=labbrowser",
		"TERM=xterm", "LC_ALL=C.UTF-8", "SSH_CONNECTION=", "COLUMNS=")
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdin, cmd.Stderr = terminal, terminal
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	terminal.Close() // so that the screen ends with the process
	return keyboard, bufio.NewReader(keyboard), cmd
}

// At a terminal, the browser opens when the user presses Enter, and the time runs.
func TestLoginAtATerminal(t *testing.T) {
	c := newCommand(t)
	keyboard, screen, cmd := terminalLogin(t, c)
	seen := readUntil(t, screen, "Press Enter to open this URL in your browser")
	seen += readUntil(t, screen, "paste the URL of that page here")
	if _, err := io.WriteString(keyboard, "\n"); err != nil {
		t.Fatal(err)
	}
	seen += readUntil(t, screen, "Signed in to")
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, seen)
	}
	if !strings.Contains(seen, " left to sign in") {
		t.Errorf("no countdown: %q", seen)
	}
	if strings.Contains(seen, "▀") {
		t.Errorf("a QR code beside a browser: %q", seen)
	}
}

// Where this machine has no browser, the URL is a QR code, too, and the URL that another device
// ended at can be pasted.
func TestLoginAtATerminalWithoutABrowser(t *testing.T) {
	c := newCommand(t)
	keyboard, screen, cmd := terminalLogin(t, c, "HANDSTAMP_NO_BROWSER=1")
	seen := readUntil(t, screen, "code_challenge=")
	if !strings.Contains(seen, "▀") {
		t.Errorf("no QR code: %q", seen)
	}
	lines := strings.Split(strings.TrimSpace(seen), "\n")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(strings.TrimSpace(lines[len(lines)-1]))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if _, err := io.WriteString(keyboard, "\n"+resp.Header.Get("Location")+"\n"); err != nil {
		t.Fatal(err)
	}
	seen = readUntil(t, screen, "Signed in to")
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, seen)
	}
}

// A user who has come by SSH gets the tunnel that brings the callback here.
func TestLoginOverSSH(t *testing.T) {
	c := newCommand(t)
	c.env = []string{"HANDSTAMP_NO_BROWSER=1", "SSH_CONNECTION=192.0.2.7 50000 192.0.2.9 2222", "USER=ann"}
	cmd, stdin, _, stderr := c.start("login", c.server.MCPURL())
	stdin.Close()
	authorize := lineWith(t, stderr, "code_challenge=")
	lineWith(t, stderr, "run this there first:")
	tunnel := lineWith(t, stderr, "ssh -N -L ")
	if !strings.HasSuffix(tunnel, " -p 2222 ann@192.0.2.9") {
		t.Errorf("tunnel %q", tunnel)
	}
	if _, err := lab.Browse(t.Context(), authorize); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := stderr.ReadString('\n')
		if strings.Contains(line, "left to sign in") {
			t.Errorf("a countdown in a pipe: %q", line)
		}
		if err != nil {
			break
		}
	}
	c.ends(cmd, 0)
}

// Where the page is served at a terminal, its logins wait for no key there.
func TestServeAtATerminal(t *testing.T) {
	_, terminal := pseudoTerminal(t)
	a := newApp(Process{Stdin: terminal, Stderr: terminal,
		Environ: []string{"HANDSTAMP_HOME=" + t.TempDir(), "HANDSTAMP_BROWSER=labbrowser", "TERM=xterm"}})
	if !a.terminalIn() {
		t.Fatal("this is no terminal")
	}
	b, err := a.newServeBackend([]string{"http://127.0.0.1:1/mcp"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := b.client(b.targets[0], &loginOptions{}, handstamp.LoginAuto)
	if err != nil {
		t.Fatal(err)
	}
	if c.Prompt.Paste != nil || b.terminalIn() {
		t.Error("a login waits for what is typed at the terminal")
	}
}
