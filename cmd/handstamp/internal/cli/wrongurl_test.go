//go:build unix

package cli

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A server on this machine may be named without its scheme: it is http then, as
// servers under development are.
func TestLoopbackServerWithoutScheme(t *testing.T) {
	for raw, want := range map[string]string{
		"127.0.0.1:3000/mcp":   "http://127.0.0.1:3000/mcp",
		"localhost:3000/mcp":   "http://localhost:3000/mcp",
		"LOCALHOST:3000":       "http://LOCALHOST:3000",
		"localhost":            "http://localhost",
		"[::1]:3000":           "http://[::1]:3000",
		"127.9.8.7/mcp?x=1":    "http://127.9.8.7/mcp?x=1",
		"https://localhost/x":  "https://localhost/x",
		"http://127.0.0.1/x":   "http://127.0.0.1/x",
		"localhost.example/x":  "https://localhost.example/x",
		"127.0.0.1.example":    "https://127.0.0.1.example",
		"mcp.example.com/mcp":  "https://mcp.example.com/mcp",
		"10.0.0.1:3000/mcp":    "https://10.0.0.1:3000/mcp",
		"example.com/?h=[::1]": "https://example.com/?h=[::1]",
	} {
		a := newApp(Process{Environ: []string{"HANDSTAMP_STORE=file", "HANDSTAMP_HOME=" + t.TempDir()}})
		got, err := a.target(raw)
		if err != nil || got.url != want {
			t.Errorf("%s is taken for %v (%v), want %s", raw, got, err, want)
		}
	}
	c := newCommand(t)
	server := strings.TrimPrefix(c.server.MCPURL(), "http://")
	if _, stderr, code := c.run("login", server); code != exitOK {
		t.Fatalf("login %s: %d\n%s", server, code, stderr)
	}
	// The scheme makes no other server of it.
	if stdout, _, code := c.run("token", c.server.MCPURL()); code != exitOK || stdout == "" {
		t.Errorf("token: %d", code)
	}
}

// The error for a wrong URL helps.
func TestLoginSaysWhatIsWrongWithTheURL(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/open", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"jsonrpc":"2.0","id":1,"result":{}}`))
	})
	mux.HandleFunc("/mcp", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
	})
	mux.HandleFunc("/register", func(http.ResponseWriter, *http.Request) { t.Error("a client was registered") })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	for path, want := range map[string][]string{
		"/open":    {"X This server needs no login", "handstamp tools " + host + "/open"},
		"/missing": {"X There is no MCP server at http://" + host + "/missing (404 Not Found)", "- Did you mean http://" + host + "/mcp?"},
	} {
		c := newCommand(t)
		_, stderr, code := c.run("login", host+path)
		if code != exitUsage {
			t.Errorf("%s: code %d, want %d", path, code, exitUsage)
		}
		for _, line := range want {
			if !strings.Contains(stderr, line) {
				t.Errorf("%s: %q lacks %q", path, stderr, line)
			}
		}
	}
	c := newCommand(t)
	const hint = "Check the URL: handstamp login "
	if _, stderr, code := c.run("tools", host+"/missing"); code != exitOther || !strings.Contains(stderr, hint+host+"/missing") {
		t.Errorf("tools: code %d: %q", code, stderr)
	}
}
