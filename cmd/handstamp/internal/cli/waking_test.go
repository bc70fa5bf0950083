//go:build unix

package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestBridgeOfSlowServer has the bridge meet an open server that is slow to wake, with
// nothing stored: the host gets a session in time and the tools when the server is there,
// and nothing speaks of a login.
func TestBridgeOfSlowServer(t *testing.T) {
	c := newCommand(t)
	awake := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			ID     json.RawMessage
			Method string
		}
		if r.Method != http.MethodPost || json.NewDecoder(r.Body).Decode(&m) != nil {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		select {
		case <-awake:
		case <-r.Context().Done():
			return
		}
		results := map[string]string{
			"initialize": `{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"slow","version":"1"}}`,
			"tools/list": `{"tools":[{"name":"real","inputSchema":{"type":"object"}}]}`,
		}
		if m.ID == nil {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, results[m.Method])
	}))
	defer server.Close()
	defer server.CloseClientConnections()
	cmd, stdin, stdout, _ := c.start("bridge", server.URL+"/mcp", "--initialize-wait", "300ms")
	fmt.Fprintln(stdin, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`)
	if hello := lineWith(t, stdout, `"id":1`); !strings.Contains(hello, `"name":"handstamp"`) {
		t.Errorf("initialize got the response %s", hello)
	}
	fmt.Fprintln(stdin, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	fmt.Fprintln(stdin, `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)
	if list := lineWith(t, stdout, `"id":2`); !strings.Contains(list, `"tools":[]`) {
		t.Errorf("the tools are %s", list)
	}
	close(awake)
	lineWith(t, stdout, "notifications/tools/list_changed")
	fmt.Fprintln(stdin, `{"jsonrpc":"2.0","id":3,"method":"tools/list"}`)
	if list := lineWith(t, stdout, `"id":3`); !strings.Contains(list, `"real"`) {
		t.Errorf("the tools are %s", list)
	}
	stdin.Close()
	if code := c.wait(cmd); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestInitializeWaitIsNotNegative has a wait that ends before it begins: a mistake.
func TestInitializeWaitIsNotNegative(t *testing.T) {
	c := newCommand(t)
	if _, stderr, code := c.run("bridge", c.server.MCPURL(), "--initialize-wait", "-1s"); code != exitUsage || !strings.Contains(stderr, "--initialize-wait") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
