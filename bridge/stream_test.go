package bridge_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
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

// TestEventIDThatNoHeaderHolds: with such an id no request would leave this machine. The
// stream is taken up again after the event before.
func TestEventIDThatNoHeaderHolds(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := &sessions{stream: make(chan string)}
		resumed := make(chan string, 1)
		h := start(t, bubbleServer(t, func(w http.ResponseWriter, r *http.Request) {
			if id := r.Header.Get("Last-Event-Id"); id != "" {
				select {
				case resumed <- id:
				default:
				}
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			s.ServeHTTP(w, r)
		}))
		h.hello()
		s.stream <- "id: 7\n" + event(`{"jsonrpc":"2.0","method":"x/first"}`)
		s.stream <- "id: 8\x01\n" + event(`{"jsonrpc":"2.0","method":"x/second"}`)
		h.note("x/second")
		close(s.stream)
		select {
		case id := <-resumed:
			if id != "7" {
				t.Errorf("the stream was resumed after %q", id)
			}
		case <-time.After(timeout):
			t.Error("the stream was not resumed")
		}
	})
}

// TestVersionThatNoHeaderHolds: a server that names one serves its requests nevertheless.
func TestVersionThatNoHeaderHolds(t *testing.T) {
	s := &sessions{hello: `{"protocolVersion":"2025-11-25\n","capabilities":{},"serverInfo":{"name":"s","version":"1"}}`}
	h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP)})
	h.hello()
	h.send(toolCall(1))
	if got := h.response("1"); get(t, got, "result") != "{}" {
		t.Errorf("got %s", got)
	}
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
