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
		h.send(toolCall(2))
		got, took := h.responseWithin("2", time.Hour)
		if get(t, got, "error", "data", "retryable") != "true" || get(t, got, "error", "code") != "-31001" || took > 2*time.Minute {
			t.Errorf("after %v: %s", took, got)
		}
		h.send(toolCall(3))
		if got, took := h.responseWithin("3", time.Hour); get(t, got, "result") != "{}" || took > time.Second {
			t.Errorf("after %v: %s", took, got)
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

// TestInitializeWaitsForTheUser has the user take longer to sign in for a session that replaces
// another than the server may take.
func TestInitializeWaitsForTheUser(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s, user, done := &sessions{}, new(bridge.User), make(chan struct{})
		var begun atomic.Int32
		server := memory(func(w http.ResponseWriter, r *http.Request) {
			got := readRequest(r)
			if got.method == "initialize" && begun.Add(1) == 2 {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			s.respond(w, r, got)
		})
		h := startInMemory(t, signingIn(server, user, done), func(o *bridge.Options) { o.User = user })
		h.hello()
		time.Sleep(time.Second)
		s.forget()
		h.send(toolCall(1))
		if got := h.response("1"); !isSignIn(t, got) {
			t.Errorf("got %s", got)
		}
		time.Sleep(10 * time.Minute)
		close(done)
		time.Sleep(time.Second)
		if n := begun.Load(); n != 3 {
			t.Errorf("initialize was sent %d times", n)
		}
		h.send(toolCall(2))
		if got := h.response("2"); get(t, got, "result") != "{}" {
			t.Errorf("got %s", got)
		}
	})
}
