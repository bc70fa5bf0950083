package bridge_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// strict is a server with sessions that rejects every request of a session before it has accepted
// that session's notifications/initialized.
type strict struct {
	sessions
	accept func(w http.ResponseWriter, r *http.Request, n int) bool // reports whether it does, counted from 1

	mu    sync.Mutex // guards what follows
	came  int
	ready map[string]bool
}

func (s *strict) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.serveRead(w, r, readRequest(r))
}

// serveRead responds to a request whose body was read.
func (s *strict) serveRead(w http.ResponseWriter, r *http.Request, got request) {
	id := r.Header.Get("Mcp-Session-Id")
	if got.method == "notifications/initialized" {
		s.mu.Lock()
		s.came++
		n := s.came
		s.mu.Unlock()
		if !s.accept(w, r, n) {
			return
		}
		s.mu.Lock()
		if s.ready == nil {
			s.ready = make(map[string]bool)
		}
		s.ready[id] = true
		s.mu.Unlock()
	}
	s.mu.Lock()
	early := got.id != "" && got.method != "initialize" && id != "" && !s.ready[id]
	s.mu.Unlock()
	if early {
		rejects(200, "application/json", `{"jsonrpc":"2.0","id":$ID,"error":{"code":-32602,"message":"Invalid request parameters"}}`)(w, got)
		return
	}
	s.respond(w, r, got)
}

// notified returns how often notifications/initialized came.
func (s *strict) notified() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.came
}

// TestInitializedIsSentUntilItIsTaken has the server, or what is before it, restart just when a
// session has begun: the first, and one that replaces it.
func TestInitializedIsSentUntilItIsTaken(t *testing.T) {
	status := func(status int) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	for name, fails := range map[string]func(http.ResponseWriter, *http.Request){
		"502": status(502), "503": status(503), "504": status(504), "429": status(429),
		"the connection breaks": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		for _, modern := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", modern), func(t *testing.T) {
				inMemory(t, func(t *testing.T) {
					s := &strict{}
					s.accept = func(w http.ResponseWriter, r *http.Request, n int) bool {
						if n%3 > 0 { // all but the third for each session
							fails(w, r)
						}
						return n%3 == 0
					}
					h := startInMemory(t, memory(ofBefore(s.ServeHTTP)), nil)
					call := toolCall
					if modern {
						call = func(id int) string { return modernRequest(fmt.Sprint(id), "tools/call", `"name":"x"`) }
					} else {
						h.hello()
					}
					for id := range 2 {
						h.send(call(id))
						if got := h.response(fmt.Sprint(id)); get(t, got, "result") == "" {
							t.Errorf("got %s", got)
						}
						s.forget()
					}
					if n := s.notified(); n != 6 {
						t.Errorf("notifications/initialized was sent %d times", n)
					}
				})
			})
		}
	}
}

// TestInitializedIsSentAfterAnOutage has the server not take notifications/initialized for longer
// than that is tried: it is sent before the next request.
func TestInitializedIsSentAfterAnOutage(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s, began := &strict{}, time.Now()
		s.accept = func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			away := time.Since(began) < 3*time.Minute
			if away {
				w.WriteHeader(http.StatusBadGateway)
			}
			return !away
		}
		h := startInMemory(t, memory(s.ServeHTTP), nil)
		h.hello()
		h.send(toolCall(1))
		if got, took := h.responseWithin("1", timeout); get(t, got, "error") == "" || took > 3*time.Second {
			t.Errorf("after %v: %s", took, got)
		}
		time.Sleep(5 * time.Minute)
		for id := range 3 {
			h.send(toolCall(10 + id))
			if got := h.response(fmt.Sprint(10 + id)); get(t, got, "result") == "" {
				t.Errorf("got %s", got)
			}
		}
		if n := s.notified(); n > 60 {
			t.Errorf("notifications/initialized was sent %d times", n)
		}
	})
}

// TestInitializedRejectedForGood has a server that never takes notifications/initialized and works
// without: it is not sent to it again and again.
func TestInitializedRejectedForGood(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s, came := &sessions{}, new(atomic.Int32)
		h := startInMemory(t, memory(func(w http.ResponseWriter, r *http.Request) {
			got := readRequest(r)
			if got.method == "notifications/initialized" {
				came.Add(1)
				w.WriteHeader(http.StatusUnprocessableEntity)
				return
			}
			s.respond(w, r, got)
		}), nil)
		h.hello()
		for id := range 5 {
			h.send(toolCall(id))
			if got, took := h.responseWithin(fmt.Sprint(id), timeout); get(t, got, "result") == "" || took > time.Second {
				t.Errorf("after %v: %s", took, got)
			}
			time.Sleep(time.Minute)
		}
		if n := came.Load(); n != 1 {
			t.Errorf("notifications/initialized was sent %d times", n)
		}
	})
}

// TestNothingOvertakesInitialized has a host of 2026-07-28 begin with several requests at once: a
// server of before gets them when it has accepted notifications/initialized.
func TestNothingOvertakesInitialized(t *testing.T) {
	for _, discovers := range []bool{true, false} {
		t.Run(fmt.Sprint(discovers), func(t *testing.T) {
			inMemory(t, func(t *testing.T) {
				s := &strict{}
				s.accept = func(_ http.ResponseWriter, r *http.Request, _ int) bool {
					takes(r, 300*time.Millisecond)
					return true
				}
				h := startInMemory(t, memory(ofBefore(s.ServeHTTP)), nil)
				if discovers {
					h.send(modernRequest(`"d"`, "server/discover", ""))
					h.response(`"d"`)
				}
				methods := []string{"tools/list", "prompts/list", "resources/list", "tools/call", "tools/call"}
				for i, method := range methods {
					if i > 2 {
						time.Sleep(100 * time.Millisecond)
					}
					h.send(modernRequest(fmt.Sprint(i), method, `"name":"x"`))
				}
				for i := range methods {
					if got := h.response(fmt.Sprint(i)); get(t, got, "result") == "" {
						t.Errorf("got %s", got)
					}
				}
				if n := s.notified(); n != 1 {
					t.Errorf("notifications/initialized was sent %d times", n)
				}
			})
		})
	}
}

// TestNothingOvertakesInitializedAfterALogin is the same for requests that wait for the user.
func TestNothingOvertakesInitializedAfterALogin(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := &strict{}
		s.accept = func(_ http.ResponseWriter, r *http.Request, _ int) bool {
			takes(r, 300*time.Millisecond)
			return true
		}
		user := new(bridge.User)
		d := newDoor(user)
		d.next = memory(ofBefore(s.ServeHTTP))
		h := startInMemory(t, d, func(o *bridge.Options) { o.User, o.Explain = user, explainDoor })
		h.send(modernRequest(`"d"`, "server/discover", ""))
		h.response(`"d"`)
		for i := range 4 {
			h.send(modernRequest(fmt.Sprint(i), "tools/call", `"name":"x"`))
		}
		time.Sleep(time.Second)
		close(d.opened)
		for i := range 4 {
			if got := h.response(fmt.Sprint(i)); get(t, got, "result") == "" {
				t.Errorf("got %s", got)
			}
		}
	})
}
