package bridge_test

import (
	"cmp"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// sessions is a server of 2025-11-25 that the tests can make forget.
type sessions struct {
	mu      sync.Mutex // guards what follows
	seen    []request
	current string
	begun   int
	ended   []string
	stream  chan string // events for the session's own stream; nil: none is offered
	hello   string      // the result of initialize; "": initialized
	many    bool        // a session does not end the one before

	// serve handles what is not part of the session's life.
	serve func(w http.ResponseWriter, r *http.Request, got request)
}

func (s *sessions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.respond(w, r, readRequest(r))
}

// respond responds to a request whose body was read.
func (s *sessions) respond(w http.ResponseWriter, r *http.Request, got request) {
	s.mu.Lock()
	s.seen = append(s.seen, got)
	current := s.current
	s.mu.Unlock()
	id := r.Header.Get("Mcp-Session-Id")
	switch {
	case r.Method == http.MethodDelete:
		s.mu.Lock()
		s.ended = append(s.ended, id)
		s.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	case got.method == "initialize":
		s.mu.Lock()
		s.begun++
		s.current = "session-" + strconv.Itoa(s.begun)
		w.Header().Set("Mcp-Session-Id", s.current)
		s.mu.Unlock()
		result(w, got.id, cmp.Or(s.hello, initialized))
	case current == "" || id != current && !(s.many && id != ""):
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodGet && s.stream != nil:
		openStream(w)
		for {
			select {
			case e, ok := <-s.stream:
				if !ok {
					return
				}
				s.mu.Lock()
				ended, next := slices.Contains(s.ended, id), s.current != id
				s.mu.Unlock()
				if ended && !next {
					return
				}
				if ended { // the event is for the stream of the next session, wherever this one's host is
					select {
					case s.stream <- e:
					case <-time.After(timeout):
					}
					return
				}
				io.WriteString(w, e)
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	case r.Method == http.MethodGet:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case got.id == "":
		w.WriteHeader(http.StatusAccepted)
	case s.serve != nil:
		s.serve(w, r, got)
	default:
		result(w, got.id, `{}`)
	}
}

// ofBefore is a server that knows nothing of the requests of 2026-07-28.
func ofBefore(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Mcp-Method") != "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		next(w, r)
	}
}

// forget ends the session at the server.
func (s *sessions) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = ""
}

// methods returns the methods of what was posted, in order.
func (s *sessions) methods() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, got := range s.seen {
		if got.method != "" {
			all = append(all, got.method)
		}
	}
	return all
}

func (s *sessions) last(method string) request {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.seen) - 1; i >= 0; i-- {
		if s.seen[i].method == method {
			return s.seen[i]
		}
	}
	return request{}
}

const modernMeta = `{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`
