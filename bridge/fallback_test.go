package bridge_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// TestFallBackToSSE has a server of HTTP+SSE reject initialize in the ways that the
// specification names, and in those of frameworks.
func TestFallBackToSSE(t *testing.T) {
	for name, reject := range map[string]func(w http.ResponseWriter, got request){
		"404 with -32601":  rejects(404, "application/json", `{"jsonrpc":"2.0","id":$ID,"error":{"code":-32601,"message":"Method not found"}}`),
		"404 with id null": rejects(404, "application/json", `{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}`),
		"400 with -32600":  rejects(400, "application/json", `{"jsonrpc":"2.0","id":$ID,"error":{"code":-32600,"message":"no"}}`),
		"400":              rejects(400, "", ""),
		"402":              rejects(402, "", ""),
		"403":              rejects(403, "text/html", "this distribution allows only GET"),
		"404":              rejects(404, "", ""),
		"405":              rejects(405, "", ""),
		"406":              rejects(406, "", ""),
		"409":              rejects(409, "", ""),
		"410":              rejects(410, "", ""),
		"411":              rejects(411, "", ""),
		"415":              rejects(415, "", ""),
		"418":              rejects(418, "", ""),
		"422":              rejects(422, "", ""),
	} {
		t.Run(name, func(t *testing.T) {
			s := &stateful{offers: `{"tools":{}}`}
			sse := s.overSSE(rejects(404, "", ""))
			h := start(t, bridge.Options{Logger: logger(t), URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost && r.URL.Query().Get("sessionId") == "" {
					reject(w, readRequest(r))
					return
				}
				sse(w, r)
			})})
			if got := h.hello(); get(t, got, "result") == "" {
				t.Fatalf("got %s", got)
			}
			h.send(toolCall(1))
			if got := h.response("1"); get(t, got, "result") != "{}" {
				t.Errorf("got %s", got)
			}
		})
	}
}

// TestNoFallBack leaves a rejection that means nothing for the transport, or that a server
// without a stream gave, as the response to initialize.
func TestNoFallBack(t *testing.T) {
	for _, status := range []int{404, 407, 413} {
		var streams atomic.Int32
		h := start(t, bridge.Options{Logger: logger(t), URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				streams.Add(1)
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			rejects(status, "application/json", `{"jsonrpc":"2.0","id":$ID,"error":{"code":-7,"message":"own"}}`)(w, readRequest(r))
		})})
		h.send(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
		if got := h.response("1"); get(t, got, "error", "code") != "-7" {
			t.Errorf("%d: got %s", status, got)
		}
		if n := streams.Load(); n != b2i(status == 404) {
			t.Errorf("%d: %d streams were asked for", status, n)
		}
	}
}

func b2i(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

// TestStreamIsNoFallBack has a server respond to initialize with an error and offer a stream that
// is not one of HTTP+SSE: the host gets the error, in time.
func TestStreamIsNoFallBack(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		h := startInMemory(t, memory(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				openStream(w)
				<-r.Context().Done()
				return
			}
			rejects(400, "application/json", `{"jsonrpc":"2.0","id":$ID,"error":{"code":-32602,"message":"no such version"}}`)(w, readRequest(r))
		}), nil)
		began := time.Now()
		if got := h.hello(); get(t, got, "error", "code") != "-32602" || time.Since(began) > 5*time.Second {
			t.Errorf("after %v: %s", time.Since(began), got)
		}
	})
}
