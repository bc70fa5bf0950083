package bridge_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// getting is a server with sessions whose GET requests go to get, which gets how
// many there were before.
type getting struct {
	sessions
	get func(w http.ResponseWriter, r *http.Request, n int)

	mu   sync.Mutex // guards what follows
	gets []time.Time
}

func (g *getting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		g.sessions.ServeHTTP(w, r)
		return
	}
	g.mu.Lock()
	n := len(g.gets)
	g.gets = append(g.gets, time.Now())
	g.mu.Unlock()
	g.get(w, r, n)
}

// knows reports whether a request is of the current session.
func (g *getting) knows(r *http.Request) bool {
	g.sessions.mu.Lock()
	defer g.sessions.mu.Unlock()
	return r.Header.Get("Mcp-Session-Id") == g.current
}

func (g *getting) tries() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.gets)
}

func (g *getting) counts() (begun int, ended []string) {
	g.sessions.mu.Lock()
	defer g.sessions.mu.Unlock()
	return g.begun, append([]string{}, g.ended...)
}

// TestStreamThatIsNotOffered has servers that reject the GET request for the session's stream
// in every way. None of them has ended the session, and none is tried for ever.
func TestStreamThatIsNotOffered(t *testing.T) {
	type reply struct {
		status int
		kind   string
	}
	replies := []reply{{200, "text/html"}, {200, "application/json"}, {200, ""}, {202, ""}, {204, ""}}
	for _, status := range []int{400, 401, 402, 403, 404, 405, 406, 409, 410, 415, 422, 426, 500, 501, 502, 503, 504, 429, 408, 425} {
		replies = append(replies, reply{status, "application/json"}, reply{status, "text/html"})
	}
	for _, tt := range replies {
		t.Run(fmt.Sprint(tt.status, " ", tt.kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &getting{get: func(w http.ResponseWriter, _ *http.Request, _ int) {
					if tt.kind != "" {
						w.Header().Set("Content-Type", tt.kind)
					}
					w.WriteHeader(tt.status)
					if tt.kind != "" {
						io.WriteString(w, `{"error":"no GET here"}`)
					}
				}}
				h := start(t, bubbleServer(t, s.ServeHTTP))
				h.hello()
				for i := range 60 {
					h.send(streamCall(strconv.Itoa(i)))
					if got := h.response(strconv.Itoa(i)); get(t, got, "result") != "{}" {
						t.Fatalf("got %s", got)
					}
					time.Sleep(10 * time.Second)
				}
				begun, ended := s.counts()
				if begun != 1 || len(ended) > 0 {
					t.Errorf("%d sessions begun, %d ended", begun, len(ended))
				}
				most := 1
				switch tt.status {
				case 408, 425, 429, 500, 502, 503, 504: // the server may be about to start
					most = 16
				}
				if n := s.tries(); n > most {
					t.Errorf("the stream was tried %d times within 10 minutes", n)
				}
			})
		})
	}
}

// TestStreamRejectedForAWhile has a stream that was open, ends, and is rejected while a proxy
// still holds the old one or the server starts again.
func TestStreamRejectedForAWhile(t *testing.T) {
	for _, status := range []int{400, 404, 405, 409, 422, 429, 500, 502, 503} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var rejecting time.Time
				s := &getting{get: func(w http.ResponseWriter, r *http.Request, n int) {
					switch {
					case n == 0:
						openStream(w)
						time.Sleep(20 * time.Second)
						rejecting = time.Now()
					case time.Since(rejecting) < 10*time.Second:
						w.WriteHeader(status)
					default:
						openStream(w)
						io.WriteString(w, event(`{"jsonrpc":"2.0","method":"notifications/message"}`))
						_ = http.NewResponseController(w).Flush()
						<-r.Context().Done()
					}
				}}
				h := start(t, bubbleServer(t, s.ServeHTTP))
				h.hello()
				h.waitWithin(time.Minute, "notification", func(line string) bool { return strings.Contains(line, "notifications/message") })
				if begun, _ := s.counts(); begun != 1 {
					t.Errorf("%d sessions begun", begun)
				}
			})
		})
	}
}

// TestStreamThatEndsAtOnce has a server that ends the session's stream as soon as it is open,
// whatever reconnection time it names: the pauses grow, and the tries end.
func TestStreamThatEndsAtOnce(t *testing.T) {
	for name, first := range map[string]string{
		"without a word":    "",
		"with a comment":    ": hello\n\n",
		"retry: 1":          "retry: 1\n\n",
		"retry: 0":          "retry: 0\n\n",
		"with the same id":  "id: 1\nretry: 1\ndata:\n\n",
		"with another type": "event: hello\ndata: {}\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &getting{get: func(w http.ResponseWriter, _ *http.Request, _ int) {
					openStream(w)
					io.WriteString(w, first)
				}}
				h := start(t, bubbleServer(t, s.ServeHTTP))
				h.hello()
				time.Sleep(10 * time.Second)
				if n := s.tries(); n > 5 {
					t.Errorf("the stream was opened %d times within 10 s", n)
				}
				time.Sleep(time.Hour)
				if n := s.tries(); n > 12 {
					t.Errorf("the stream was opened %d times within an hour in which it was not used", n)
				}
				before := s.tries()
				h.send(streamCall("1"))
				h.response("1")
				time.Sleep(10 * time.Second)
				if n := s.tries() - before; n != 1 {
					t.Errorf("the stream was opened %d times after it was given up and the server was used again", n)
				}
				if begun, _ := s.counts(); begun != 1 {
					t.Errorf("%d sessions begun", begun)
				}
			})
		})
	}
}

// TestStreamWithOneEventEach has a server that ends the stream after each event: all of them
// arrive, at a bounded rate.
func TestStreamWithOneEventEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &getting{get: func(w http.ResponseWriter, _ *http.Request, n int) {
			openStream(w)
			fmt.Fprintf(w, "id: %d\nretry: 1\n%s", n, event(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/message","params":{"data":%d}}`, n)))
		}}
		h := start(t, bubbleServer(t, s.ServeHTTP))
		h.hello()
		for i := range 20 {
			want := fmt.Sprintf(`"data":%d}`, i)
			h.waitWithin(5*time.Second, want, func(line string) bool { return strings.Contains(line, want) })
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for i := range 18 {
			if d := s.gets[i+1].Sub(s.gets[i]); d < 900*time.Millisecond {
				t.Fatalf("the stream was opened again after %v", d)
			}
		}
	})
}

// TestStreamOfLongPauses has a server that names a long reconnection time, which is kept.
func TestStreamOfLongPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &getting{get: func(w http.ResponseWriter, _ *http.Request, _ int) {
			openStream(w)
			io.WriteString(w, "retry: 120000\n\n")
		}}
		h := start(t, bubbleServer(t, s.ServeHTTP))
		h.hello()
		time.Sleep(119 * time.Second)
		if n := s.tries(); n != 1 {
			t.Errorf("the stream was opened %d times within two minutes", n)
		}
		time.Sleep(time.Minute)
		if n := s.tries(); n != 2 {
			t.Errorf("the stream was opened %d times within three minutes", n)
		}
	})
}

// TestStreamEndsWithItsSession has a server that forgets a session while its stream is open:
// the host need not send anything for the next one to begin, and the server learns that the
// one before is over.
func TestStreamEndsWithItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &getting{}
		cut := make(chan struct{})
		s.get = func(w http.ResponseWriter, r *http.Request, n int) {
			if !s.knows(r) {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			openStream(w)
			if n > 0 {
				io.WriteString(w, event(`{"jsonrpc":"2.0","method":"notifications/message"}`))
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
				return
			}
			<-cut
		}
		h := start(t, bubbleServer(t, s.ServeHTTP))
		h.hello()
		time.Sleep(time.Minute)
		s.forget()
		close(cut)
		h.waitWithin(time.Minute, "notification", func(line string) bool { return strings.Contains(line, "notifications/message") })
		synctest.Wait()
		begun, ended := s.counts()
		if begun != 2 || len(ended) != 1 || ended[0] != "session-1" {
			t.Errorf("%d sessions begun, ended: %v", begun, ended)
		}
	})
}

// TestSessionOfAnotherInstanceIsDeleted has a server whose other instance does not know the session: the
// one that does learns that it is over.
func TestSessionOfAnotherInstanceIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &getting{get: func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(http.StatusMethodNotAllowed) }}
		elsewhere := true
		s.serve = func(w http.ResponseWriter, _ *http.Request, got request) {
			if elsewhere {
				elsewhere = false
				w.WriteHeader(http.StatusNotFound)
				return
			}
			result(w, got.id, "{}")
		}
		h := start(t, bubbleServer(t, s.ServeHTTP))
		h.hello()
		h.send(streamCall("1"))
		h.response("1")
		synctest.Wait()
		begun, ended := s.counts()
		if begun != 2 || len(ended) != 1 || ended[0] != "session-1" {
			t.Errorf("%d sessions begun, ended: %v", begun, ended)
		}
	})
}
