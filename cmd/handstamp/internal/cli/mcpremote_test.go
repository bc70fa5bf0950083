//go:build unix

package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/installed"
	"github.com/handstamp/handstamp/lab"
)

// remoteProgram is mcp-remote, installed by make from a lock file.
const remoteProgram = "../../../../bench/bridge/node_modules/mcp-remote/dist/proxy.js"

// remoteNode returns the node to run mcp-remote with. Without either the test is
// skipped, unless the environment says that it is required.
func remoteNode(t *testing.T) string {
	t.Helper()
	installed.NeedFile(t, "mcp-remote", remoteProgram,
		"mcp-remote is not installed: run make bench/bridge/node_modules/.package-lock.json")
	return installed.NeedProgram(t, "mcp-remote", "node", "Node.js is not installed")
}

// authorizeURL is the URL that mcp-remote prints for the user.
var authorizeURL = regexp.MustCompile(`https?://\S+/authorize\?\S+`)

// stdioSession asks a stdio server for its tools, as the program does that starts
// it.
func stdioSession(t *testing.T, cmd *exec.Cmd, stdin io.WriteCloser, stdout *bufio.Reader) {
	t.Helper()
	for _, step := range []struct{ request, want string }{
		{`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`, `"serverInfo"`},
		{`{"jsonrpc":"2.0","method":"notifications/initialized"}` + "\n" + `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`, `"tools"`},
	} {
		if _, err := fmt.Fprintln(stdin, step.request); err != nil {
			t.Fatal(err)
		}
		lineWith(t, stdout, step.want)
	}
	stdin.Close()
	if _, err := io.Copy(io.Discard, stdout); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

// signInElsewhere signs in with the real mcp-remote, which keeps its login in dir.
func (c *command) signInElsewhere(node, dir string, args ...string) {
	t := c.t
	t.Helper()
	cmd := exec.CommandContext(t.Context(), node, append([]string{remoteProgram}, args...)...)
	// The browser that it opens does nothing: its URL is read where it says it.
	cmd.Env = append(os.Environ(), "MCP_REMOTE_CONFIG_DIR="+dir, "BROWSER=true", "DISPLAY=")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	read, stderr := io.Pipe()
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(3*waitLimit, func() { cmd.Process.Kill() })
	defer kill.Stop()
	browsed := make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(read)
		opened := false
		for lines.Scan() {
			if address := authorizeURL.FindString(lines.Text()); address != "" && !opened {
				opened = true
				_, err := lab.Browse(t.Context(), address)
				browsed <- err
			}
		}
		if !opened {
			browsed <- fmt.Errorf("mcp-remote names no URL to sign in at")
		}
	}()
	stdioSession(t, cmd, stdin, bufio.NewReader(stdout))
	stderr.Close()
	if err := <-browsed; err != nil {
		t.Fatal(err)
	}
	if n := c.server.Counts()["authorize"]; n != 1 {
		t.Fatalf("mcp-remote signed in %d times", n)
	}
}

// TestImportFromTheRealMCPRemote signs in with mcp-remote as npm has it, takes the
// login over, and lets sessions walk in: no browser, and a refresh where the token
// has expired.
func TestImportFromTheRealMCPRemote(t *testing.T) {
	node := remoteNode(t)
	for _, method := range []string{lab.MethodNone, lab.MethodPost, lab.MethodBasic, "with --resource"} {
		for _, expired := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/expired=%v", method, expired), func(t *testing.T) {
				habits := lab.NoneFirst()
				habits.RegisterMethod = method
				if method == "with --resource" {
					habits = lab.NoneFirst()
				}
				server, err := lab.Start(habits)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(server.Close)
				processes.Watch(t, server)
				c := &command{t: t, home: filepath.Join(t.TempDir(), "home"), server: server}
				dir := filepath.Join(t.TempDir(), "auth")
				args := []string{server.MCPURL()}
				if method == "with --resource" {
					args = append(args, "--resource", server.MCPURL())
				}
				c.signInElsewhere(node, dir, args...)

				if expired {
					expire(t, dir)
					server.Advance(2 * time.Hour)
				}
				before := filepath.Join(t.TempDir(), "before")
				if err := os.CopyFS(before, os.DirFS(dir)); err != nil {
					t.Fatal(err)
				}
				server.Reset()
				_, stderr, code := c.run(append([]string{"import", "mcp-remote", "--folder", dir, "--"}, args...)...)
				if code != 0 {
					t.Fatalf("import: %d\n%s", code, stderr)
				}
				if out, err := exec.Command("diff", "-r", before, dir).CombinedOutput(); err != nil {
					t.Errorf("mcp-remote's folder was changed: %v\n%s", err, out)
				}
				for _, secret := range server.Secrets() {
					if strings.Contains(stderr, secret) {
						t.Errorf("the import prints a secret:\n%s", stderr)
					}
				}

				refreshes := 0
				if expired {
					refreshes = 1
				}
				cmd, stdin, stdout, _ := c.start(append([]string{"bridge"}, args...)...)
				stdioSession(t, cmd, stdin, stdout)
				if token, stderr, code := c.run("token", server.MCPURL()); code != 0 || strings.TrimSpace(token) == "" {
					t.Errorf("token: %d\n%s", code, stderr)
				}
				counts := server.Counts()
				if counts["authorize"] != 0 || counts["register"] != 0 || counts["token:code"] != 0 || counts["token:refresh"] != refreshes {
					t.Errorf("want no login and %d refreshes: %v", refreshes, counts)
				}
			})
		}
	}
}

// expire lets the tokens below mcp-remote's folder have expired an hour ago.
func expire(t *testing.T, dir string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "mcp-remote-*", "*_tokens.json"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("%v, %v", paths, err)
	}
	text, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	var tokens map[string]any
	if err := json.Unmarshal(text, &tokens); err != nil {
		t.Fatal(err)
	}
	if _, ok := tokens["expires_at"]; !ok {
		t.Fatal("mcp-remote does not note when its tokens expire")
	}
	tokens["expires_at"] = time.Now().Add(-time.Hour).UnixMilli()
	if text, err = json.Marshal(tokens); err == nil {
		err = os.WriteFile(paths[0], text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
