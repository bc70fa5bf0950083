package chaos

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// notified deals with a notification of the host's.
func (x *exchange) notified() {
	if x.gone() {
		return
	}
	kind := "202"
	if x.rate > 0 && x.dice.IntN(5) == 0 {
		kind = pick(x.dice, "200", "204", "slow", "400", "500", "dropped", "held", "event stream")
	}
	if kind != "400" && kind != "500" {
		x.ordered()
	}
	switch kind {
	case "slow":
		x.pause(time.Duration(x.dice.IntN(3000)) * time.Millisecond)
		x.accept()
	case "dropped":
		panic(http.ErrAbortHandler)
	case "held":
		x.hold(x.r)
	case "event stream":
		x.sendEvents(": nothing\n\n")
		x.hold(x.r)
	default:
		status, _ := strconv.Atoi(kind)
		x.w.WriteHeader(status)
	}
}

// gone tells that the session is over, where it is.
func (x *exchange) gone() bool {
	if x.server.server == "legacy" && x.s == nil {
		x.tellForgotten()
		return true
	}
	return false
}

// ordered checks that notifications come in the host's order, and once.
func (x *exchange) ordered() {
	seq, err := strconv.Atoi(string(x.m.Params.Meta["test/seq"]))
	if err != nil {
		return
	}
	x.mu.Lock()
	last := x.tries["seq"]
	x.tries["seq"] = max(last, seq)
	x.mu.Unlock()
	if seq <= last {
		x.find("notification %d came after notification %d", seq, last)
	}
}

// replied deals with the host's response to a request of the server's.
func (x *exchange) replied() {
	if x.gone() {
		return
	}
	key := idKey(x.m.ID)
	x.mu.Lock()
	take := x.pending[key]
	delete(x.pending, key)
	x.tries["reply "+key]++
	times := x.tries["reply "+key]
	x.mu.Unlock()
	if times > 1 {
		x.find("the host's response to %s came %d times", x.m.ID, times)
	}
	if take != nil {
		take(x.m)
	}
	x.w.WriteHeader(http.StatusAccepted)
}

// ask sends the host a request while a request of its own is under way, and waits a
// while for the response.
func (x *exchange) ask() {
	id := pick(x.dice, `"ask-%d"`, `9%04d`, `"ask\u002d%d"`, `-1%04d`)
	id = fmt.Sprintf(id, x.next())
	serial := "s" + strconv.Itoa(x.next())
	reply := make(chan message, 1)
	x.mu.Lock()
	x.pending[idKey(json.RawMessage(id))] = func(m message) { reply <- m }
	x.mu.Unlock()
	x.ledger.mu.Lock()
	x.notices[serial]++
	x.ledger.mu.Unlock()
	method := pick(x.dice, "ping", "roots/list", "sampling/createMessage", "elicitation/create")
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":{"serial":%q}}`, id, method, serial)
	switch {
	case x.sse:
		x.push(x.s, body)
	case x.json && !x.push(x.s, body):
		return
	case !x.json:
		x.sendEvents(event(body))
	}
	select {
	case <-reply:
	case <-time.After(10 * time.Second):
	case <-x.r.Context().Done():
	case <-x.over:
	}
}

// batch deals with a batch.
func (s *server) batch(w http.ResponseWriter, r *http.Request, body []byte) {
	s.note("server ← POST %s", body)
	var parts []message
	if json.Unmarshal(body, &parts) != nil {
		http.Error(w, "no JSON", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	one := s.sessions[session_(r)]
	s.mu.Unlock()
	x := &exchange{server: s, w: w, r: r, s: one, sse: s.server == "sse"}
	if x.gone() {
		return
	}
	if s.server == "modern" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var responses []string
	for _, m := range parts {
		if len(m.ID) == 0 {
			continue
		}
		part := *x
		part.m, part.n = m, m.number()
		x.n, x.dice = part.n, s.dice("batch", part.n)
		part.carry()
		responses = append(responses, part.result())
	}
	if x.dice == nil { // nothing but notifications
		w.WriteHeader(http.StatusAccepted)
		return
	}
	if x.rate > 0 && x.dice.IntN(4) == 0 {
		s.note("server: the batch gets one response too few")
		responses = responses[1:]
	}
	x.dice.Shuffle(len(responses), func(i, j int) { responses[i], responses[j] = responses[j], responses[i] })
	switch {
	case x.sse:
		x.accept()
		for _, one := range responses {
			x.push(x.s, one)
		}
	case x.dice.IntN(2) == 0:
		x.sendJSON("[" + strings.Join(responses, ",") + "]")
	default:
		for _, one := range responses {
			x.sendEvents(event(one))
		}
	}
}
