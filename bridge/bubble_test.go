package bridge_test

import (
	"net"
	"net/http"
	"testing"

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

// openStream begins an event stream.
func openStream(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	_ = http.NewResponseController(w).Flush()
}
