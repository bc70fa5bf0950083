package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// soon is how long what a bridge can do at once may take, on a busy machine.
const soon = 5 * time.Second

// beginning is how long the response to a host's initialize may take: the shortest limit of
// the MCP hosts that are known.
const beginning = 5 * time.Second

// A host is an MCP host that has started a bridge and speaks with it on standard input and
// output.
type host struct {
	p     *play
	cmd   *exec.Cmd
	in    io.WriteCloser
	began time.Time

	serial int

	mu     sync.Mutex // guards what follows
	lines  []line
	stderr bytes.Buffer
	more   chan struct{} // closed and replaced when there is more of either
	over   bool          // nothing more can be read

	ended chan struct{} // closed when the process has ended
}

// A line is what the bridge wrote. The raw bytes of a long one are not kept.
type line struct {
	raw     []byte
	length  int
	message message
	fault   string // why it is no JSON-RPC message
}

// message holds the members of a JSON object by their exact names.
type message map[string]json.RawMessage

// parseMessage returns an object's members; nil: it is none.
func parseMessage(raw []byte) message {
	var m message
	if json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return m
}

// at returns the value of a member of a member.
func (m message) at(path ...string) string {
	for i, name := range path {
		value := m[name]
		if i == len(path)-1 {
			return string(value)
		}
		m = parseMessage(value)
	}
	return ""
}

// text is at for a value that is a string.
func (m message) text(path ...string) string {
	var s string
	_ = json.Unmarshal([]byte(m.at(path...)), &s)
	return s
}

// bridge starts the contestant in front of a server.
func (p *play) bridge(url string, flags ...string) *host {
	cmd := p.command(p, url, flags...)
	h := &host{p: p, cmd: cmd, more: make(chan struct{}), ended: make(chan struct{})}
	var err error
	h.in, err = cmd.StdinPipe()
	p.must(err)
	out, err := cmd.StdoutPipe()
	p.must(err)
	failures, err := cmd.StderrPipe()
	p.must(err)
	h.began = time.Now()
	p.must(cmd.Start())
	var reading sync.WaitGroup
	reading.Go(func() { h.read(out) })
	reading.Go(func() {
		chunk := make([]byte, 4096)
		for {
			n, err := failures.Read(chunk)
			h.mu.Lock()
			h.stderr.Write(chunk[:n])
			h.changed()
			h.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	go func() {
		reading.Wait()
		_ = cmd.Wait()
		close(h.ended)
	}()
	p.hosts = append(p.hosts, h)
	context.AfterFunc(p.ctx, func() { _ = cmd.Process.Kill() }) // which ends a write, too
	p.cleanup(func() {
		_ = cmd.Process.Kill()
		<-h.ended
	})
	return h
}

// changed wakes who waits. The caller holds mu.
func (h *host) changed() {
	close(h.more)
	h.more = make(chan struct{})
}

func (h *host) change() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.more
}

// longLine is the length of a line from which on only its head is looked at.
const longLine = 8 << 20

func (h *host) read(out io.Reader) {
	r := bufio.NewReaderSize(out, 256<<10)
	for {
		var raw []byte
		length := 0
		part, err := r.ReadSlice('\n')
		for errors.Is(err, bufio.ErrBufferFull) {
			if length += len(part); length <= longLine {
				raw = append(raw, part...)
			}
			part, err = r.ReadSlice('\n')
		}
		if length += len(part); length <= longLine {
			raw = append(raw, part...)
		}
		h.mu.Lock()
		if length > 0 {
			h.lines = append(h.lines, newLine(raw, length))
		}
		h.over = err != nil
		h.changed()
		h.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func newLine(raw []byte, length int) line {
	if length > longLine {
		return line{length: length, message: headOf(raw)}
	}
	raw = bytes.TrimSuffix(raw, []byte("\n"))
	l := line{raw: raw, length: length, message: parseMessage(raw)}
	l.fault = fault(raw, l.message)
	return l
}

// headOf returns the members before the first one that is long, as far as they are simple.
func headOf(raw []byte) message {
	m := make(message)
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return m
	}
	for {
		name, err := d.Token()
		if err != nil {
			return m
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			m[fmt.Sprint(name)] = json.RawMessage("{}") // the long one
			return m
		}
		m[fmt.Sprint(name)] = value
	}
}

// fault returns why a line is not what the strictest of the hosts' parsers takes.
func fault(raw []byte, m message) string {
	_, result := m["result"]
	_, failure := m["error"]
	_, method := m["method"]
	_, id := m["id"]
	switch {
	case !utf8.Valid(raw):
		return "is not UTF-8"
	case !json.Valid(raw):
		return "is not JSON"
	case len(raw) > 0 && raw[0] == '[':
		return ""
	case m.text("jsonrpc") != "2.0":
		return "lacks jsonrpc"
	case result && failure:
		return "has a result and an error"
	case !result && !failure && !method:
		return "is neither request nor response"
	case (result || failure) && !id:
		return "is a response without an id"
	case failure && parseMessage(m["error"]) == nil:
		return "has an error that is no object"
	}
	return ""
}

// send writes a line.
func (h *host) send(format string, args ...any) {
	raw := format
	if len(args) > 0 {
		raw = fmt.Sprintf(format, args...)
	}
	if _, err := io.WriteString(h.in, raw+"\n"); err != nil {
		h.p.wrong("the bridge has ended: %s", h.lastWords())
	}
}

// lastWords returns the last line of standard error with content: not a bracket, nor
// a place in a program.
func (h *host) lastWords() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := "without a word"
	for l := range strings.Lines(h.stderr.String()) {
		l = strings.TrimSpace(l)
		if len(l) > 2 && !strings.HasPrefix(l, "at ") && !strings.HasPrefix(l, "Node.js v") && strings.ContainsRune(l, ' ') {
			last = short(l)
		}
	}
	return last
}

// request sends a request and returns its id.
func (h *host) request(method, params string) (id string) {
	h.serial++
	id = strconv.Itoa(h.serial)
	if params == "" {
		params = "{}"
	}
	h.send(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":%s}`, id, method, params)
	return id
}

// call requests that the tool echo returns a text.
func (h *host) call(text string) (id string) {
	return h.request("tools/call", fmt.Sprintf(`{"name":"echo","arguments":{"text":%q}}`, text))
}

// find returns the first line that matches.
func (h *host) find(match func(line) bool) (line, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.lines {
		if match(l) {
			return l, true
		}
	}
	return line{}, false
}

func (h *host) ending() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.over
}

func responds(id string) func(line) bool {
	return func(l line) bool { return l.message["method"] == nil && string(l.message["id"]) == id }
}

// response returns the response to a request, which must come in time.
func (h *host) response(id string, limit time.Duration) line {
	var l line
	var found bool
	h.p.until(limit, h.change, func() bool {
		l, found = h.find(responds(id))
		return found || h.ending()
	})
	switch {
	case found:
	case h.ending():
		h.p.wrong("the bridge ends: %s", h.lastWords())
	default:
		h.p.wrong("no response within %s", seconds(h.p.limit(limit)))
	}
	if l.fault != "" {
		h.p.wrong("the host gets a line that %s", l.fault)
	}
	return l
}

// result returns the result of a request, which must succeed.
func (h *host) result(id string, limit time.Duration) message {
	l := h.response(id, limit)
	if l.message["result"] == nil {
		h.p.wrong("error %s: %s", l.message.at("error", "code"), short(l.message.text("error", "message")))
	}
	return l.message
}

// failure returns the error of a request, which must fail.
func (h *host) failure(id string, limit time.Duration) message {
	l := h.response(id, limit)
	if l.message["error"] == nil {
		h.p.wrong("a result in place of an error")
	}
	return l.message
}

// echoed calls the tool, whose result must be right.
func (h *host) echoed(text string, limit time.Duration) {
	h.isEcho(h.call(text), text, limit)
}

func (h *host) isEcho(id, text string, limit time.Duration) {
	got := h.result(id, limit)
	var content []message
	_ = json.Unmarshal([]byte(got.at("result", "content")), &content)
	if len(content) != 1 || content[0].text("text") != text {
		h.p.wrong("another result than the server's: %s", short(string(got["result"])))
	}
}

// greeting is what the hosts of 2025-11-25 begin with.
const greeting = `{"protocolVersion":"2025-11-25","capabilities":{"roots":{"listChanged":true}},"clientInfo":{"name":"field","version":"1"}}`

// session starts a bridge to a server and begins a session.
func (p *play) session(s *server, flags ...string) *host {
	h := p.bridge(s.url, flags...)
	h.initialize()
	return h
}

// initialize begins a session and returns the result.
func (h *host) initialize() message { return h.initializeWithin(4 * beginning) }

// initializeWithin begins a session, within a time, and returns the result.
func (h *host) initializeWithin(limit time.Duration) message {
	got := h.result(h.request("initialize", greeting), limit)
	h.initialized()
	return got
}

func (h *host) initialized() {
	h.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
}

// note waits for a notification or request of the server's.
func (h *host) note(method string, limit time.Duration) message {
	var l line
	var found bool
	h.p.until(limit, h.change, func() bool {
		l, found = h.find(func(l line) bool { return l.message.text("method") == method })
		return found || h.ending()
	})
	if !found {
		h.p.wrong("%s does not reach the host within %s", method, seconds(h.p.limit(limit)))
	}
	return l.message
}

// tools returns the names of the tools that the host is shown.
func (h *host) tools(limit time.Duration) []string {
	return toolNames(h.result(h.request("tools/list", ""), limit))
}

// toolNames returns the names in a response to tools/list.
func toolNames(got message) []string {
	var all []message
	_ = json.Unmarshal([]byte(got.at("result", "tools")), &all)
	var list []string
	for _, tool := range all {
		list = append(list, tool.text("name"))
	}
	return list
}

// audit checks what holds of every play: each line is a message, and no request has two
// responses.
func (h *host) audit() {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := make(map[string]bool)
	for _, l := range h.lines {
		if l.fault != "" {
			h.p.wrong("the host gets a line that %s", l.fault)
		}
		id := string(l.message["id"])
		if l.message["method"] != nil || id == "" || id == "null" {
			continue
		}
		if seen[id] {
			h.p.wrong("a request has two responses")
		}
		seen[id] = true
	}
}

// ends reports whether the process ends in time.
func (h *host) ends(limit time.Duration) bool {
	timer := time.NewTimer(h.p.limit(limit))
	defer timer.Stop()
	select {
	case <-h.ended:
		return true
	case <-timer.C:
		return false
	}
}

// peak returns the most memory that the process has had resident, in MiB, or zero where the
// system does not say.
func (h *host) peak() int {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(h.cmd.Process.Pid) + "/status")
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(l, "VmHWM:"); ok {
			kib, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			return kib >> 10
		}
	}
	return 0
}

// takesAtMost checks the most memory that the process has had resident, in MiB.
func (h *host) takesAtMost(most int) {
	if mib := h.peak(); mib > most {
		h.p.wrong("it takes %d MiB", (mib+50)/100*100)
	}
}

// short cuts a sentence of others down to what fits a table.
func short(s string) string {
	s = strings.Join(strings.Fields(address.ReplaceAllString(s, "HOST")), " ")
	s = strings.ReplaceAll(s, "|", "/")
	if r := []rune(s); len(r) > 90 {
		s = string(r[:90]) + "…"
	}
	return s
}

func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + " s"
}
