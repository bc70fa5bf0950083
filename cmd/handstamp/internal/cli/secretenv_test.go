//go:build unix

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/lab"
)

// The browser does not get the variables that flags and configuration take
// secrets from, whichever process opens it, and keeps those that it needs.
func TestBrowserDoesNotGetSecretVariables(t *testing.T) {
	for name, c := range map[string]struct {
		args   []string
		hidden []string
		bridge bool
	}{
		"tools with a header":      {args: []string{"tools", "--header", "X-Key: ${CANARY_ONE}, ${HOME}", "--header-file", "FILE"}, hidden: []string{"one", "two"}},
		"bridge with a header":     {args: []string{"bridge", "--header", "X-Key=${CANARY_ONE}", "--header-file", "FILE"}, hidden: []string{"one", "two"}, bridge: true},
		"login with a secret":      {args: []string{"login", "--client-id", "app", "--client-secret-env", "CANARY_ONE", "--token-endpoint-auth-method", "client_secret_post"}, hidden: []string{"one"}},
		"mcp-remote's client":      {args: []string{"bridge", "PORT", "--static-oauth-client-info", `{"client_id":"app","client_secret":"${CANARY_ONE}"}`}, hidden: []string{"one"}, bridge: true},
		"configured, not used now": {args: []string{"login", "--client-id", "app", "--client-secret-file", "SECRET"}, hidden: []string{"three"}},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := newCommand(t)
			cmd.server.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: "canary-value-one", Method: lab.MethodPost})
			dir := t.TempDir()
			// A helper may outlive the bridge by a moment, and the test with it.
			home, err := os.MkdirTemp("", "handstamp")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(home) })
			cmd.home = home
			seen := filepath.Join(dir, "environ")
			for name, value := range map[string]string{
				"HANDSTAMP_ACCESS_TOKEN": "", "HANDSTAMP_CLIENT_SECRET": "", "TEST_BROWSER_ENV": seen, "BYSTANDER": "stays",
			} {
				t.Setenv(name, value)
			}
			for _, hidden := range c.hidden {
				t.Setenv("CANARY_"+strings.ToUpper(hidden), "canary-value-"+hidden)
			}
			for name, text := range map[string]string{
				"headers": "# comment\nX-Other: Token ${CANARY_TWO}\n", "secret": "canary-value-one\n",
				"config.json": fmt.Sprintf(`{"servers":{"lab":{"url":%q,"client_id":"app","client_secret_env":"CANARY_THREE"}}}`, cmd.server.MCPURL()),
			} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var args []string
			for _, arg := range c.args {
				switch arg {
				case "PORT": // that of mcp-remote for this URL may be taken
					arg = strconv.Itoa(proctest.FreePort(t))
				case "FILE":
					arg = filepath.Join(dir, "headers")
				case "SECRET":
					arg = filepath.Join(dir, "secret")
					if err := os.MkdirAll(cmd.home, 0o700); err != nil {
						t.Fatal(err)
					}
					if err := os.Rename(filepath.Join(dir, "config.json"), filepath.Join(cmd.home, "config.json")); err != nil {
						t.Fatal(err)
					}
				}
				args = append(args, arg)
				if len(args) == 1 {
					args = append(args, cmd.server.MCPURL())
				}
			}
			if c.bridge {
				process, stdin, stdout, _ := cmd.start(args...)
				fmt.Fprintln(stdin, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`)
				lineWith(t, stdout, "serverInfo")
				proctest.Wait(t, waitLimit, "the bridge has signed in", func() bool {
					_, _, code := cmd.run("status", "--quiet", cmd.server.MCPURL())
					return code == exitOK
				})
				stdin.Close()
				cmd.wait(process)
			} else if _, stderr, code := cmd.run(args...); code != 0 {
				t.Fatalf("code %d: %s", code, stderr)
			}
			environ, err := os.ReadFile(seen)
			if err != nil {
				t.Fatal(err)
			}
			for _, hidden := range c.hidden {
				if strings.Contains(string(environ), "canary-value-"+hidden) {
					t.Errorf("the browser has the variable %s", hidden)
				}
			}
			for _, want := range []string{"BYSTANDER=stays", "HOME=", "PATH="} {
				if !strings.Contains(string(environ), want) {
					t.Errorf("the browser has no %s", want)
				}
			}
		})
	}
}
