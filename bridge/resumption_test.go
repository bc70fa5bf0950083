package bridge_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// elsewhere is a server that keeps its sessions, but rejects one call, and the ping after it, as
// an instance does that does not know the session. A session that is deleted ends what is under
// way on it.
type elsewhere struct {
	sessions
	reject func(w http.ResponseWriter)

	mu      sync.Mutex // guards what follows
	lost    bool       // it is the other instance's turn
	resumed []string   // the session and the event of each resumption
	deleted chan struct{}
}

func (s *elsewhere) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	got := readRequest(r)
	first := r.Header.Get("Mcp-Session-Id") == "session-1"
	s.mu.Lock()
	if strings.Contains(got.body, `"elsewhere"`) && first {
		s.lost = true
	}
	lost := s.lost && first && (got.method == "ping" || strings.Contains(got.body, `"elsewhere"`))
	s.mu.Unlock()
	switch {
	case lost:
		s.reject(w)
	case r.Method == http.MethodDelete && first:
		close(s.deleted)
		s.respond(w, r, got)
	case r.Method == http.MethodGet && r.Header.Get("Last-Event-Id") != "":
		s.mu.Lock()
		s.resumed = append(s.resumed, r.Header.Get("Mcp-Session-Id")+" "+r.Header.Get("Last-Event-Id"))
		s.mu.Unlock()
		openStream(w)
		s.later(w, r, event(`{"jsonrpc":"2.0","id":1,"result":{}}`))
	default:
		s.respond(w, r, got)
	}
}

// later sends the rest of a response after a while, unless its session is deleted before.
func (s *elsewhere) later(w http.ResponseWriter, r *http.Request, rest string) {
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	select {
	case <-s.deleted:
		panic(http.ErrAbortHandler)
	case <-ctx.Done():
		io.WriteString(w, rest)
	}
}

// TestReplacedSessionIsLeftToItsCalls replaces a session with a call under way on it, because the
// server has rejected another one. The first has its response all the same, and only then is the
// session deleted.
func TestReplacedSessionIsLeftToItsCalls(t *testing.T) {
	const body = `{"jsonrpc":"2.0","id":1,"result":{}}`
	rejections := map[string]func(w http.ResponseWriter){
		"404": func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
		"410": func(w http.ResponseWriter) { w.WriteHeader(http.StatusGone) },
		"400": func(w http.ResponseWriter) { http.Error(w, "no valid session ID", http.StatusBadRequest) },
		"200 with an error": func(w http.ResponseWriter) {
			writeBody(w, 200, "application/json", `{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"no session"}}`)
		},
	}
	for name, begin := range map[string]struct {
		respond func(s *elsewhere, w http.ResponseWriter, r *http.Request)
		resumed []string
	}{
		"JSON": {func(s *elsewhere, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			s.later(w, r, body)
		}, nil},
		"a stream": {func(s *elsewhere, w http.ResponseWriter, r *http.Request) {
			openStream(w)
			s.later(w, r, event(body))
		}, nil},
		"a stream that breaks": {func(_ *elsewhere, w http.ResponseWriter, _ *http.Request) {
			writeBody(w, 200, "text/event-stream", "id: e1\nretry: 3000\ndata:\n\n")
		}, []string{"session-1 e1"}},
	} {
		for status, reject := range rejections {
			t.Run(fmt.Sprint(name, ", ", status), func(t *testing.T) {
				inMemory(t, func(t *testing.T) {
					s := &elsewhere{reject: reject, deleted: make(chan struct{})}
					s.many = true
					s.serve = func(w http.ResponseWriter, r *http.Request, got request) {
						if got.id == "1" {
							begin.respond(s, w, r)
							return
						}
						result(w, got.id, `{}`)
					}
					h := startInMemory(t, memory(s.ServeHTTP), nil)
					h.hello()
					h.send(streamCall("1"))
					synctest.Wait()
					h.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"elsewhere"}}`)
					if got := h.response("2"); get(t, got, "result") != "{}" {
						t.Errorf("got %s", got)
					}
					if got := h.response("1"); get(t, got, "result") != "{}" {
						t.Errorf("got %s", got)
					}
					synctest.Wait()
					s.sessions.mu.Lock()
					defer s.sessions.mu.Unlock()
					if s.begun != 2 || !slices.Equal(s.ended, []string{"session-1"}) {
						t.Errorf("%d sessions begun, ended: %q", s.begun, s.ended)
					}
					if !slices.Equal(s.resumed, begin.resumed) {
						t.Errorf("resumed: %q, want %q", s.resumed, begin.resumed)
					}
				})
			})
		}
	}
}
