package bridge_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/handstamp/handstamp/bridge"
)

func modernRequest(id, method, params string) string {
	if params != "" {
		params += ","
	}
	return `{"jsonrpc":"2.0","id":` + id + `,"method":"` + method + `","params":{` + params + `"_meta":` + modernMeta + `}}`
}

// TestDiscoverOnLegacyServer has a server of before reject server/discover in
// several ways: the host gets that, and is translated for only if it goes on in
// its own era.
func TestDiscoverOnLegacyServer(t *testing.T) {
	for name, reject := range map[string]func(w http.ResponseWriter, id string){
		"no session": func(w http.ResponseWriter, _ string) { w.WriteHeader(http.StatusBadRequest) },
		"not here":   func(w http.ResponseWriter, _ string) { w.WriteHeader(http.StatusMethodNotAllowed) },
		"own words": func(w http.ResponseWriter, id string) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, `{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: Server not initialized"}}`)
		},
		"no method": func(w http.ResponseWriter, id string) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"jsonrpc":"2.0","id":`+id+`,"error":{"code":-32601,"message":"Method not found"}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sessions{}
			h := start(t, bridge.Options{Wire: bridge.WireHTTP, Logger: logger(t), URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Mcp-Method") != "" {
					reject(w, readRequest(r).id)
					return
				}
				s.ServeHTTP(w, r)
			})})
			h.send(modernRequest("1", "server/discover", ""))
			if got := h.response("1"); get(t, got, "error") == "" {
				t.Fatalf("got %s", got)
			}
			if s.begun != 0 {
				t.Error("a session has begun")
			}
			h.send(modernRequest("3", "tools/list", ""))
			if got := h.response("3"); get(t, got, "result", "resultType") != `"complete"` {
				t.Fatalf("got %s", got)
			}
			h.send(modernRequest("4", "server/discover", ""))
			if got := h.response("4"); get(t, got, "result", "supportedVersions") != `["2026-07-28"]` {
				t.Errorf("got %s", got)
			}
			if hello := s.last("initialize"); get(t, hello.body, "params", "clientInfo", "name") != `"t"` {
				t.Errorf("the session began with %s", hello.body)
			}
		})
	}
}

// TestFallback is what a host of both eras does on a server of before.
func TestFallback(t *testing.T) {
	s := &sessions{}
	h := start(t, bridge.Options{URL: serve(t, ofBefore(s.ServeHTTP))})
	h.send(modernRequest("1", "server/discover", ""))
	h.response("1")
	if got := h.hello(); get(t, got, "result") != initialized {
		t.Errorf("initialize has the response %s", got)
	}
	h.send(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)
	if got := h.response("2"); get(t, got, "result") != "{}" {
		t.Errorf("got %s", got)
	}
}
