package bridge_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestResponseOnSessionStream has the same servers send the response on the session's stream
// later.
func TestResponseOnSessionStream(t *testing.T) {
	for name, tt := range withoutResponse {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newLateServer(true, func(w http.ResponseWriter, _ *http.Request, _ request) { tt.serve(w) })
				h := start(t, bubbleServer(t, s.ServeHTTP))
				h.hello()
				h.send(streamCall("1"))
				time.Sleep(4 * time.Minute)
				s.out <- `{"jsonrpc":"2.0","id":1,"result":{"late":true}}`
				if got, _ := h.responseWithin("1", time.Second); got != `{"jsonrpc":"2.0","id":1,"result":{"late":true}}` {
					t.Errorf("got %s", got)
				}
			})
		})
	}
}

// TestResponseOnSessionStreamFirst has the response come on the session's stream while the POST
// goes on: without a head, without an end, or with the response once more.
func TestResponseOnSessionStreamFirst(t *testing.T) {
	for name, serve := range map[string]func(w http.ResponseWriter, r *http.Request, id string){
		"no head": func(_ http.ResponseWriter, r *http.Request, _ string) { <-r.Context().Done() },
		"202 without end": func(w http.ResponseWriter, r *http.Request, _ string) {
			w.WriteHeader(202)
			flushHead(w)
			<-r.Context().Done()
		},
		"JSON without end": func(w http.ResponseWriter, r *http.Request, _ string) {
			writeBody(w, 200, "application/json", "{")
			flushHead(w)
			<-r.Context().Done()
		},
		"stream without end": func(w http.ResponseWriter, r *http.Request, _ string) { openStream(w); <-r.Context().Done() },
		"once more":          func(w http.ResponseWriter, _ *http.Request, id string) { time.Sleep(time.Second); result(w, id, "{}") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				over := make(chan struct{}, 1)
				var s *lateServer
				s = newLateServer(true, func(w http.ResponseWriter, r *http.Request, got request) {
					if got.method == "ping" {
						result(w, got.id, "{}")
						return
					}
					s.out <- `{"jsonrpc":"2.0","id":` + got.id + `,"result":{"first":true}}`
					serve(w, r, got.id)
					over <- struct{}{}
				})
				h := start(t, bubbleServer(t, s.ServeHTTP))
				h.hello()
				h.send(streamCall("1"))
				if got := h.response("1"); get(t, got, "result", "first") != "true" {
					t.Errorf("got %s", got)
				}
				select {
				case <-over:
				case <-time.After(timeout):
					t.Error("the POST goes on for ever")
				}
				h.send(`{"jsonrpc":"2.0","id":2,"method":"ping"}`)
				h.response("2")
				if n := len(h.all()); n != 3 {
					t.Errorf("the host got %d lines", n)
				}
			})
		})
	}
}

// TestStreamEndsWhileResponseIsLate has the session's stream end while a response is expected on
// it. If it opens again within 30 s, the response may still come.
func TestStreamEndsWhileResponseIsLate(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		down   time.Duration
		comes  bool
	}{
		"comes back":           {503, 8 * time.Second, true},
		"comes back from 409":  {409, 8 * time.Second, true},
		"does not":             {503, time.Hour, false},
		"is gone":              {405, time.Hour, false},
		"head that never came": {0, time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newLateServer(true, func(w http.ResponseWriter, _ *http.Request, got request) {
					if got.method == "ping" {
						result(w, got.id, "{}")
						return
					}
					w.WriteHeader(202)
				})
				var ended time.Time
				open := s.get
				again := newLateServer(true, nil)
				again.out = s.out
				s.get = func(w http.ResponseWriter, r *http.Request, n int) {
					switch {
					case n > 0 && time.Since(ended) < tt.down && tt.status != 0:
						w.WriteHeader(tt.status)
					case tt.status == 0:
						<-r.Context().Done()
					case n > 0:
						again.get(w, r, n)
					default:
						open(w, r, n)
					}
				}
				h := start(t, bubbleServer(t, s.ServeHTTP))
				h.hello()
				h.send(streamCall("1"))
				time.Sleep(10 * time.Second)
				ended = time.Now()
				close(s.cut)
				if tt.comes {
					time.Sleep(time.Minute)
					s.out <- `{"jsonrpc":"2.0","id":1,"result":{}}`
				}
				got, took := h.responseWithin("1", 2*timeout)
				if tt.comes != (get(t, got, "result") == "{}") {
					t.Errorf("got %s", got)
				}
				if !tt.comes && took > 31*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// TestResumedStreamThatBringsNothing has request streams with event ids that end without the
// response, and servers that deal with their resumption in several ways.
func TestResumedStreamThatBringsNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		resume func(w http.ResponseWriter, r *http.Request, n int)
		most   time.Duration
		tries  int
		comes  bool
	}{
		"404":          {func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(404) }, 30 * time.Second, 1, false},
		"405":          {func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(405) }, 30 * time.Second, 1, false},
		"a page":       {func(w http.ResponseWriter, _ *http.Request, _ int) { io.WriteString(w, "<html>") }, 30 * time.Second, 1, false},
		"503":          {func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(503) }, 31 * time.Second, 6, false},
		"ends at once": {func(w http.ResponseWriter, _ *http.Request, _ int) { openStream(w) }, 5*time.Minute + time.Second, 15, false},
		"the same id": {func(w http.ResponseWriter, _ *http.Request, _ int) {
			writeBody(w, 200, "text/event-stream", "id: a\nretry: 1\ndata:\n\n")
		}, 5*time.Minute + 2*time.Second, 0, false},
		"is silent":       {func(w http.ResponseWriter, r *http.Request, _ int) { openStream(w); <-r.Context().Done() }, 5*time.Minute + 2*time.Second, 1, false},
		"503 for a while": {func(w http.ResponseWriter, _ *http.Request, n int) { afterBusy(w, n < 4) }, 31 * time.Second, 5, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newLateServer(false, func(w http.ResponseWriter, _ *http.Request, _ request) {
					writeBody(w, 200, "text/event-stream", "id: a\nretry: 1\ndata:\n\n")
				})
				n := 0
				h := start(t, bubbleServer(t, func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Last-Event-Id") != "" {
						n++
						tt.resume(w, r, n-1)
						return
					}
					s.ServeHTTP(w, r)
				}))
				h.hello()
				h.send(streamCall("1"))
				got, took := h.responseWithin("1", tt.most)
				if tt.comes != (get(t, got, "result") != "") {
					t.Errorf("got %s", got)
				}
				if tt.tries > 0 && n > tt.tries {
					t.Errorf("the stream was resumed %d times within %v", n, took)
				}
			})
		})
	}
}

// TestLateResponseOpensStream has a session's stream that was given up, and a server that
// responds on it: the stream is opened again for that.
func TestLateResponseOpensStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLateServer(true, func(w http.ResponseWriter, _ *http.Request, _ request) { w.WriteHeader(202) })
		open := s.get
		var ready atomic.Bool
		s.get = func(w http.ResponseWriter, r *http.Request, n int) {
			if !ready.Load() {
				w.WriteHeader(503)
				return
			}
			open(w, r, n)
		}
		h := start(t, bubbleServer(t, s.ServeHTTP))
		h.hello()
		time.Sleep(time.Hour)
		ready.Store(true)
		s.out <- `{"jsonrpc":"2.0","id":1,"result":{}}`
		h.send(streamCall("1"))
		if got, _ := h.responseWithin("1", time.Second); get(t, got, "result") != "{}" {
			t.Errorf("got %s", got)
		}
	})
}

// TestResumptionStaysOnItsSession has a server forget a session while the stream of one of its
// requests waits to be resumed: that is tried on its own session, once, and the stream of the new
// session is not taken for it.
func TestResumptionStaysOnItsSession(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := &sessions{}
		s.serve = func(w http.ResponseWriter, _ *http.Request, got request) {
			if strings.Contains(got.body, `"breaks"`) {
				w.Header().Set("Content-Type", "text/event-stream")
				io.WriteString(w, "id: e1\nretry: 3000\ndata:\n\n")
				return
			}
			result(w, got.id, `{}`)
		}
		resumed := make(chan string, 8)
		h := startInMemory(t, memory(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && r.Header.Get("Last-Event-Id") != "" {
				resumed <- r.Header.Get("Mcp-Session-Id")
				if r.Header.Get("Mcp-Session-Id") == "session-1" {
					w.WriteHeader(http.StatusNotFound)
					return
				}
				openStream(w)
				<-r.Context().Done()
				return
			}
			s.ServeHTTP(w, r)
		}), nil)
		h.hello()
		h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"breaks"}}`)
		<-time.After(time.Second)
		s.forget()
		h.send(streamCall("2"))
		if got := h.response("2"); get(t, got, "result") != "{}" {
			t.Errorf("got %s", got)
		}
		began := time.Now()
		if got := h.response("1"); get(t, got, "error", "data", "reason") != `"no_response"` || time.Since(began) > 10*time.Second {
			t.Errorf("after %v: %s", time.Since(began), got)
		}
		if first := <-resumed; first != "session-1" || len(resumed) > 0 {
			t.Errorf("the stream was resumed on %s, and %d times more", first, len(resumed))
		}
	})
}
