package bridge_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// A rejection may have a body of another protocol, with an error member that is
// none of JSON-RPC's. It goes to no host, and means nothing for the server's era.
func TestRejectionOfAnotherProtocol(t *testing.T) {
	for _, body := range []string{
		`{"error":"insufficient_scope","error_description":"no"}`,
		`{"error":{"code":403,"message":"no","status":"PERMISSION_DENIED"}}`,
		`{"jsonrpc":"2.0","id":1,"error":"no"}`,
	} {
		h := start(t, bridge.Options{URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
			got := readRequest(r)
			if got.method == "initialize" {
				result(w, got.id, initialized)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, body)
		})})
		h.send(`{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`)
		if got := h.response("1"); get(t, got, "jsonrpc") != `"2.0"` || get(t, got, "error", "data", "reason") != `"rejected"` {
			t.Errorf("%s reaches the host as %s", body, got)
		}
		// Were the server taken for a modern one, this would be translated for it.
		if got := h.hello(); get(t, got, "result") != initialized {
			t.Errorf("after %s, initialize has the response %s", body, got)
		}
	}
}

func TestRejections(t *testing.T) {
	for _, tt := range []struct {
		name   string
		serve  func(w http.ResponseWriter, n int, got request)
		want   string // the result, or the code of the error
		times  int32  // how often the request came
		within time.Duration
	}{
		{"429 with Retry-After", func(w http.ResponseWriter, n int, got request) {
			if n == 1 {
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(429)
				return
			}
			result(w, got.id, `{}`)
		}, `{}`, 2, 0},
		{"429 for ever", func(w http.ResponseWriter, n int, got request) {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(429)
		}, "-31006", 3, 0},
		// A suspicion: a ping, a new session, and the request once more.
		{"503 without Retry-After", func(w http.ResponseWriter, _ int, _ request) { w.WriteHeader(503) }, "-31006", 3, 0},
		{"503 with a long Retry-After", func(w http.ResponseWriter, _ int, _ request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(503)
		}, "-31006", 3, 0},
		{"500", func(w http.ResponseWriter, _ int, _ request) { w.WriteHeader(500) }, "-31004", 1, 0},
		{"401", func(w http.ResponseWriter, _ int, _ request) { w.WriteHeader(401) }, "-31002", 1, 0},
		{"403", func(w http.ResponseWriter, _ int, _ request) { w.WriteHeader(403) }, "-31006", 1, 0},
		{"400 with an error of the server's own", func(w http.ResponseWriter, _ int, got request) {
			w.WriteHeader(400)
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-7,"message":"own","x":1.0}}`, got.id)
		}, "-7", 1, 0},
		{"400 with an error without id", func(w http.ResponseWriter, _ int, _ request) {
			w.WriteHeader(400)
			io.WriteString(w, `{"jsonrpc":"2.0","id":null,"error":{"code":-8,"message":"own"}}`)
		}, "-8", 3, 0},
		{"400 with an error with a foreign id", func(w http.ResponseWriter, _ int, _ request) {
			w.WriteHeader(400)
			io.WriteString(w, `{"jsonrpc":"2.0","id":"server-error","error":{"code":-9,"message":"own"}}`)
		}, "-9", 3, 0},
		{"a page", func(w http.ResponseWriter, _ int, _ request) {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<html>")
		}, "-31003", 1, 0},
		{"half a response", func(w http.ResponseWriter, _ int, _ request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":`)
		}, "-31003", 1, 0},
		{"a connection that breaks in the response", func(w http.ResponseWriter, _ int, _ request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, `{"jsonrpc":"2.0"`)
			panic(http.ErrAbortHandler)
		}, "-31004", 1, 0},
		{"a connection that breaks before the response", func(w http.ResponseWriter, _ int, _ request) {
			panic(http.ErrAbortHandler)
		}, "-31004", 1, 0},
		{"another id", func(w http.ResponseWriter, _ int, _ request) { result(w, "1.0", `{"big":1e400}`) }, `{"big":1e400}`, 1, 0},
		{"not a response", func(w http.ResponseWriter, _ int, _ request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"jsonrpc":"2.0","method":"x"}`)
		}, "-31003", 1, 0},
		{"too much", func(w http.ResponseWriter, _ int, got request) {
			result(w, got.id, `"`+strings.Repeat("x", 2<<20)+`"`)
		}, "-31003", 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var n atomic.Int32
			s := &sessions{serve: func(w http.ResponseWriter, _ *http.Request, got request) { tt.serve(w, int(n.Add(1)), got) }}
			h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP), MaxMessage: 1 << 20})
			h.hello()
			h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}`)
			got := h.response("1")
			if result := get(t, got, "result"); result != "" {
				if result != tt.want {
					t.Errorf("got %s", got)
				}
			} else if code := get(t, got, "error", "code"); code != tt.want {
				t.Errorf("got %s", got)
			}
			if n.Load() != tt.times {
				t.Errorf("the request came %d times", n.Load())
			}
			h.send(`{"jsonrpc":"2.0","id":2,"method":"ping"}`)
			h.response("2")
		})
	}
}
