package bridge_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// swallows is a server that takes the nth initialize and never responds to it.
func swallows(s *sessions, nth int32) memory {
	var n atomic.Int32
	return func(w http.ResponseWriter, r *http.Request) {
		got := readRequest(r)
		if got.method == "initialize" && n.Add(1) == nth {
			<-r.Context().Done()
			return
		}
		s.respond(w, r, got)
	}
}

// TestSwallowedInitializeOfAReplacement has the initialize of a session that replaces another get
// lost: the requests that wait for it have an error, and the next ones a session.
func TestSwallowedInitializeOfAReplacement(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := &sessions{}
		h := startInMemory(t, swallows(s, 2), nil)
		h.hello()
		h.send(toolCall(1))
		h.response("1")
		s.forget()
		wantRetryable(t, h)
	})
}

// wantRetryable makes a call that meets a swallowed initialize, and one after it.
func wantRetryable(t *testing.T, h *host) {
	t.Helper()
	h.send(toolCall(2))
	got, took := h.responseWithin("2", time.Hour)
	if get(t, got, "error", "data", "retryable") != "true" || get(t, got, "error", "code") != "-31001" || took > 2*time.Minute {
		t.Errorf("after %v: %s", took, got)
	}
	h.send(toolCall(3))
	if got, took := h.responseWithin("3", time.Hour); get(t, got, "result") != "{}" || took > time.Second {
		t.Errorf("after %v: %s", took, got)
	}
}

// TestSwallowedInitializeOverSSE is the same for the stream that is the session: one without a
// session is not left open.
func TestSwallowedInitializeOverSSE(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := strictSSE("initialize")
		strictly := s.post
		s.post = func(w http.ResponseWriter, r *http.Request, got request) bool {
			if _, begun := s.counts(); got.method == "initialize" && begun == 2 {
				w.WriteHeader(http.StatusAccepted)
				return true
			}
			return strictly(w, r, got)
		}
		h := startInMemory(t, memory(s.ServeHTTP), nil)
		h.hello()
		h.send(toolCall(1))
		h.response("1")
		s.cut()
		time.Sleep(100 * time.Millisecond)
		wantRetryable(t, h)
		if streams, begun := s.counts(); streams != 3 || begun != 3 {
			t.Errorf("%d streams, %d sessions", streams, begun)
		}
	})
}

// TestSilentSSEIsLeftAlone has a server of HTTP+SSE that is silent from its second stream on: that is
// not opened again and again.
func TestSilentSSEIsLeftAlone(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := &sseServer{endpoint: "/messages"}
		s.post = func(w http.ResponseWriter, _ *http.Request, _ request) bool {
			streams, _ := s.counts()
			if streams > 1 {
				w.WriteHeader(http.StatusAccepted)
			}
			return streams > 1
		}
		h := startInMemory(t, memory(s.ServeHTTP), nil)
		h.hello()
		time.Sleep(time.Minute)
		s.cut()
		time.Sleep(24 * time.Hour)
		if streams, _ := s.counts(); streams > 1+6 {
			t.Errorf("%d streams", streams)
		}
	})
}

// TestSwallowedInitialize has the first initialize of a host get lost: it is sent once more by
// itself, but for a host that waits for as long as the server takes.
func TestSwallowedInitialize(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := waking()
		h := startInMemory(t, swallows(s, 1), nil)
		h.hello()
		h.note("notifications/tools/list_changed")
		h.send(toolCall(1))
		if got := h.response("1"); get(t, got, "result") == "" {
			t.Errorf("got %s", got)
		}
	})
	inMemory(t, func(t *testing.T) {
		h := startInMemory(t, swallows(waking(), 1), func(o *bridge.Options) { o.InitializeWait = -1 })
		h.send(initialize)
		time.Sleep(time.Hour)
		if lines := h.all(); len(lines) != 0 {
			t.Errorf("got %q", lines)
		}
	})
}

// TestInitializeWaitsForTheUser has the user take his time to sign in for a session that replaces
// another, and the server after that: the first is no part of what the server may take.
func TestInitializeWaitsForTheUser(t *testing.T) {
	for _, takesHisTime := range []time.Duration{55 * time.Second, 10 * time.Minute} {
		t.Run(takesHisTime.String(), func(t *testing.T) { initializeWaitsForTheUser(t, takesHisTime) })
	}
}

func initializeWaitsForTheUser(t *testing.T, takesHisTime time.Duration) {
	inMemory(t, func(t *testing.T) {
		s, user, done := &sessions{}, new(bridge.User), make(chan struct{})
		var begun atomic.Int32
		server := memory(func(w http.ResponseWriter, r *http.Request) {
			got := readRequest(r)
			if got.method == "initialize" {
				switch begun.Add(1) {
				case 2:
					w.WriteHeader(http.StatusUnauthorized)
					return
				case 3:
					takes(r, 15*time.Second)
				}
			}
			s.respond(w, r, got)
		})
		h := startInMemory(t, signingIn(server, user, done), func(o *bridge.Options) { o.User = user })
		h.hello()
		time.Sleep(time.Second)
		s.forget()
		began := time.Now()
		h.send(toolCall(1))
		if got := h.response("1"); !isSignIn(t, got) {
			t.Errorf("got %s", got)
		}
		time.Sleep(time.Until(began.Add(takesHisTime)))
		close(done)
		time.Sleep(time.Minute)
		h.send(toolCall(2))
		if got := h.response("2"); get(t, got, "result") != "{}" {
			t.Errorf("got %s", got)
		}
		if n := begun.Load(); n != 3 {
			t.Errorf("initialize was sent %d times", n)
		}
	})
}
