package bridge_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

func modernRequest(id, method, params string) string {
	if params != "" {
		params += ","
	}
	return `{"jsonrpc":"2.0","id":` + id + `,"method":"` + method + `","params":{` + params + `"_meta":` + modernMeta + `}}`
}

// TestDiscoverOnLegacyServer has a server of before refuse server/discover in
// several ways: the host hears it, and is translated for only if it goes on in
// its own era.
func TestDiscoverOnLegacyServer(t *testing.T) {
	for name, refuse := range map[string]func(w http.ResponseWriter, id string){
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
					refuse(w, readRequest(r).id)
					return
				}
				s.ServeHTTP(w, r)
			})})
			h.send(modernRequest("1", "server/discover", ""))
			if got := h.answer("1"); get(t, got, "error") == "" {
				t.Fatalf("got %s", got)
			}
			if s.begun != 0 {
				t.Error("a session has begun")
			}
			h.send(modernRequest("3", "tools/list", ""))
			if got := h.answer("3"); get(t, got, "result", "resultType") != `"complete"` {
				t.Fatalf("got %s", got)
			}
			h.send(modernRequest("4", "server/discover", ""))
			if got := h.answer("4"); get(t, got, "result", "supportedVersions") != `["2026-07-28"]` {
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
	h := start(t, bridge.Options{URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Mcp-Method") != "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.ServeHTTP(w, r)
	})})
	h.send(modernRequest("1", "server/discover", ""))
	h.answer("1")
	if got := h.hello(); get(t, got, "result") != initialized {
		t.Errorf("initialize is answered with %s", got)
	}
	h.send(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)
	if got := h.answer("2"); get(t, got, "result") != "{}" {
		t.Errorf("got %s", got)
	}
}

// TestListenForLegacyHost has a host of before on a modern server: what a session
// would bring by itself has to be listened for.
func TestListenForLegacyHost(t *testing.T) {
	listens, events := make(chan request, 10), make(chan string)
	s := &moderns{serve: func(w http.ResponseWriter, r *http.Request, got request, _ int) {
		if got.method != "subscriptions/listen" {
			result(w, got.id, `{}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, `data: {"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{}}`+"\n\n")
		_ = http.NewResponseController(w).Flush()
		listens <- got
		for {
			select {
			case e := <-events:
				io.WriteString(w, "data: "+e+"\n\n")
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	}}
	h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP), Logger: logger(t)})
	h.hello()
	if got := receive(t, listens); get(t, string(got.params), "notifications") != `{"toolsListChanged":true}` {
		t.Errorf("listens with %s", got.body)
	}
	send(t, events, `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
	h.note("notifications/tools/list_changed")
	h.send(`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"a:b"}}`)
	if got := h.answer("1"); get(t, got, "result") != "{}" {
		t.Errorf("got %s", got)
	}
	if got := receive(t, listens); get(t, string(got.params), "notifications") != `{"toolsListChanged":true,"resourceSubscriptions":["a:b"]}` {
		t.Errorf("listens with %s", got.body)
	}
	send(t, events, `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:b"}}`)
	h.note("notifications/resources/updated")
	h.send(`{"jsonrpc":"2.0","id":2,"method":"resources/unsubscribe","params":{"uri":"a:b"}}`)
	h.answer("2")
	if got := receive(t, listens); get(t, string(got.params), "notifications") != `{"toolsListChanged":true}` {
		t.Errorf("listens with %s", got.body)
	}
	for _, line := range h.all() {
		if strings.Contains(line, "acknowledged") {
			t.Errorf("the host hears of a subscription that it knows nothing of: %s", line)
		}
	}
}

// TestListenForModernHost has a modern host on a server of before: it hears what
// it has asked for, with its subscription's id, until it ends that.
func TestListenForModernHost(t *testing.T) {
	s := &sessions{stream: make(chan string)}
	h := start(t, bridge.Options{Logger: logger(t), URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Mcp-Method") != "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.ServeHTTP(w, r)
	})})
	h.send(modernRequest(`"l"`, "subscriptions/listen", `"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a:b"]}`))
	if got := h.note("notifications/subscriptions/acknowledged"); get(t, got, "params", "_meta", "io.modelcontextprotocol/subscriptionId") != `"l"` {
		t.Errorf("got %s", got)
	}
	if got := s.last("resources/subscribe"); get(t, string(got.params), "uri") != `"a:b"` {
		t.Errorf("subscribed with %s", got.body)
	}
	for _, e := range []string{
		`{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}`,
		`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"c:d"}}`,
		`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`,
		`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:b"}}`,
	} {
		send(t, s.stream, "data: "+e+"\n\n")
	}
	if got := h.note("notifications/resources/updated"); get(t, got, "params", "_meta", "io.modelcontextprotocol/subscriptionId") != `"l"` || get(t, got, "params", "uri") != `"a:b"` {
		t.Errorf("got %s", got)
	}
	if got := h.note("notifications/tools/list_changed"); get(t, got, "params", "_meta", "io.modelcontextprotocol/subscriptionId") != `"l"` {
		t.Errorf("got %s", got)
	}
	h.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"l"}}`)
	for deadline := time.Now().Add(patience); s.last("resources/unsubscribe").method == ""; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server is not told that the subscription is over")
		}
	}
	h.send(modernRequest(`"m"`, "subscriptions/listen", `"notifications":{"toolsListChanged":true}`))
	h.note("notifications/subscriptions/acknowledged")
	send(t, s.stream, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n")
	if got := h.note("notifications/tools/list_changed"); get(t, got, "params", "_meta", "io.modelcontextprotocol/subscriptionId") != `"m"` {
		t.Errorf("got %s", got)
	}
	if all := strings.Join(h.all(), "\n"); strings.Contains(all, "prompts/list_changed") || strings.Contains(all, "c:d") {
		t.Errorf("the host hears what it has not asked for:\n%s", all)
	}
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func send[T any](t *testing.T, to chan<- T, v T) {
	t.Helper()
	select {
	case to <- v:
	case <-time.After(patience):
		t.Fatal("nobody takes it")
	}
}
