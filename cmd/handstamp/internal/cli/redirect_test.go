//go:build unix

package cli

import (
	"io"
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
				if code != exitProtocol || !strings.Contains(said, stranger.URL+"/mcp") || !strings.Contains(said, strings.TrimSuffix(mcp, "/mcp")) {
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

// A redirect that cannot be followed has one sentence in each command, and one for an MCP host:
// what happened, where to, and what to do.
func TestRedirectThatCannotBeFollowedByCommand(t *testing.T) {
	c := newCommand(t)
	mcp := c.server.MCPURL()
	origin := strings.TrimSuffix(mcp, "/mcp")
	if _, stderr, code := c.run("login", mcp); code != 0 {
		t.Fatalf("login: %d %s", code, stderr)
	}
	for _, test := range []struct {
		status   int
		location string
		want     []string
	}{
		{303, "/elsewhere", []string{origin + "/elsewhere", "303"}},
		{307, "/mcp", []string{"in a loop", "nothing was carried out"}},
		{301, "", []string{"says not where to"}},
		{308, "https://mcp.example/v2", []string{"https://mcp.example/v2", "f the server has moved, use its new URL"}},
	} {
		c.server.SetFault("mcp", lab.Fault{Kind: lab.FaultRedirect, Status: test.status, Location: test.location})
		for _, args := range [][]string{{"tools", mcp}, {"call", mcp, "echo", "text=hello"}} {
			before := c.server.Counts()["mcp"]
			_, stderr, code := c.run(args...)
			if n := c.server.Counts()["mcp"] - before; code != exitProtocol || n > 2 {
				t.Errorf("%d to %q, %q: exit code %d, %d requests: %s", test.status, test.location, args, code, n, stderr)
			}
			for _, want := range test.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("%d to %q, %q: %q is not in %s", test.status, test.location, args, want, stderr)
				}
			}
		}
		cmd, stdin, stdout, stderr := c.start("bridge", mcp)
		go io.Copy(io.Discard, stderr)
		io.WriteString(stdin, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`+"\n")
		line, err := stdout.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range append(test.want, "-31003") {
			if !strings.Contains(line, want) {
				t.Errorf("%d to %q: %q is not in %s", test.status, test.location, want, line)
			}
		}
		stdin.Close()
		go io.Copy(io.Discard, stdout)
		c.wait(cmd)
	}
}

// A server that has moved on its origin is used with the token, by a message and by the stream.
func TestRedirectOnTheOriginKeepsTheTokenByCommand(t *testing.T) {
	for _, status := range []int{301, 302, 307, 308} {
		server, err := lab.Start(lab.Habits{MCPPath: "/v2/mcp", Resource: lab.ResourceRequired})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Close)
		server.SetFault("other", lab.Fault{Kind: lab.FaultRedirect, Status: status, Location: "/v2/mcp"})
		c := newCommand(t)
		c.server = server
		old := strings.Replace(server.MCPURL(), "/v2/mcp", "/mcp", 1)
		if _, stderr, code := c.run("login", old); code != 0 {
			t.Fatalf("%d: login: %d %s", status, code, stderr)
		}
		for _, args := range [][]string{{"tools", old}, {"call", old, "echo", "text=hello"}} {
			if stdout, stderr, code := c.run(args...); code != 0 {
				t.Errorf("%d, %q: exit code %d: %s%s", status, args, code, stdout, stderr)
			}
		}
		if n := server.Counts()["authorize"]; n != 1 {
			t.Errorf("%d: %d logins", status, n)
		}
	}
}
