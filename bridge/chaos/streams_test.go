package chaos

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// streams are what a server may make of a GET: most keep a stream open.
var streams = []string{"open", "open", "open", "405", "404", "400", "ends", "ends later", "502", "silent", "409 at first"}

// get deals with a GET.
func (s *server) get(w http.ResponseWriter, r *http.Request) {
	last := r.Header.Get("Last-Event-Id")
	try := s.nth("GET")
	if n, err := strconv.Atoi(strings.TrimPrefix(last, "nowhere-")); err == nil {
		s.ledger.mu.Lock()
		s.fact(n).held = true // by whatever stream this opens
		s.ledger.mu.Unlock()
	}
	s.note("server ← GET %d, session %q, last event %q", try, r.Header.Get("Mcp-Session-Id"), last)
	s.mu.Lock()
	rest, resumed := s.resumes[last]
	one := s.sessions[r.Header.Get("Mcp-Session-Id")]
	s.mu.Unlock()
	switch {
	case r.URL.Path == "/moved":
		s.find("a redirect made a GET of a POST")
	case s.server == "sse":
		s.legacyStream(w, r)
	case last != "" && resumed:
		w.Header().Set("Content-Type", "text/event-stream")
		if on := session_(r); on != rest.session {
			s.find("a stream of %q is resumed on %q", rest.session, on)
		}
		io.WriteString(w, rest.events)
	case s.server == "modern":
		w.WriteHeader(http.StatusMethodNotAllowed)
	case s.server == "legacy" && one == nil:
		tellForgotten(w, s.forgotten)
	case s.server == "stateless":
		w.WriteHeader(http.StatusMethodNotAllowed)
	default:
		s.sessionStream(w, r, one, try)
	}
}

// sessionStream is the GET stream of a session.
func (s *server) sessionStream(w http.ResponseWriter, r *http.Request, one *session, try int) {
	switch s.stream {
	case "405", "404", "400", "502":
		status, _ := strconv.Atoi(s.stream)
		w.WriteHeader(status)
		return
	case "409 at first":
		if try < 3 {
			w.WriteHeader(http.StatusConflict)
			return
		}
	case "silent":
		s.hold(r)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	io.WriteString(w, ": hello\n\n")
	_ = control.Flush()
	if s.stream == "ends" {
		return
	}
	var ends <-chan time.Time
	if s.stream == "ends later" {
		ends = time.After(time.Duration(1+s.dice("ends", try).IntN(20)) * time.Second)
	}
	s.feed(w, r, one, ends)
}

// legacyStream is the stream of HTTP+SSE.
func (s *server) legacyStream(w http.ResponseWriter, r *http.Request) {
	one := s.newSession(strconv.Itoa(s.next()))
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprintf(w, "event: endpoint\ndata: /messages?session=%s\n\n", one.id)
	s.feed(w, r, one, nil)
	s.mu.Lock()
	s.reason(one)
	delete(s.sessions, one.id)
	s.mu.Unlock()
}

// feed sends what a session has to say until its stream ends.
func (s *server) feed(w http.ResponseWriter, r *http.Request, one *session, ends <-chan time.Time) {
	control := http.NewResponseController(w)
	s.mu.Lock()
	one.streams++
	cut := one.cut
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		one.streams--
		s.mu.Unlock()
	}()
	_ = control.Flush()
	for {
		s.mu.Lock()
		events, more := one.events, one.more
		one.events = nil
		s.mu.Unlock()
		for _, e := range events {
			io.WriteString(w, e)
		}
		if len(events) > 0 {
			_ = control.Flush()
		}
		select {
		case <-more:
		case <-cut:
			return
		case <-ends:
			return
		case <-r.Context().Done():
			return
		case <-s.over:
			return
		}
	}
}

// forgottenShapes are the responses of servers to requests of a session that is over.
var forgottenShapes = []string{"404", "404 with an error", "410", "400", "400 with an error", "409", "422", "503",
	"200 with -32600", "200 with -32001"}

// withoutID is an error that names no request.
const withoutID = `{"jsonrpc":"2.0","id":null,"error":{"code":%d,"message":"no valid session"}}`

// tellForgotten rejects a request of a session that is over. Some of these responses take a
// while, so that one may come when the session has been replaced because of another.
func (x *exchange) tellForgotten() {
	x.note("server: %s %s: no such session", x.m.Method, x.m.ID)
	x.ledger.mu.Lock()
	x.fact(x.n).notified++
	x.ledger.mu.Unlock()
	dice := x.plan.dice("rejected", x.m.Method, x.n)
	x.pause(pick(dice, 0, time.Duration(dice.IntN(300))*time.Millisecond))
	tellForgotten(x.w, x.forgotten)
}

// tellForgotten reports that there is no such session.
func tellForgotten(w http.ResponseWriter, shape string) {
	body, status := "", 0
	switch shape {
	case "404 with an error":
		status, body = 404, fmt.Sprintf(withoutID, -32001)
	case "400":
		status, body = 400, "Bad Request: No valid session ID provided"
	case "400 with an error":
		status, body = 400, fmt.Sprintf(withoutID, -32000)
	case "503":
		status, body = 503, "session unknown on this instance"
	case "200 with -32600":
		status, body = 200, fmt.Sprintf(withoutID, -32600)
	case "200 with -32001":
		status, body = 200, fmt.Sprintf(withoutID, -32001)
	default:
		status, _ = strconv.Atoi(shape)
	}
	if len(body) > 0 && body[0] == '{' {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(status)
	io.WriteString(w, body)
}

// probedShapes are what servers of before 2026-07-28 make of server/discover.
var probedShapes = []string{"-32601", "400", "404", "400 with an error", "slow", "405", "202", "held", "empty", "404 with -32601"}

// rejectProbe rejects a request of a later era.
func (x *exchange) rejectProbe() {
	x.note("server: %s %s: rejected as %s", x.m.Method, x.m.ID, x.probed)
	unknown := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no such method"}}`, x.m.ID)
	if x.sse {
		x.respond(unknown)
		return
	}
	switch x.probed {
	case "slow":
		x.pause(3 * time.Second)
		x.respond(unknown)
	case "400 with an error":
		tellForgotten(x.w, x.probed)
	case "202":
		x.accept()
	case "empty":
		x.w.WriteHeader(http.StatusOK)
	case "held":
		x.holding()
	case "404 with -32601":
		x.w.Header().Set("Content-Type", "application/json")
		x.w.WriteHeader(http.StatusNotFound)
		io.WriteString(x.w, unknown)
	case "-32601":
		x.respond(unknown)
	default:
		status, _ := strconv.Atoi(x.probed)
		x.w.WriteHeader(status)
	}
}

// holding leaves the request without a response.
func (x *exchange) holding() {
	x.ledger.mu.Lock()
	if x.n == 0 {
		x.stalled = true // whoever waits for it
	} else {
		x.fact(x.n).held = true
	}
	x.ledger.mu.Unlock()
	for range 6 {
		select {
		case <-x.r.Context().Done():
			return
		case <-x.over:
			return
		case <-time.After(endsWithin):
		}
	}
	x.dropped()
	x.hold(x.r)
}

// dropped checks that the host still waits for a request which is held open.
func (x *exchange) dropped() {
	x.ledger.mu.Lock()
	defer x.ledger.mu.Unlock()
	if a := x.asked[x.ids[x.n]]; a != nil && a.cancelled && time.Since(a.ended) > 2*endsWithin {
		x.findLocked("request %s is still open at the server, though the host has cancelled it", x.m.ID)
	}
}

// rejectLegacy rejects a request of an earlier era.
func (x *exchange) rejectLegacy() {
	x.note("server: %s %s: of an earlier era", x.m.Method, x.m.ID)
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32022,"message":"unsupported","data":{"supported":["2026-07-28"]}}}`, x.m.ID)
	x.w.Header().Set("Content-Type", "application/json")
	x.w.WriteHeader(http.StatusBadRequest)
	io.WriteString(x.w, body)
}

// listen is a modern server's stream of notifications.
func (x *exchange) listen() {
	x.sendEvents(fmt.Sprintf(`data: {"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":%s},"notifications":{"toolsListChanged":true}}}`+"\n\n", x.m.ID))
	for {
		select {
		case <-time.After(time.Minute):
			x.sendEvents(fmt.Sprintf(`data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":%s}}}`+"\n\n", x.m.ID))
		case <-x.r.Context().Done():
			return
		case <-x.over:
			return
		}
	}
}
