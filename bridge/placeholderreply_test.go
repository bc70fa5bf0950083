package bridge

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

// TestSignInThatComesTooLate has the placeholder end between the reading of a call of it and its
// turn: the call does not reach a tool of the server's that may not be called.
func TestSignInThatComesTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, out := &ofBefore{status: 200}, new(strings.Builder)
		life, end := context.WithCancel(t.Context())
		f := newFront(life, end, Options{URL: "http://server.example/mcp", HTTP: &http.Client{Transport: server},
			Stdout: out, Tool: func(name string) bool { return name == "read" }})
		b := f.current()
		turn := make(chan struct{})
		b.setBarrier(turn)
		b.placeholder.shown = true
		b.accept([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"sign_in"}}`))
		b.placeholder.shown = false
		close(turn)
		synctest.Wait()
		if len(server.calls) > 0 || !strings.Contains(out.String(), "tool_denied") {
			t.Errorf("%d calls came, and the host got %s", len(server.calls), out)
		}
		end()
		f.work.Wait()
	})
}
