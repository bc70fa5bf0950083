//go:build unix

package cli

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/handstamp/handstamp/lab"
)

// No command takes a token or a header of the user's to another origin.
func TestRedirectToAnotherOriginByCommand(t *testing.T) {
	var hits atomic.Int32
	stranger := httptest.NewUnstartedServer(http.NotFoundHandler())
	stranger.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			hits.Add(1)
		}
	}
	stranger.Start()
	t.Cleanup(stranger.Close)
	c := newCommand(t)
	mcp := c.server.MCPURL()
	if _, stderr, code := c.run("login", mcp); code != 0 {
		t.Fatalf("login: %d %s", code, stderr)
	}
	headers := filepath.Join(t.TempDir(), "headers")
	if err := os.WriteFile(headers, []byte("X-Api-Key: correct-horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		c.server.SetFault("mcp", lab.Fault{Kind: lab.FaultRedirect, Status: status, Location: stranger.URL + "/mcp?in-the=query"})
		for _, fixed := range []string{"", "correct-horse"} {
			t.Setenv("HANDSTAMP_ACCESS_TOKEN", fixed)
			for _, args := range [][]string{
				{"tools", mcp, "--header-file", headers},
				{"call", mcp, "echo", "text=hello", "--header-file", headers},
				{"tools", mcp, "--header-file", headers, "--transport", "sse"},
				{"status", mcp, "--check"},
				{"login", mcp, "--force"},
			} {
				stdout, stderr, code := c.run(args...)
				said := stdout + stderr
				if code != exitProtocol || !strings.Contains(said, stranger.URL) || !strings.Contains(said, strings.TrimSuffix(mcp, "/mcp")) {
					t.Errorf("%d, %q: exit code %d, %s", status, args, code, said)
				}
				if strings.Contains(said, "in-the") {
					t.Errorf("%d, %q: the query is repeated: %s", status, args, said)
				}
				if status != 307 && fixed == "" {
					break // the others make the same request
				}
			}
		}
	}
	if n := hits.Load(); n > 0 {
		t.Errorf("%d connections to the other origin", n)
	}
}
