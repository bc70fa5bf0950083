package bridge_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/bridge"
)

// TestUninitializedServerWithoutSessions has a server without session ids that was restarted: it
// responds to a ping, as it may before initialize, and rejects everything else. One initialize
// mends that; where it does not, the server's words are the error.
func TestUninitializedServerWithoutSessions(t *testing.T) {
	for name, tt := range map[string]struct {
		words func(w http.ResponseWriter, got request)
		helps bool // a new initialize
		begun int
	}{
		"plain text":          {rejects(400, "text/plain", "Server not initialized"), true, 2},
		"without a type":      {rejects(400, "", "not initialized\n"), true, 2},
		"British":             {rejects(400, "text/plain", "Not initialised yet"), true, 2},
		"JSON":                {rejects(400, "application/json", `{"error":"Initialize first"}`), true, 2},
		"JSON-RPC":            {rejects(400, "application/json", `{"jsonrpc":"2.0","id":null,"error":{"code":-32002,"message":"Server not initialized"}}`), true, 2},
		"JSON-RPC, 200":       {rejects(200, "application/json", `{"jsonrpc":"2.0","id":null,"error":{"code":-32002,"message":"Server not initialized"}}`), true, 2},
		"422":                 {rejects(422, "text/plain", "Server not initialized"), true, 2},
		"503":                 {rejects(503, "text/plain", "the database is not initialized"), false, 1},
		"does not help":       {rejects(400, "text/plain", "Server not initialized"), false, 2},
		"other words":         {rejects(400, "text/plain", "no such tool"), false, 1},
		"the request's error": {rejects(400, "application/json", `{"jsonrpc":"2.0","id":$ID,"error":{"code":-32002,"message":"Server not initialized"}}`), false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := &forgetful{bare: true}
			s.odd = func(w http.ResponseWriter, got request) bool {
				if got.id == "" || got.method != "tools/call" || s.sent("initialize") > 1 && tt.helps {
					return false
				}
				tt.words(w, got)
				return true
			}
			h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP), Logger: logger(t)})
			h.hello()
			for id := range 3 {
				h.send(toolCall(id))
				got := h.response(string(rune('0' + id)))
				if tt.helps != strings.Contains(got, `"result"`) {
					t.Errorf("got %s", got)
				}
				if !tt.helps && name != "other words" && !strings.Contains(got, "not initialized") {
					t.Errorf("the error does not have the server's words: %s", got)
				}
			}
			if n := s.count("initialize"); n != tt.begun {
				t.Errorf("%d sessions have begun, want %d", n, tt.begun)
			}
		})
	}
}

// TestWordsAboutInitializeDoNotEndTheStreamOfSSE: there the stream is the session, and the
// requests of a stream that lives have their responses on it.
func TestWordsAboutInitializeDoNotEndTheStreamOfSSE(t *testing.T) {
	for name, words := range map[string]func(w http.ResponseWriter, got request){
		"text":          rejects(400, "text/plain", "the plugin could not be initialized"),
		"JSON":          rejects(400, "application/json", `{"error":"initialize the database first"}`),
		"JSON-RPC":      rejects(400, "application/json", `{"jsonrpc":"2.0","id":null,"error":{"code":-32002,"message":"not initialized"}}`),
		"JSON-RPC, 422": rejects(422, "application/json", `{"jsonrpc":"2.0","id":null,"error":{"code":-32002,"message":"not initialised"}}`),
	} {
		t.Run(name, func(t *testing.T) {
			s := &sseServer{endpoint: "/messages"}
			posted := make(chan struct{})
			s.post = func(w http.ResponseWriter, _ *http.Request, got request) bool {
				switch got.id {
				case "1":
					w.WriteHeader(http.StatusAccepted)
					close(posted)
				case "2":
					words(w, got)
				default:
					return false
				}
				return true
			}
			h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP), Logger: logger(t)})
			h.hello()
			h.send(toolCall(1))
			<-posted
			h.send(toolCall(2))
			if got := h.response("2"); !strings.Contains(got, "initiali") {
				t.Errorf("got %s", got)
			}
			s.send(`{"jsonrpc":"2.0","id":1,"result":{}}`)
			if got := h.response("1"); get(t, got, "result") != "{}" {
				t.Errorf("got %s", got)
			}
			if streams, begun := s.counts(); streams != 1 || begun != 1 {
				t.Errorf("%d streams, %d sessions", streams, begun)
			}
		})
	}
}
