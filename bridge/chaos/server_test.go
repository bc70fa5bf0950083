package chaos

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// server is the random MCP server.
type server struct {
	*plan
	*ledger
	net    *network
	faults []behaviour // those that this server has
	over   chan struct{}

	mu       sync.Mutex // guards what follows
	http     *http.Server
	life     int          // counts restarts
	breaking atomic.Bool  // its connections break, or have broken
	broken   atomic.Int64 // how often all connections broke
	away     sync.WaitGroup
	leaving  bool // a restart is under way
	sessions map[string]*session
	tries    map[string]int // how often a request came, by what it is
	serial   int
	open     int                  // requests that are being handled
	resumes  map[string]remainder // by event id
	pending  map[string]func(reply message)
}

// remainder is what a broken stream has still to send, on the session that it belongs to.
type remainder struct{ session, events string }

// session is one session of the server.
type session struct {
	id       string
	reasoned bool // the server has given a reason to replace it
	events   []string
	more     chan struct{}
	streams  int
	cut      chan struct{} // closed when its streams are to end
}

func newServer(p *plan, l *ledger, n *network) *server {
	s := &server{plan: p, ledger: l, net: n, over: make(chan struct{}), sessions: map[string]*session{}, tries: map[string]int{},
		resumes: map[string]remainder{}, pending: map[string]func(message){}}
	r := p.dice("faults")
	for _, b := range behaviours {
		if b.fault && b.fits(p.server) && r.Float64() < p.swarm {
			s.faults = append(s.faults, b)
		}
	}
	s.start()
	return s
}

// start makes the server listen.
func (s *server) start() {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!s.http2)
	protocols.SetUnencryptedHTTP2(s.http2)
	h := &http.Server{Handler: s, Protocols: protocols, ErrorLog: quiet, ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, connected{}, s.broken.Load())
	}}
	s.mu.Lock()
	s.http = h
	s.mu.Unlock()
	go h.Serve(s.net.listen())
}

// connected is the key of how often all connections had broken when a request's own began.
type connected struct{}

// breaks notes that all connections are about to break.
func (s *server) breaks() {
	s.broken.Add(1)
	s.ledger.breaks()
}

// restart takes the server away for a while.
func (s *server) restart(down time.Duration) {
	s.mu.Lock()
	h, leaving := s.http, s.leaving
	s.leaving = true
	s.life++
	s.mu.Unlock()
	if leaving {
		return
	}
	defer func() {
		s.mu.Lock()
		s.leaving = false
		s.mu.Unlock()
	}()
	s.breaking.Store(true) // what is being sent may not arrive
	defer s.breaking.Store(false)
	s.breaks()
	s.note("server: restarts, away for %v", down)
	s.doubtful()
	s.net.vanish()
	h.Close()
	if s.persist {
		s.endStreams()
	} else {
		s.forget()
	}
	select {
	case <-time.After(down):
	case <-s.over:
		return
	}
	s.note("server: is back")
	s.start()
}

// forget ends all sessions without a word.
func (s *server) forget() {
	s.endStreams()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, one := range s.sessions {
		s.reason(one)
		delete(s.sessions, id)
	}
}

// endStreams ends the streams of all sessions.
func (s *server) endStreams() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.sessions {
		close(one.cut)
		one.cut = make(chan struct{})
	}
}

// reason notes that the bridge may replace a session. The caller holds s.mu.
func (s *server) reason(one *session) {
	if one.reasoned {
		return
	}
	one.reasoned = true
	s.ledger.mu.Lock()
	s.reasons++
	s.ended = append(s.ended, time.Now())
	s.ledger.mu.Unlock()
}

// excuse notes that the bridge may begin one session more.
func (s *server) excuse() {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	s.reasons++
}

// doubtful excuses a session whose beginning may be lost with its connection.
func (s *server) doubtful() {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	if !s.lately.IsZero() && time.Since(s.lately) < 50*time.Millisecond {
		s.reasons++
	}
}

// nth counts how often something came.
func (s *server) nth(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries[what]++
	return s.tries[what]
}

func (s *server) next() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	return s.serial
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.open++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.open--
		s.mu.Unlock()
	}()
	if !s.arrive() {
		s.hold(r)
		return
	}
	switch r.Method {
	case http.MethodGet:
		s.get(w, r)
	case http.MethodDelete:
		s.note("server: DELETE of %s", r.Header.Get("Mcp-Session-Id"))
		s.mu.Lock()
		delete(s.sessions, r.Header.Get("Mcp-Session-Id"))
		s.mu.Unlock()
		w.WriteHeader(pick(s.dice("delete"), 200, 204, 405, 404))
	case http.MethodPost:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		s.post(w, r, body)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// hold leaves a request without a response until it is given up.
func (s *server) hold(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.over:
	}
}

func (s *server) newSession(id string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == "" {
		id = fmt.Sprintf("session-%d-%d", s.life, len(s.sessions)+1)
		s.serial++
		id += "-" + strconv.Itoa(s.serial)
	}
	one := &session{id: id, more: make(chan struct{}), cut: make(chan struct{})}
	s.sessions[id] = one
	return one
}

// push sends a message on the stream of a session. It reports false if there is
// none open.
func (s *server) push(one *session, body string) bool {
	if one == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.streams == 0 {
		return false
	}
	one.events = append(one.events, "data: "+strings.ReplaceAll(body, "\n", "\ndata: ")+"\n\n")
	close(one.more)
	one.more = make(chan struct{})
	return true
}
