package bridge_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
	"github.com/handstamp/handstamp/internal/proctest"
)

// timeout bounds every wait of these tests.
const timeout = time.Minute

// host is the MCP host's end of a bridge, raw.
type host struct {
	t     *testing.T
	in    *io.PipeWriter
	done  chan error
	limit time.Duration // of a wait

	mu    sync.Mutex // guards what follows
	lines []string
	more  chan struct{} // closed when a line comes
	taken map[int]bool
}

// start runs a bridge and returns its host's end. The bridge ends with the test.
func start(t *testing.T, o bridge.Options) *host {
	t.Helper()
	return startWatched(t, o, func(string) {})
}

// startWatched is start, and watch sees each line as it comes.
func startWatched(t *testing.T, o bridge.Options, watch func(line string)) *host {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	o.Stdin, o.Stdout = inR, outW
	h := &host{t: t, limit: timeout, in: inW, done: make(chan error, 1), more: make(chan struct{}), taken: make(map[int]bool)}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		h.done <- bridge.Run(ctx, o)
		outW.Close()
	}()
	go func() {
		for r := bufio.NewReader(outR); ; {
			line, err := r.ReadString('\n')
			if line != "" {
				line = strings.TrimSuffix(line, "\n")
				watch(line)
				h.mu.Lock()
				h.lines = append(h.lines, line)
				close(h.more)
				h.more = make(chan struct{})
				h.mu.Unlock()
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		inW.Close()
		cancel()
		select {
		case <-h.done:
		case <-time.After(timeout):
			t.Error("the bridge does not end")
		}
	})
	return h
}

// send writes lines as they are.
func (h *host) send(lines ...string) {
	h.t.Helper()
	for _, line := range lines {
		if _, err := io.WriteString(h.in, line+"\n"); err != nil {
			h.t.Fatal(err)
		}
	}
}

// wait returns the first line that no one has taken and that ok accepts.
func (h *host) wait(what string, ok func(line string) bool) string {
	h.t.Helper()
	return h.waitWithin(h.limit, what, ok)
}

// waitWithin is wait with a bound of its own.
func (h *host) waitWithin(bound time.Duration, what string, ok func(line string) bool) string {
	h.t.Helper()
	deadline := time.NewTimer(bound)
	defer deadline.Stop()
	for {
		h.mu.Lock()
		for i, line := range h.lines {
			if !h.taken[i] && ok(line) {
				h.taken[i] = true
				h.mu.Unlock()
				return line
			}
		}
		more := h.more
		h.mu.Unlock()
		select {
		case <-more:
		case <-deadline.C:
			h.t.Fatalf("no %s within %v; the host got:\n%s", what, bound, strings.Join(h.all(), "\n"))
		}
	}
}

// response returns the response with an id, as it is spelt.
func (h *host) response(id string) string {
	h.t.Helper()
	return h.wait("response to "+id, responds(id))
}

// responseWithin is response with a bound of its own, and returns how long the response took.
func (h *host) responseWithin(id string, bound time.Duration) (line string, took time.Duration) {
	h.t.Helper()
	began := time.Now()
	line = h.waitWithin(bound, "response to "+id, responds(id))
	return line, time.Since(began)
}

// responds accepts the response with an id, as it is spelt.
func responds(id string) func(line string) bool {
	return func(line string) bool {
		var m struct {
			ID     json.RawMessage
			Method string
		}
		return json.Unmarshal([]byte(line), &m) == nil && string(m.ID) == id && m.Method == ""
	}
}

// note returns a request or notification of a method.
func (h *host) note(method string) string {
	h.t.Helper()
	return h.wait(method, func(line string) bool {
		var m struct{ Method string }
		return json.Unmarshal([]byte(line), &m) == nil && m.Method == method
	})
}

// all returns what the host has got.
func (h *host) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string{}, h.lines...)
}

// hello begins a session of before 2026-07-28.
func (h *host) hello() string {
	h.t.Helper()
	h.send(`{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`)
	response := h.response(`"hello"`)
	h.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return response
}

// end ends standard input, and returns how the bridge ended.
func (h *host) end() error {
	h.in.Close()
	err := <-h.done
	h.done <- err // for whoever looks at the end of the test
	return err
}

// toolCall makes a call with a number for its id.
func toolCall(id int) string { return streamCall(strconv.Itoa(id)) }

// streamCall makes a call with an id.
func streamCall(id string) string {
	return `{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"name":"x"}}`
}

// get reads a member of a JSON text, by a path of names.
func get(t *testing.T, line string, path ...string) string {
	t.Helper()
	raw := json.RawMessage(line)
	for _, name := range path {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(raw, &object); err != nil {
			t.Fatalf("%s has no %v", line, path)
		}
		raw = object[name]
	}
	return string(raw)
}

// serve starts an HTTP server for a test.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL + "/mcp"
}

// request is one POST as a server sees it.
type request struct {
	header http.Header
	method string
	id     string
	body   string
	params json.RawMessage
}

func readRequest(r *http.Request) request {
	body, _ := io.ReadAll(r.Body)
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Params json.RawMessage `json:"params"`
	}
	_ = json.Unmarshal(body, &m)
	return request{header: r.Header, method: m.Method, id: string(m.ID), body: string(body), params: m.Params}
}

// result responds to a request with a result.
func result(w http.ResponseWriter, id, value string) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, id, value)
}

const initialized = `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}`

// waitFor waits until a condition holds.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	proctest.Wait(t, timeout, what, ok)
}
