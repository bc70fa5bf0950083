package cli

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/mcphost"
	"github.com/handstamp/handstamp/internal/installed"
)

// Hosts that are on PATH find the entry, and start the bridge with it; Claude Code's own command
// has written its. They are large, so nothing installs them: put the folder node_modules/.bin of
//
//	npm install @openai/codex @google/gemini-cli opencode-ai @anthropic-ai/claude-code
//
// into PATH to run this.
func TestEntryOfRealHosts(t *testing.T) {
	for _, test := range []struct {
		host, program string
		list          []string
		want          string
	}{
		{"codex", "codex", []string{"mcp", "list"}, "bridge http://127.0.0.1:9/mcp"},
		{"gemini", "gemini", []string{"mcp", "list"}, "Connected"},
		{"opencode", "opencode", []string{"mcp", "list"}, "connected"},
		{"claude-code", "claude", []string{"mcp", "get", "server"}, "Connected"},
	} {
		t.Run(test.host, func(t *testing.T) {
			program := installed.NeedProgram(t, "hosts", test.program, test.program+" is not on PATH")
			home := t.TempDir()
			env := append(environment(os.Environ()).without("XDG_CONFIG_HOME", "CODEX_HOME", "CLAUDE_CONFIG_DIR"),
				"HOME="+home, "HANDSTAMP_HOME="+filepath.Join(home, "handstamp"), "GEMINI_CLI_TRUST_WORKSPACE=true")
			run := func(name string, args ...string) string {
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, name, args...)
				cmd.Env, cmd.Dir = env, home
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%s %v: %v\n%s", name, args, err, out)
				}
				return string(out)
			}
			handstamp, err := exec.LookPath("handstamp")
			if err != nil {
				t.Fatal(err)
			}
			// Where the host keeps its servers is a folder that it makes when it first runs.
			file := mcphost.Machine{OS: "linux", Getenv: env.get}.Locate(mcphost.Find(test.host)).File
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			run(handstamp, "client", "connect", test.host, "http://127.0.0.1:9/mcp", "--name", "server")
			if out := run(program, test.list...); !strings.Contains(out, test.want) {
				t.Errorf("%s does not show the entry:\n%s", test.program, out)
			}
			run(handstamp, "client", "disconnect", test.host, "server")
			if out := run(handstamp, "client", "ls", test.host); strings.Contains(out, "server:") {
				t.Errorf("it is still there:\n%s", out)
			}
		})
	}
}
