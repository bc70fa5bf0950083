package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

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

// intact reports whether a request's connection has not broken with all others.
func (x *exchange) intact() bool {
	return !x.breaking.Load() && x.r.Context().Value(connected{}) == x.broken.Load()
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
	if x.breaking.Load() { // the response may be lost with its connection
		x.reasons++
	}
	x.ledger.mu.Unlock()
	if x.sse || x.server.server != "legacy" {
		return
	}
	x.s = x.newSession("")
	x.w.Header().Set("Mcp-Session-Id", x.s.id)
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
