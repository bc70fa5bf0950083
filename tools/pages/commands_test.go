package pages

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/lab/mcpserver"
)

// shellBlock is a piece of shell in a page that a reader may paste as it is.
var shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")

// exampleServer is the server of the pages, with and without its scheme.
var exampleServer = regexp.MustCompile(`(?:https://)?mcp\.example\.com/mcp`)

// TestPagesRun pastes the shell of these pages, in their order, into the shell of a user whose
// server is the lab's: each block ends with exit code 0.
func TestPagesRun(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds and runs the command")
	}
	for _, tool := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(bin, "handstamp"), "./cmd/handstamp").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, page := range []string{"README.md", "docs/scripts.md", "docs/testing.md", "docs/stores.md"} {
		t.Run(page, func(t *testing.T) {
			server, err := lab.StartWith(lab.NoneFirst(), lab.Options{MCP: mcpserver.Handler()})
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			home := t.TempDir()
			env := append(os.Environ(),
				"HOME="+home,
				"PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"),
				"HANDSTAMP_HOME="+filepath.Join(home, "handstamp"),
				"HANDSTAMP_BROWSER=handstamp demo browser")
			blocks := shellBlock.FindAllStringSubmatch(readPage(t, page), -1)
			if len(blocks) == 0 {
				t.Error("the page has nothing to run")
			}
			for _, block := range blocks {
				paste(t, env, exampleServer.ReplaceAllString(block[1], server.MCPURL()))
			}
			if a := server.Audit(); a.Codes > 1 {
				t.Errorf("%d logins, want 1", a.Codes)
			}
		})
	}
}

// paste runs a script, of which each line has to succeed.
func paste(t *testing.T, env []string, script string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // for what hangs
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-euc", script)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s\n%s", err, script, out)
	}
	if strings.Contains(string(out), `"error"`) {
		t.Errorf("the server reports an error:\n%s\n%s", script, out)
	}
}
