package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
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

// message is what the server reads of a JSON-RPC message.
type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Name            string                     `json:"name"`
		Meta            map[string]json.RawMessage `json:"_meta"`
		ProtocolVersion string                     `json:"protocolVersion"`
		RequestState    string                     `json:"requestState"`
	} `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// The members of _meta by which the ledger knows a message again.
const metaNumber = "test/n"

func (m *message) number() int {
	n, _ := strconv.Atoi(string(m.Params.Meta[metaNumber]))
	return n
}

func (m *message) modern() bool {
	return string(m.Params.Meta["io.modelcontextprotocol/protocolVersion"]) != ""
}

// exchange is one POST of one message.
type exchange struct {
	*server
	w    http.ResponseWriter
	r    *http.Request
	m    message
	s    *session // nil: none
	n    int      // of the host's request; zero: the bridge's own
	dice *rand.Rand
	sse  bool // HTTP+SSE: responses go to the stream
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

// intact reports whether a request's connection has not broken with all others.
func (x *exchange) intact() bool {
	return !x.breaking.Load() && x.r.Context().Value(connected{}) == x.broken.Load()
}

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

// post deals with what was posted.
func (s *server) post(w http.ResponseWriter, r *http.Request, body []byte) {
	if s.server == "sse" && r.URL.Path != "/messages" {
		s.note("server: POST %s: %s", r.URL.Path, body)
		w.WriteHeader(pick(s.dice("fall back"), 400, 404, 405))
		return
	}
	body = bytes.TrimSpace(body)
	if len(body) > 0 && body[0] == '[' {
		s.batch(w, r, body)
		return
	}
	x := &exchange{server: s, w: w, r: r, sse: s.server == "sse"}
	if err := json.Unmarshal(body, &x.m); err != nil {
		s.note("server: POST: %s", body)
		http.Error(w, "no JSON", http.StatusBadRequest)
		return
	}
	x.n = x.m.number()
	about := fmt.Sprint(x.m.Method, " ", x.n)
	try := s.nth(about)
	x.dice = s.dice(about, try)
	s.mu.Lock()
	x.s = s.sessions[session_(r)]
	s.mu.Unlock()
	x.say("POST %s", body)
	if x.dice.IntN(2) == 0 {
		x.pause(time.Duration(x.dice.IntN(20)) * time.Millisecond)
	}
	switch {
	case x.m.Method == "":
		x.replied()
	case len(x.m.ID) == 0:
		x.notified()
	case s.server == "modern":
		x.serveModern()
	default:
		x.serveLegacy()
	}
}

// session_ returns the id of the session that a request belongs to.
func session_(r *http.Request) string {
	if id := r.URL.Query().Get("session"); id != "" {
		return id
	}
	return r.Header.Get("Mcp-Session-Id")
}

// say writes a line of the transcript.
func (x *exchange) say(format string, args ...any) {
	x.note("server ← "+format, args...)
}

// serveLegacy deals with a request at a server of before 2026-07-28.
func (x *exchange) serveLegacy() {
	switch {
	case x.m.Method == "initialize":
		x.initialize()
	case x.m.Method == "server/discover" || x.m.modern():
		x.rejectProbe()
	case x.server.server == "legacy" && x.s == nil:
		x.tellForgotten()
	case x.sse && x.s == nil:
		x.w.WriteHeader(http.StatusNotFound)
	default:
		x.serve()
	}
}

// serveModern deals with a request at a server of 2026-07-28.
func (x *exchange) serveModern() {
	switch {
	case !x.m.modern():
		x.rejectLegacy()
	case x.m.Method == "subscriptions/listen":
		x.listen()
	default:
		x.serve()
	}
}

// serve meets a request with one of the behaviours.
func (x *exchange) serve() {
	if x.m.Params.Name == "endless" && !x.sse {
		x.carry()
		x.holding()
		return
	}
	from := x.faults
	if len(from) == 0 || x.dice.Float64() >= x.rate {
		from = fine[x.server.server]
	} else if x.n == 0 {
		x.doubt() // the bridge's own request may decide a suspicion
	}
	total := 0
	for _, b := range from {
		total += b.weight
	}
	at := x.dice.IntN(total)
	for _, b := range from {
		if at -= b.weight; at < 0 {
			x.note("server: %s %s: %s", x.m.Method, x.m.ID, b.name)
			b.do(x)
			return
		}
	}
}

// initialize begins a session.
func (x *exchange) initialize() {
	if x.rate > 0 && x.dice.IntN(8) == 0 {
		switch kind := pick(x.dice, "503", "slow", "aborted", "error", "502", "lost"); kind {
		case "slow":
			x.pause(time.Duration(x.dice.IntN(8000)) * time.Millisecond)
		case "lost":
			x.begin()
			x.excuse()
			x.note("server: initialize: lost")
			panic(http.ErrAbortHandler)
		case "aborted":
			x.note("server: initialize: aborted")
			panic(http.ErrAbortHandler)
		case "error":
			x.note("server: initialize: error")
			x.respond(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32603,"message":"not now"}}`, x.m.ID))
			return
		default:
			x.note("server: initialize: %s", kind)
			status, _ := strconv.Atoi(kind)
			x.w.WriteHeader(status)
			return
		}
	}
	x.begin()
	version := x.m.Params.ProtocolVersion
	if version == "" {
		version = "2025-06-18"
	}
	if x.r.Context().Err() != nil {
		x.excuse() // nothing notices it
	}
	x.respond(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":%q,"capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true},"logging":{}},"serverInfo":{"name":"chaos","version":"1"}}}`,
		x.m.ID, version))
}

// begin begins a session.
func (x *exchange) begin() {
	x.ledger.mu.Lock()
	x.begun++
	x.lately = time.Now()
	x.ledger.mu.Unlock()
	if x.sse || x.server.server != "legacy" {
		return
	}
	x.s = x.newSession("")
	x.w.Header().Set("Mcp-Session-Id", x.s.id)
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

// pause waits, unless the request is given up.
func (x *exchange) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-x.r.Context().Done():
	case <-x.over:
	}
}

// respond sends a complete response where this server sends them.
func (x *exchange) respond(body string) {
	switch {
	case x.sse:
		x.accept()
		x.push(x.s, body)
	case x.json:
		x.sendJSON(body)
	default:
		x.sendEvents("data: " + body + "\n\n")
	}
}

// accept ends a POST whose response comes on a stream.
func (x *exchange) accept() {
	x.w.WriteHeader(http.StatusAccepted)
	x.flush()
}

func (x *exchange) sendJSON(body string) {
	x.w.Header().Set("Content-Type", "application/json")
	x.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	io.WriteString(x.w, body)
	x.flush()
}

func (x *exchange) sendEvents(events string) {
	if x.w.Header().Get("Content-Type") == "" {
		x.w.Header().Set("Content-Type", "text/event-stream")
	}
	io.WriteString(x.w, events)
	x.flush()
}

func (x *exchange) flush() { _ = http.NewResponseController(x.w).Flush() }

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
