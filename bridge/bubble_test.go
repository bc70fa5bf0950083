package bridge_test

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// bubbleServer starts a server on a network of its own, so that a bubble's clock runs while
// all goroutines wait, and returns what connects a bridge to it.
func bubbleServer(t *testing.T, handler http.HandlerFunc) bridge.Options {
	t.Helper()
	network := &pipes{accept: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(network)
	}()
	transport := &http.Transport{DialContext: network.dial, MaxIdleConnsPerHost: 16}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		<-done
	})
	return bridge.Options{URL: "http://server.test/mcp", HTTP: &http.Client{Transport: transport}, Logger: logger(t)}
}

// responseWithin is host.response with a bound of its own, and returns how long the response took.
func (h *host) responseWithin(id string, bound time.Duration) (line string, took time.Duration) {
	h.t.Helper()
	began := time.Now()
	line = h.waitWithin(bound, "response to "+id, func(line string) bool {
		var m struct {
			ID     json.RawMessage
			Method string
		}
		return json.Unmarshal([]byte(line), &m) == nil && string(m.ID) == id && m.Method == ""
	})
	return line, time.Since(began)
}

// waitWithin is host.wait with a bound of its own.
func (h *host) waitWithin(bound time.Duration, what string, ok func(line string) bool) string {
	h.t.Helper()
	deadline := time.NewTimer(bound)
	defer deadline.Stop()
	for {
		h.mu.Lock()
		for i, line := range h.lines {
			if !h.taken[i] && ok(line) {
				h.taken[i] = true
				h.mu.Unlock()
				return line
			}
		}
		more := h.more
		h.mu.Unlock()
		select {
		case <-more:
		case <-deadline.C:
			h.t.Fatalf("no %s within %v; the host got:\n%s", what, bound, strings.Join(h.all(), "\n"))
		}
	}
}

// streamCall makes a tool call with an id.
func streamCall(id string) string {
	return `{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"name":"x"}}`
}

// openStream begins an event stream.
func openStream(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	_ = http.NewResponseController(w).Flush()
}
