package bridge_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/handstamp/handstamp/bridge"
)

// TestNoConnection has a machine and a server that cannot agree on TLS: the host
// gets the reason, and that nothing was done.
func TestNoConnection(t *testing.T) {
	response := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { result(w, readRequest(r).id, initialized) })
	for name, tt := range map[string]struct {
		start func() *httptest.Server
		trust bool
		says  string
	}{
		"unknown authority": {start: func() *httptest.Server { return httptest.NewTLSServer(response) }, says: "--ca-file"},
		"no TLS":            {start: func() *httptest.Server { return httptest.NewServer(response) }, says: "speaks http, not https"},
		"client certificate": {trust: true, says: "certificate required", start: func() *httptest.Server {
			s := httptest.NewUnstartedServer(response)
			s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
			s.StartTLS()
			return s
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := tt.start()
			s.Config.ErrorLog = nil
			t.Cleanup(s.Close)
			client := new(http.Client)
			if tt.trust {
				client = s.Client()
			}
			h := start(t, bridge.Options{URL: strings.Replace(s.URL, "http://", "https://", 1), HTTP: client, Logger: logger(t)})
			h.send(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
			got := h.response("1")
			message := get(t, got, "error", "message")
			if get(t, got, "error", "code") != strconv.Itoa(bridge.CodeUnreachable) || get(t, got, "error", "data", "reason") != `"tls"` || !strings.Contains(message, tt.says) {
				t.Errorf("got %s", got)
			}
			if strings.Contains(message, "Post ") || get(t, got, "error", "data", "retryable") != "" {
				t.Errorf("got %s", got)
			}
		})
	}
}

// TestReplyLater has a server that is not ready for the host's reply: it waits for
// it, and so would the call for ever.
func TestReplyLater(t *testing.T) {
	replied := make(chan string, 3)
	s := &sessions{stream: make(chan string)}
	var posted atomic.Int32
	h := start(t, bridge.Options{Logger: logger(t), URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), `"roots"`) {
			if posted.Add(1) == 1 {
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			replied <- string(body)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		s.ServeHTTP(w, r)
	})})
	h.hello()
	send(t, s.stream, "data: {\"jsonrpc\":\"2.0\",\"id\":\"ask\",\"method\":\"roots/list\"}\n\n")
	h.note("roots/list")
	reply := `{"jsonrpc":"2.0","id":"ask","result":{"roots":[]}}`
	h.send(reply)
	if got := receive(t, replied); got != reply {
		t.Errorf("the server got %s", got)
	}
}
