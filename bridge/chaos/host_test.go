package chaos

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// host is the random MCP host.
type host struct {
	*plan
	*ledger
	in    *io.PipeWriter
	queue chan line
	wrote chan struct{} // closed when nothing more is written

	n   int    // numbers requests
	seq int    // numbers notifications
	era string // legacy or modern

	mu     sync.Mutex // guards what follows
	part   []byte     // of a line
	broken bool       // nothing reads standard output
	failed chan struct{}
	last   map[string]string // the last responses, by id, for those that wait
}

// line is a line to write, and what it is for the ledger.
type line struct {
	text string
	keys []string // of the requests in it
}

func newHost(p *plan, l *ledger, in *io.PipeWriter) *host {
	h := &host{plan: p, ledger: l, in: in, queue: make(chan line, 10000), wrote: make(chan struct{}), failed: make(chan struct{}),
		last: map[string]string{}, era: "legacy"}
	if p.host == "modern" {
		h.era = "modern"
	}
	go h.write()
	return h
}

// write writes the lines of the queue.
func (h *host) write() {
	defer close(h.wrote)
	for one := range h.queue {
		h.note("host    → %s", one.text)
		if _, err := io.WriteString(h.in, one.text+"\n"); err != nil {
			return
		}
		h.ledger.mu.Lock()
		for _, key := range one.keys {
			h.asked[key].read = true
		}
		h.ledger.mu.Unlock()
	}
	h.ledger.mu.Lock()
	h.inputEnd = true
	h.ledger.mu.Unlock()
	h.note("host    closes standard input")
	h.in.Close()
}

// Write takes what the bridge writes. It never waits.
func (h *host) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.broken {
		select {
		case <-h.failed:
		default:
			close(h.failed)
		}
		return 0, errors.New("broken pipe")
	}
	h.part = append(h.part, p...)
	for {
		i := bytes.IndexByte(h.part, '\n')
		if i < 0 {
			return len(p), nil
		}
		one := bytes.Clone(h.part[:i])
		h.part = h.part[i+1:]
		h.got(one)
	}
}

// got deals with a line of the bridge's. The caller holds mu.
func (h *host) got(one []byte) {
	id, method := h.line(one)
	var m struct {
		ID json.RawMessage `json:"id"`
	}
	if method == "" {
		if json.Unmarshal(one, &m) == nil {
			h.last[idKey(m.ID)] = string(one)
		}
		return
	}
	if len(id) == 0 {
		return
	}
	go h.reply(id, method)
}

// reply responds to a request of the server's.
func (h *host) reply(id json.RawMessage, method string) {
	dice := h.dice("reply", string(id))
	time.Sleep(time.Duration(dice.IntN(200)) * time.Millisecond) // in the bubble
	body := `"result":{}`
	switch dice.IntN(8) {
	case 0:
		return
	case 1:
		body = fmt.Sprintf(`"error":{"code":-32601,"message":"no %s"}`, method)
	}
	h.send(line{text: fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,%s}`, id, body)})
}

// send queues a line, unless standard input has been closed.
func (h *host) send(one line) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.queue != nil {
		h.n++
		h.ledger.mu.Lock()
		h.active[-h.n] = time.Now()
		h.ledger.mu.Unlock()
		h.queue <- one
	}
}

// close ends standard input once all is written.
func (h *host) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.queue != nil {
		close(h.queue)
		h.queue = nil
	}
}

// meta is the _meta of a request or notification.
func (h *host) meta(name string, n int) string {
	meta := fmt.Sprintf(`%q:%d`, name, n)
	if h.era == "modern" {
		meta += `,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"h","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}`
	}
	return `"_meta":{` + meta + `}`
}

// request builds a request and enters it in the ledger.
func (h *host) request(dice *rand.Rand, method, params string) (text, key string) {
	h.mu.Lock()
	h.n++
	n := h.n
	h.mu.Unlock()
	id := fmt.Sprintf(pick(dice, `%d`, `%d`, `"r%d"`, `"r\u002d%d"`, `-%d`, `"a/%d"`, `%d00000000000000000`), n)
	if params != "" {
		params = "," + params
	}
	h.sending(json.RawMessage(id), n, method)
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":{%s%s}}`, id, method, h.meta(metaNumber, n), params), idKey(json.RawMessage(id))
}

// ask sends a request and returns its id's key.
func (h *host) ask(dice *rand.Rand, method, params string) string {
	text, key := h.request(dice, method, params)
	h.send(line{text, []string{key}})
	return key
}

func (h *host) notification(method string) {
	h.seq++
	h.notify(method, "test/seq", h.seq)
}

func (h *host) notify(method, meta string, n int) {
	h.send(line{text: fmt.Sprintf(`{"jsonrpc":"2.0","method":%q,"params":{%s}}`, method, h.meta(meta, n))})
}

// initialized ends the handshake. The bridge repeats that in each new session.
func (h *host) initialized() { h.notify("notifications/initialized", "test/initialized", 1) }

// await waits until a condition holds, with a bound.
func (h *host) await(d time.Duration, holds func() bool) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		h.ledger.mu.Lock()
		changed := h.changed
		h.ledger.mu.Unlock()
		if holds() {
			return true
		}
		select {
		case <-changed:
		case <-timer.C:
			return holds()
		}
	}
}

// response waits for a response, and returns it or "".
func (h *host) response(key string, d time.Duration) (text string) {
	h.await(d, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		text = h.last[key]
		return text != ""
	})
	return text
}

const clientInfo = `"protocolVersion":"2025-06-18","capabilities":{"sampling":{},"roots":{},"elicitation":{}},"clientInfo":{"name":"chaos","version":"1"}`

// begin begins as hosts do: with a probe, an initialize or both.
func (h *host) begin() {
	dice := h.dice("begin")
	switch h.plan.host {
	case "modern":
		h.response(h.ask(dice, "server/discover", ""), time.Minute)
		return
	case "probing":
		h.era = "modern"
		probe := h.ask(dice, "server/discover", "")
		if dice.IntN(3) > 0 {
			got := h.response(probe, pick(dice, time.Second, 10*time.Second, time.Minute))
			if strings.Contains(got, `"supportedVersions"`) && dice.IntN(2) == 0 {
				return
			}
		}
		h.era = "legacy"
	}
	for range 3 {
		got := h.response(h.ask(dice, "initialize", clientInfo), time.Minute)
		if strings.Contains(got, `"result"`) {
			break
		}
		time.Sleep(time.Second) // in the bubble
	}
	h.initialized()
}

// act takes the host's steps. At some of them, quake shakes the server.
func (h *host) act(quake func(*rand.Rand)) {
	h.begin()
	stuck := 0
	for step := range h.steps {
		dice := h.dice("step", step)
		if dice.Float64() < h.quake {
			quake(dice)
		}
		h.step(dice)
		if late := h.crowd(&stuck); late {
			return
		}
	}
}

// crowd waits until another request may be sent, and reports whether one
// is overdue. What is stuck does not count any more.
func (h *host) crowd(stuck *int) (late bool) {
	var overdue []string
	if !h.await(respondsWithin+time.Second, func() bool {
		var n int
		n, overdue = h.open()
		return n < h.flight+*stuck || len(overdue) > 0
	}) {
		*stuck, _ = h.open()
	}
	return len(overdue) > 0
}

// step does one thing.
func (h *host) step(dice *rand.Rand) {
	switch n := dice.IntN(100); {
	case n < 55:
		h.ask(dice, "tools/call", `"name":"x","arguments":{"text":"äö\u2028"}`)
	case n < 65:
		h.ask(dice, pick(dice, "tools/list", "prompts/list", "resources/list", "resources/templates/list", "ping"), "")
	case n < 67:
		h.ask(dice, pick(dice, "resources/subscribe", "resources/unsubscribe"), `"uri":"file:///x"`)
	case n < 76:
		h.notification(pick(dice, "notifications/roots/list_changed", "notifications/progress"))
	case n < 81:
		key := h.ask(dice, "tools/call", pick(dice, `"name":"x"`, `"name":"endless"`))
		time.Sleep(time.Duration(dice.IntN(100)) * time.Millisecond) // in the bubble
		h.cancelRequest(key)
	case n < 91:
		time.Sleep(time.Duration(dice.IntN(2000)) * time.Millisecond) // in the bubble
	case n < 94:
		if h.era == "legacy" {
			h.batch(dice)
		}
	case n < 96:
		h.ledger.mu.Lock()
		h.idless++
		h.ledger.mu.Unlock()
		h.send(line{text: pick(dice, `{`, `"text"`, `{"jsonrpc":"2.0",`, `nothing`)})
	case n < 97:
		time.Sleep(time.Duration(1+dice.IntN(4)) * time.Minute) // in the bubble
	case n < 98:
		h.mistake(dice)
	case n < 99:
		h.again(dice)
	case h.era == "modern":
		h.ask(dice, "subscriptions/listen", `"notifications":{"toolsListChanged":true}`)
	}
}

// mistake sends what a host must not send, and gets an error for it.
func (h *host) mistake(dice *rand.Rand) {
	text, key := h.request(dice, "ping", "")
	switch kind := dice.IntN(4); kind {
	case 0: // an id that is in use, if it is
		h.send(line{text, []string{key}})
		h.ledger.mu.Lock()
		h.asked[key].sent++
		h.ledger.mu.Unlock()
	case 1: // a line over the limit
		text = strings.TrimSuffix(text, "}") + `,"much":"` + strings.Repeat("x", maxMessage) + `"}`
	case 2: // too deep
		text = strings.TrimSuffix(text, "}") + `,"deep":` + strings.Repeat("[", 50000) + strings.Repeat("]", 50000) + "}"
	case 3: // members twice
		text = strings.Replace(text, `"method":"ping"`, `"method":"ping","method":"tools/call"`, 1)
	}
	h.send(line{text, []string{key}})
}

// again begins once more, as some hosts do.
func (h *host) again(dice *rand.Rand) {
	if h.era == "legacy" {
		h.response(h.ask(dice, "initialize", clientInfo), time.Minute)
		h.initialized()
	}
}

// cancelRequest tells that the host waits for a request no more.
func (h *host) cancelRequest(key string) {
	id := key
	if strings.HasPrefix(key, `"`) {
		spelt, _ := json.Marshal(key[1:])
		id = string(spelt)
	}
	h.cancel(key)
	h.send(line{text: fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%s,%s}}`, id, h.meta("test/cancelled", 1))})
}

func (h *host) batch(dice *rand.Rand) {
	var parts, keys []string
	for range 1 + dice.IntN(4) {
		text, key := h.request(dice, pick(dice, "tools/call", "ping"), `"name":"x"`)
		h.ledger.mu.Lock()
		h.asked[key].call = false // not each server takes batches
		h.ledger.mu.Unlock()
		parts, keys = append(parts, text), append(keys, key)
	}
	h.send(line{"[" + strings.Join(parts, ",") + "]", keys})
}
