//go:build unix

package cli

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestHTTP2AndUserAgentByCommand checks what an open server with TLS sees of the commands that
// speak MCP.
func TestHTTP2AndUserAgentByCommand(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[string]int)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen[r.Proto+" "+r.Header.Get("User-Agent")]++
		mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		var m struct {
			ID     json.RawMessage
			Method string
		}
		_ = json.Unmarshal(body, &m)
		switch {
		case r.Method != http.MethodPost:
			w.WriteHeader(http.StatusMethodNotAllowed)
		case m.ID == nil:
			w.WriteHeader(http.StatusAccepted)
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"},"tools":[],"content":[]}}`, m.ID)
		}
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	if err := os.WriteFile(ca, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newCommand(t)
	for _, test := range []struct {
		flags []string
		agent string
	}{
		{nil, "handstamp/"},
		{[]string{"--header", "User-Agent=mine/1"}, "mine/1"},
		{[]string{"--connect-timeout", "5000"}, "handstamp/"}, // with a dial function of its own
	} {
		mu.Lock()
		clear(seen)
		mu.Unlock()
		commands := [][]string{{"tools", server.URL + "/mcp"}, {"call", server.URL + "/mcp", "x"}, {"bridge", server.URL + "/mcp"}}
		if len(test.flags) > 0 && test.flags[0] == "--connect-timeout" {
			commands = commands[2:]
		}
		for _, args := range commands {
			cmd, stdin, stdout, stderr := c.start(append(append(args, "--ca-file", ca), test.flags...)...)
			if args[0] == "bridge" {
				io.WriteString(stdin, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`+"\n")
				if line, err := stdout.ReadString('\n'); err != nil || !strings.Contains(line, `"result"`) {
					t.Errorf("initialize: %s %v", line, err)
				}
			}
			stdin.Close()
			go io.Copy(io.Discard, stdout)
			said, _ := io.ReadAll(stderr)
			if code := c.wait(cmd); code != 0 {
				t.Errorf("%q: exit code %d: %s", args, code, said)
			}
		}
		mu.Lock()
		for what := range seen {
			if !strings.HasPrefix(what, "HTTP/2.0 "+test.agent) || strings.ContainsAny(what, "()") {
				t.Errorf("the server saw %s", what)
			}
		}
		if len(seen) == 0 {
			t.Error("the server saw nothing")
		}
		mu.Unlock()
	}
}
