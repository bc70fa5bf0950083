package bridge_test

import (
	"net/http"
	"sync"
	"testing"
	"time"
)

// streaming is a server whose session stream opens when slow allows it, and
// which remembers whether a request was there before that.
type streaming struct {
	slow func(listed <-chan struct{})

	mu        sync.Mutex // guards what follows
	open      bool
	overtaken bool
	listed    chan struct{}
}

func (s *streaming) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		s.slow(s.listed)
		s.mu.Lock()
		s.open = true
		s.mu.Unlock()
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return
	}
	switch got := readRequest(r); got.method {
	case "initialize":
		result(w, got.id, initialized)
	case "tools/list":
		s.mu.Lock()
		s.overtaken = s.overtaken || !s.open
		s.mu.Unlock()
		close(s.listed)
		result(w, got.id, `{"tools":[]}`)
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}

// streamWait is how long a bridge waits for the session's stream before it sends a request.
const streamWait = 500 * time.Millisecond

// TestStreamBeforeRequests: a server may have something to ask the host in the
// first request already, and nowhere to say it but on the session's stream.
func TestStreamBeforeRequests(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := &streaming{listed: make(chan struct{}), slow: func(listed <-chan struct{}) {
			select {
			case <-listed:
			case <-time.After(streamWait - time.Millisecond): // the latest that is waited for
			}
		}}
		h := start(t, bubbleServer(t, s.ServeHTTP))
		h.hello()
		h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
		h.response("1")
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.overtaken {
			t.Error("a request was sent before the stream was open")
		}
	})
}

// TestStreamWithoutHead: a server that sends nothing on the stream until it has
// something to send blocks nothing for longer than streamWait.
func TestStreamWithoutHead(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := &streaming{listed: make(chan struct{}), slow: func(listed <-chan struct{}) {
			select {
			case <-listed:
			case <-time.After(timeout):
			}
		}}
		h := start(t, bubbleServer(t, s.ServeHTTP))
		h.hello()
		h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
		if _, waited := h.responseWithin("1", timeout); waited != streamWait {
			t.Errorf("the response took %v, not %v", waited, streamWait)
		}
	})
}
