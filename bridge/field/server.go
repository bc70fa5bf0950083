package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A server is an MCP server of 2025-11-25 that does everything right, but for what a play
// has it do differently.
type server struct {
	p   *play
	url string // of its endpoint

	// odd, if set, may take an exchange over, and reports whether it has.
	odd func(x *exchange) bool

	// unknown responds to what belongs to no session that is known; 404 by default.
	unknown func(x *exchange)

	// stateless servers know no sessions.
	stateless bool

	// noStream servers reject GET with 405.
	noStream bool

	mu       sync.Mutex // guards what follows
	seen     []*exchange
	live     map[string]bool // sessions
	begun    int             // sessions
	open     map[*stream]bool
	more     chan struct{} // closed and replaced with each request and stream
	http     *http.Server
	listener net.Listener
	address  string
	secure   *tls.Config // nil: plain http
	sse      bool        // of HTTP+SSE
}

// A stream carries what the server sends outside of requests.
type stream struct {
	session string
	events  chan string
	over    chan struct{} // closed to end it
}

// An exchange is one request that the server got.
type exchange struct {
	*server
	w       http.ResponseWriter
	r       *http.Request
	at      time.Time
	body    []byte
	message message
	method  string // of the JSON-RPC message
	id      string // likewise; empty: none
	session string
}

// serve starts a server.
func (p *play) serve(odd func(x *exchange) bool) *server {
	s := &server{p: p, odd: odd, live: make(map[string]bool), open: make(map[*stream]bool), more: make(chan struct{})}
	s.start("127.0.0.1:0")
	p.cleanup(s.stop)
	s.url = "http://" + s.address + "/mcp"
	return s
}

// start listens; a server that was stopped is started at its old address.
func (s *server) start(at string) {
	var listener net.Listener
	if !s.p.until(soon, tick, func() (ok bool) {
		var err error
		listener, err = net.Listen("tcp", at)
		return err == nil
	}) {
		s.p.must(fmt.Errorf("%s cannot be listened at", at))
	}
	s.address = listener.Addr().String()
	server := &http.Server{Handler: s, ErrorLog: log.New(io.Discard, "", 0)}
	s.http, s.listener = server, listener
	if s.secure != nil {
		server.TLSConfig = s.secure.Clone()
		go func() { _ = server.ServeTLS(listener, "", "") }()
		return
	}
	go func() { _ = server.Serve(listener) }()
}

// tick is for conditions that announce no change.
func tick() <-chan struct{} {
	c := make(chan struct{})
	time.AfterFunc(20*time.Millisecond, func() { close(c) })
	return c
}

// stop breaks all connections.
func (s *server) stop() {
	_ = s.listener.Close() // Close knows it only once it is served
	_ = s.http.Close()
}

// restart breaks all connections and forgets all sessions, and is away for a while.
func (s *server) restart(away time.Duration) {
	s.stop()
	s.forget()
	s.p.pause(away)
	s.start(s.address)
}

// session returns the session that was begun last.
func (s *server) session() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return "session-" + strconv.Itoa(s.begun)
}

// forget forgets all sessions.
func (s *server) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.live)
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{server: s, w: w, r: r, at: time.Now(), session: r.Header.Get("Mcp-Session-Id")}
	x.body, _ = io.ReadAll(r.Body)
	x.message = parseMessage(x.body)
	x.method = x.message.text("method")
	x.id = string(x.message["id"])
	s.mu.Lock()
	s.seen = append(s.seen, x)
	s.changed()
	known := s.stateless || s.live[x.session]
	s.mu.Unlock()
	switch {
	case s.odd != nil && s.odd(x):
	case s.sse:
		x.legacy()
	case x.method == "initialize":
		x.begin()
	case !known:
		if s.unknown == nil {
			x.status(http.StatusNotFound, "text/plain", "no such session")
			return
		}
		s.unknown(x)
	default:
		x.proper()
	}
}

// changed wakes who waits. The caller holds mu.
func (s *server) changed() {
	close(s.more)
	s.more = make(chan struct{})
}

func (s *server) change() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.more
}

const abilities = `{"tools":{"listChanged":true},"logging":{},"resources":{"subscribe":true,"listChanged":true},"prompts":{"listChanged":true}}`

// begin responds to initialize.
func (x *exchange) begin() {
	if !x.stateless {
		x.mu.Lock()
		x.server.begun++
		session := "session-" + strconv.Itoa(x.server.begun)
		x.live[session] = true
		x.mu.Unlock()
		x.w.Header().Set("Mcp-Session-Id", session)
	}
	x.result(`{"protocolVersion":"2025-11-25","capabilities":` + abilities + `,"serverInfo":{"name":"field-server","version":"1"}}`)
}

// proper responds as the specification has it.
func (x *exchange) proper() {
	switch {
	case x.r.Method == http.MethodDelete:
		x.mu.Lock()
		delete(x.live, x.session)
		x.mu.Unlock()
		x.w.WriteHeader(http.StatusNoContent)
	case x.r.Method == http.MethodGet && x.noStream, x.r.Method != http.MethodGet && x.r.Method != http.MethodPost:
		x.status(http.StatusMethodNotAllowed, "text/plain", "not allowed")
	case x.r.Method == http.MethodGet:
		x.listen()
	case x.id == "" || x.method == "":
		x.w.WriteHeader(http.StatusAccepted)
	default:
		x.result(x.reply())
	}
}

// response is the result of a request.
func (x *exchange) reply() string {
	switch x.method {
	case "tools/list":
		return `{"tools":[{"name":"echo","inputSchema":{"type":"object"}},{"name":"danger","inputSchema":{"type":"object"}}]}`
	case "tools/call":
		return `{"content":[{"type":"text","text":` + strconv.Quote(x.text()) + `}]}`
	}
	return `{}`
}

// text is the argument of a call of the tool echo.
func (x *exchange) text() string { return x.message.text("params", "arguments", "text") }

func (x *exchange) result(raw string) {
	x.status(http.StatusOK, "application/json", x.response(raw))
}

// response is a response with a result.
func (x *exchange) response(result string) string {
	return `{"jsonrpc":"2.0","id":` + x.id + `,"result":` + result + `}`
}

// failure is a response with an error; an empty id is null.
func failure(id string, code int, text string) string {
	if id == "" {
		id = "null"
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":%q}}`, id, code, text)
}

// status responds with a body.
func (x *exchange) status(status int, kind, body string) {
	if kind != "" {
		x.w.Header().Set("Content-Type", kind)
	}
	x.w.WriteHeader(status)
	_, _ = io.WriteString(x.w, body)
}

func (x *exchange) flush() { _ = http.NewResponseController(x.w).Flush() }

// stream responds with events, and leaves the stream open.
func (x *exchange) stream(events ...string) {
	x.w.Header().Set("Content-Type", "text/event-stream")
	for _, e := range events {
		_, _ = io.WriteString(x.w, e)
	}
	x.flush()
}

// event is a message on a stream.
func event(message string) string { return "data: " + message + "\n\n" }

// hang keeps the exchange without a response until the client leaves.
func (x *exchange) hang() {
	select {
	case <-x.r.Context().Done():
	case <-x.p.ctx.Done():
	}
}

// wait lets time pass in an exchange, and reports whether it still matters.
func (x *exchange) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-x.r.Context().Done():
	case <-x.p.ctx.Done():
	}
	return false
}

// listen keeps a stream open, which begins with the first events, for what the play sends.
func (x *exchange) listen(first ...string) {
	s := &stream{session: x.session, events: make(chan string, 16), over: make(chan struct{})}
	// Who reads the first event may send a message at once, whose response belongs on this stream.
	x.mu.Lock()
	x.open[s] = true
	x.changed()
	x.mu.Unlock()
	defer func() {
		x.mu.Lock()
		delete(x.open, s)
		x.changed()
		x.mu.Unlock()
	}()
	x.stream(first...)
	for {
		select {
		case e := <-s.events:
			x.stream(e)
		case <-s.over:
			return
		case <-x.r.Context().Done():
			return
		case <-x.p.ctx.Done():
			return
		}
	}
}

// say sends a message on every open stream of a session that lives, and reports whether
// there is one.
func (s *server) say(message string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	said := false
	for open := range s.open {
		if s.stateless || s.live[open.session] {
			select {
			case open.events <- event(message):
			default: // nothing has read for long
			}
			said = true
		}
	}
	return said
}

// listened waits until the bridge has a stream open.
func (s *server) listened(limit time.Duration) {
	if !s.p.until(limit, s.change, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.open) > 0
	}) {
		s.p.wrong("no stream is opened within %s", seconds(s.p.limit(limit)))
	}
}

// endStreams ends all streams.
func (s *server) endStreams() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for open := range s.open {
		close(open.over)
		delete(s.open, open)
	}
}

// count returns how many requests match.
func (s *server) count(match func(x *exchange) bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, x := range s.seen {
		if match(x) {
			n++
		}
	}
	return n
}

// got waits until a request has come.
func (s *server) got(what string, limit time.Duration, match func(x *exchange) bool) {
	if !s.p.until(limit, s.change, func() bool { return s.count(match) > 0 }) {
		s.p.wrong("%s does not reach the server within %s", what, seconds(s.p.limit(limit)))
	}
}

func method(name string) func(*exchange) bool {
	return func(x *exchange) bool { return x.method == name }
}

func verb(name string) func(*exchange) bool {
	return func(x *exchange) bool { return x.r.Method == name }
}

// echo matches the call of the tool with a text.
func echo(text string) func(*exchange) bool {
	return func(x *exchange) bool { return x.method == "tools/call" && x.text() == text }
}

func anything(*exchange) bool { return true }

// initializes counts sessions that were begun.
func (s *server) initializes() int { return s.count(method("initialize")) }

// once makes sure that a call has reached the server once.
func (s *server) once(text string) {
	if n := s.count(echo(text)); n != 1 {
		s.p.wrong("the call reaches the server %d times", n)
	}
}

// sameSession makes sure that no session was begun since there were n.
func (s *server) sameSession(n int) {
	if more := s.initializes() - n; more > 0 {
		s.p.wrong("a living session is replaced %s", times(more))
	}
}

// replacedOnce makes sure that the session was replaced once since there were n.
func (s *server) replacedOnce(n int) {
	if more := s.initializes() - n; more != 1 {
		s.p.wrong("the session is replaced %s", times(more))
	}
}

func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return strconv.Itoa(n) + " times"
}

func requests(n int) string {
	if n == 1 {
		return "a request"
	}
	return strconv.Itoa(n) + " requests"
}

// contains reports whether a value in a request, wherever it is, contains a secret.
func (x *exchange) contains(secret string) bool {
	for _, values := range x.r.Header {
		if strings.Contains(strings.Join(values, ","), secret) {
			return true
		}
	}
	return strings.Contains(string(x.body)+x.r.URL.String(), secret)
}
