package bridge_test

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// sseServer is a server of HTTP+SSE: a stream at /mcp, and an address to post to that the stream
// names.
type sseServer struct {
	endpoint string // what the stream names
	post     func(w http.ResponseWriter, r *http.Request, got request) bool
	opened   func(w http.ResponseWriter, r *http.Request, n int) bool // reports whether it has dealt with the stream
	any      bool                                                     // a POST at /mcp opens a stream, too

	mu      sync.Mutex // guards what follows
	streams []time.Time
	out     chan string
	begun   int
	paths   []string // where messages were posted
}

// strictSSE returns a server that rejects requests on a stream on which no message of a method has
// begun a session.
func strictSSE(begins string) *sseServer {
	s := &sseServer{endpoint: "/messages"}
	var ready atomic.Int32 // the number of the last stream with a session
	s.post = func(w http.ResponseWriter, _ *http.Request, got request) bool {
		streams, _ := s.counts()
		if got.method == begins {
			ready.Store(int32(streams))
		}
		early := got.id != "" && got.method != "initialize" && int(ready.Load()) != streams
		if early {
			w.WriteHeader(http.StatusAccepted)
			s.send(`{"jsonrpc":"2.0","id":` + got.id + `,"error":{"code":-32602,"message":"Invalid request parameters"}}`)
		}
		return early
	}
	return s
}

func (s *sseServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/mcp" && r.URL.RawQuery == "" {
		if r.Method != http.MethodGet && !s.any {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		s.stream(w, r)
		return
	}
	got := readRequest(r)
	s.mu.Lock()
	s.paths = append(s.paths, r.URL.RequestURI())
	if got.method == "initialize" {
		s.begun++
	}
	s.mu.Unlock()
	if s.post != nil && s.post(w, r, got) {
		return
	}
	w.WriteHeader(http.StatusAccepted)
	io.WriteString(w, "Accepted")
	switch {
	case got.method == "initialize":
		s.send(`{"jsonrpc":"2.0","id":` + got.id + `,"result":` + initialized + `}`)
	case got.id != "":
		s.send(`{"jsonrpc":"2.0","id":` + got.id + `,"result":{}}`)
	}
}

// say sends a message on the stream that is open.
func (s *sseServer) send(message string) {
	s.mu.Lock()
	out := s.out
	s.mu.Unlock()
	out <- message
}

func (s *sseServer) stream(w http.ResponseWriter, r *http.Request) {
	out := make(chan string, 16)
	s.mu.Lock()
	n := len(s.streams)
	s.streams = append(s.streams, time.Now())
	s.out = out
	opened := s.opened
	s.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	if s.endpoint != "none" {
		io.WriteString(w, "event: endpoint\ndata: "+s.endpoint+"\n\n")
	}
	flushHead(w)
	if opened != nil && opened(w, r, n) {
		return
	}
	for {
		select {
		case message, ok := <-out:
			if !ok {
				return
			}
			io.WriteString(w, event(message))
			flushHead(w)
		case <-r.Context().Done():
			return
		}
	}
}

// cut ends the stream that is open.
func (s *sseServer) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.out)
}

func (s *sseServer) counts() (streams, begun int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams), s.begun
}
