package bridge_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// TestHostReplyToRequestOfReplacedSession has a host respond to a server's request after the
// session of that was replaced: the new session, which may have a request with the same id of
// its own, never gets it.
func TestHostReplyToRequestOfReplacedSession(t *testing.T) {
	ask := func(id int, what string) string {
		return fmt.Sprintf("data: {\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"elicitation/create\",\"params\":{\"message\":%q}}\n\n", id, what)
	}
	reply := func(id int, what string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":{"action":%q}}`, id, what)
	}
	for name, replace := range map[string]func(h *host, s *sessions){
		"forgotten": func(h *host, s *sessions) {
			s.forget()
			h.send(streamCall("2"))
			h.response("2")
			for _, id := range []string{"0", "1"} {
				h.wait("cancellation of "+id, func(line string) bool {
					return strings.Contains(line, `"notifications/cancelled"`) && strings.Contains(line, `"requestId":`+id+`,`)
				})
			}
		},
		"a second initialize": func(h *host, _ *sessions) { h.helloAgain(`"again"`) },
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, func(t *testing.T) {
				s := &sessions{stream: make(chan string)}
				h := startInMemory(t, memory(s.ServeHTTP), nil)
				h.hello()
				s.stream <- ask(7, "done")
				h.note("elicitation/create")
				h.send(reply(7, "first"))
				<-time.After(time.Second) // a response under way would end with its session
				s.stream <- ask(0, "old?")
				h.note("elicitation/create")
				s.stream <- ask(1, "old, too?")
				h.note("elicitation/create")
				replace(h, s)
				h.send(reply(0, "stale"))
				<-time.After(time.Second)
				s.stream <- ask(0, "new?")
				h.note("elicitation/create")
				h.send(reply(0, "second"))
				<-time.After(time.Second)
				h.send(reply(1, "stale"))
				<-time.After(time.Second)
				s.stream <- ask(7, "new?")
				h.note("elicitation/create")
				h.send(reply(7, "third"))
				<-time.After(time.Second)
				s.mu.Lock()
				defer s.mu.Unlock()
				var got []string
				for _, m := range s.seen {
					if m.method == "" && m.id != "" {
						got = append(got, strings.Trim(get(t, m.body, "result", "action"), `"`)+"@"+m.header.Get("Mcp-Session-Id"))
					}
				}
				if want := "first@session-1 second@session-2 third@session-2"; strings.Join(got, " ") != want {
					t.Errorf("the server got %q, not %q", got, want)
				}
			})
		})
	}
}

// TestHostReplyToRequestOfEndedStream is that for HTTP+SSE, where the stream is the session.
func TestHostReplyToRequestOfEndedStream(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := &stateful{offers: `{"tools":{}}`}
		sse := s.overSSE(rejects(404, "", ""))
		var mu sync.Mutex
		var got []string
		h := startInMemory(t, memory(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				body, _ := io.ReadAll(r.Body)
				if strings.Contains(string(body), "action") {
					mu.Lock()
					got = append(got, get(t, string(body), "result", "action")+"@"+r.URL.Query().Get("sessionId"))
					mu.Unlock()
				}
				r.Body = io.NopCloser(strings.NewReader(string(body)))
			}
			sse(w, r)
		}), func(o *bridge.Options) { o.Wire = bridge.WireSSE })
		h.hello()
		for i, name := range []string{"stale", "fresh"} {
			s.willAsk(`{"jsonrpc":"2.0","id":0,"method":"elicitation/create","params":{}}`)
			h.send(toolCall(i))
			h.response(fmt.Sprint(i))
			h.note("elicitation/create")
			s.willAsk("")
			if i == 0 {
				s.forget()
				h.send(toolCall(10))
				h.response("10")
				h.note("notifications/cancelled")
			}
			h.send(`{"jsonrpc":"2.0","id":0,"result":{"action":"` + name + `"}}`)
			<-time.After(time.Second)
		}
		mu.Lock()
		defer mu.Unlock()
		if strings.Join(got, " ") != `"fresh"@s2` {
			t.Errorf("the server got %q", got)
		}
	})
}
