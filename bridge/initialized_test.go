package bridge_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
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
// without: it is not sent to it again and again, and a session that replaces another works, too.
func TestInitializedRejectedForGood(t *testing.T) {
	for status, most := range map[int]int32{422: 1, 401: 2, 500: 2, 502: 10} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			inMemory(t, func(t *testing.T) {
				s, came := &sessions{}, new(atomic.Int32)
				h := startInMemory(t, memory(func(w http.ResponseWriter, r *http.Request) {
					got := readRequest(r)
					if got.method == "notifications/initialized" {
						came.Add(1)
						w.WriteHeader(status)
						return
					}
					s.respond(w, r, got)
				}), nil)
				h.hello()
				time.Sleep(3 * time.Second)
				for id := range 5 {
					h.send(toolCall(id))
					if got, took := h.responseWithin(fmt.Sprint(id), timeout); get(t, got, "result") == "" || took > time.Second {
						t.Errorf("after %v: %s", took, got)
					}
					time.Sleep(time.Minute)
				}
				if n := came.Load(); n > most {
					t.Errorf("notifications/initialized was sent %d times", n)
				}
				s.forget()
				h.send(toolCall(9))
				if got := h.response("9"); get(t, got, "result") == "" {
					t.Errorf("got %s", got)
				}
			})
		})
	}
}

// TestInitializedRejectedForGoodOverSSE is the same for the stream that is the session.
func TestInitializedRejectedForGoodOverSSE(t *testing.T) {
	for _, status := range []int{413, 422, 401, 403, 408, 425, 429, 500, 502, 503, 0} { // 0: no response
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sseServer{endpoint: "/messages"}
				s.post = func(w http.ResponseWriter, r *http.Request, got request) bool {
					rejected := got.method == "notifications/initialized"
					switch {
					case rejected && status == 0:
						<-r.Context().Done()
					case rejected:
						w.WriteHeader(status)
					}
					return rejected
				}
				h := start(t, bubbleServer(t, s.ServeHTTP))
				h.limit = time.Hour
				h.hello()
				for id := range 3 {
					h.send(toolCall(id))
					if got, took := h.responseWithin(fmt.Sprint(id), time.Minute); get(t, got, "result") == "" || took > 5*time.Second {
						t.Errorf("after %v: %s", took, got)
					}
					s.cut()
					synctest.Wait()
					if id == 0 { // the call after the next one does not find the stream that has come back
						time.Sleep(5 * time.Minute)
					}
				}
				if streams, begun := s.counts(); streams > 4 || begun > 4 {
					t.Errorf("%d streams, %d sessions", streams, begun)
				}
			})
		})
	}
}

// TestInitializedIsSentWithTheNextRequest has the server not take notifications/initialized for a
// reason that is not its own, or that the next request may end: it is sent once more before that.
func TestInitializedIsSentWithTheNextRequest(t *testing.T) {
	for _, status := range []int{401, 403, 408, 425, 500} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			inMemory(t, func(t *testing.T) {
				s := &strict{}
				s.accept = func(w http.ResponseWriter, _ *http.Request, n int) bool {
					if n == 1 {
						w.WriteHeader(status)
					}
					return n > 1
				}
				h := startInMemory(t, memory(s.ServeHTTP), nil)
				h.hello()
				for id := range 2 {
					h.send(toolCall(id))
					if got := h.response(fmt.Sprint(id)); get(t, got, "result") == "" {
						t.Errorf("got %s", got)
					}
				}
				if n := s.notified(); n != 2 {
					t.Errorf("notifications/initialized was sent %d times", n)
				}
			})
		})
	}
}

// TestInitializedAfterADeclinedLogin has the user decline to sign in for notifications/initialized,
// and sign in for the next request.
func TestInitializedAfterADeclinedLogin(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := &strict{accept: func(http.ResponseWriter, *http.Request, int) bool { return true }}
		user := new(bridge.User)
		d := newDoor(user)
		d.next = memory(s.ServeHTTP)
		h := startInMemory(t, wire(func(r *http.Request) (*http.Response, error) {
			if strings.Contains(body(r), "notifications/initialized") {
				return d.RoundTrip(r)
			}
			return d.next.RoundTrip(r)
		}), func(o *bridge.Options) { o.User, o.Explain = user, explainDoor })
		h.hello()
		d.fail <- struct{}{}
		h.send(toolCall(1))
		time.Sleep(time.Second)
		close(d.opened)
		if got := h.response("1"); get(t, got, "result") == "" {
			t.Errorf("got %s", got)
		}
	})
}

// TestInitializedWaitsAsLongAsTheServerWants has the server not take notifications/initialized yet
// and name the time.
func TestInitializedWaitsAsLongAsTheServerWants(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		var times []time.Time
		s := &strict{}
		s.accept = func(w http.ResponseWriter, _ *http.Request, n int) bool {
			times = append(times, time.Now())
			if n < 3 {
				w.Header().Set("Retry-After", "20")
				w.WriteHeader(http.StatusTooManyRequests)
			}
			return n > 2
		}
		h := startInMemory(t, memory(s.ServeHTTP), nil)
		h.hello()
		time.Sleep(time.Minute)
		h.send(toolCall(1))
		if got := h.response("1"); get(t, got, "result") == "" {
			t.Errorf("got %s", got)
		}
		for i := range times[1:] {
			if d := times[i+1].Sub(times[i]); d < 20*time.Second {
				t.Errorf("try %d came after %v", i+2, d)
			}
		}
	})
}

// TestOutageAfterInitialize has the server vanish when it has responded to initialize: what the host
// sends next is not held up by more than one try of notifications/initialized.
func TestOutageAfterInitialize(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		server := memory((&sessions{}).ServeHTTP)
		h := startInMemory(t, wire(func(r *http.Request) (*http.Response, error) {
			if !strings.Contains(body(r), `"initialize"`) {
				return rejectedDial(r)
			}
			return server.RoundTrip(r)
		}), nil)
		h.hello()
		h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
		if got, took := h.responseWithin("1", time.Minute); get(t, got, "error", "code") != "-31001" || took > 16*time.Second {
			t.Errorf("after %v: %s", took, got)
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
