package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// mcpHost is an MCP host in this process: it talks to a server through a bridge, so that
// tools and call meet each server as the bridge does. Its methods are for one
// goroutine.
type mcpHost struct {
	app     *app
	target  *target
	in      io.WriteCloser
	lines   *bufio.Reader
	done    chan error
	life    context.Context
	end     context.CancelFunc
	serial  int
	begun   bool // notifications/initialized was sent
	carried *carriedSecrets
	trouble atomic.Pointer[advised] // the last of the library's errors
}

// rpcError is an error of JSON-RPC.
type rpcError struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}

func (e *rpcError) Error() string { return "the server returned an error: " + e.Message }

// later reports whether the same request may succeed at another time.
func (e *rpcError) later() bool {
	var data struct{ Retryable bool }
	return json.Unmarshal(e.Data, &data) == nil && data.Retryable
}

// invalid reports whether an error's code means that a request was rejected before it
// was carried out.
func (e *rpcError) invalid() bool {
	const invalidRequest, invalidParams = -32600, -32602
	const notInitialized = -32002 // LSP's
	return e.Code == invalidRequest || e.Code == invalidParams || e.Code == notInitialized
}

// initialization reports whether an error's text mentions initialization.
func (e *rpcError) initialization() bool {
	return strings.Contains(strings.ToLower(e.Message), "initializ")
}

// errorOf returns the error of a response, nil where it has none. One that can't be
// read is an error all the same: nothing else will come.
func errorOf(raw json.RawMessage) *rpcError {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var e rpcError
	if json.Unmarshal(raw, &e) == nil {
		return &e
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		var members map[string]json.RawMessage
		_ = json.Unmarshal(raw, &members)
		_ = json.Unmarshal(members["message"], &text)
	}
	return &rpcError{Code: -32603, Message: cmp.Or(text, "an error that cannot be read")}
}

// host begins a session with a server. A login that is needed is waited for, as
// other commands do.
func (b *bridgeCommand) host(ctx context.Context, t *target) (*mcpHost, error) {
	b.direct = true
	o, err := b.options(ctx, t)
	if err != nil {
		return nil, err
	}
	h := &mcpHost{app: b.app, target: t, done: make(chan error, 1), carried: b.carried}
	explain := o.Explain
	o.Explain = func(err error) *bridge.Trouble {
		trouble := explain(err)
		if trouble != nil {
			h.trouble.Store(&advised{err: err, server: t.url, command: trouble.Command})
		}
		return trouble
	}
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	o.Stdin, o.Stdout, o.Brief = inR, outW, true
	session := &sessionWatch{RoundTripper: o.HTTP.Transport}
	o.HTTP.Transport = session
	h.in, h.lines = inW, bufio.NewReaderSize(outR, 64<<10)
	life, end := context.WithCancel(ctx)
	h.life, h.end = life, end
	go func() {
		err := bridge.Run(life, *o)
		outW.Close()
		inR.Close()
		h.done <- err
	}()
	_, err = h.request("initialize", map[string]any{
		"protocolVersion": "2025-11-25", "capabilities": map[string]any{},
		"clientInfo": map[string]string{"name": "handstamp", "version": buildVersion().Version},
	})
	if err == nil && session.begun.Load() {
		err = h.initialized()
	}
	if err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// initialized sends notifications/initialized. A server that keeps no session does not
// need it, and the request is saved; should it reject requests without it, request makes
// up for that.
func (h *mcpHost) initialized() error {
	h.begun = true
	return h.write(map[string]any{"method": "notifications/initialized"})
}

// sessionWatch notes whether the server keeps a session: it has named one, or sends
// what belongs to none of the requests on a stream.
type sessionWatch struct {
	http.RoundTripper
	begun atomic.Bool
}

func (s *sessionWatch) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.RoundTripper.RoundTrip(req)
	if err == nil && (resp.Header.Get("Mcp-Session-Id") != "" ||
		req.Method == http.MethodGet && resp.StatusCode == http.StatusOK) {
		s.begun.Store(true)
	}
	return resp, err
}

// close ends the session.
func (h *mcpHost) close() {
	h.in.Close()
	go io.Copy(io.Discard, h.lines)
	<-h.done
	h.end()
}

func (h *mcpHost) write(message map[string]any) error {
	message["jsonrpc"] = "2.0"
	line, err := json.Marshal(message)
	if err != nil {
		return err
	}
	_, err = h.in.Write(append(line, '\n'))
	return err
}

// slow is after how long a terminal shows what the command waits for.
const slow = time.Second

// request makes a request and returns its result. A server that rejects it because
// the session has not begun gets notifications/initialized, and then the request again.
func (h *mcpHost) request(method string, params map[string]any) (json.RawMessage, error) {
	result, err := h.send(method, params)
	rejected, ok := errors.AsType[*rpcError](err)
	if !ok || h.begun || method == "initialize" || method == "tools/call" && !h.rejectsAll(rejected) {
		return result, err
	}
	if err := h.initialized(); err != nil {
		return nil, err
	}
	return h.send(method, params)
}

// rejectsAll reports whether the server rejects the list of tools as it did a call: then
// the reason is the session and not the call, whose tool never ran. The text alone
// doesn't show that: a tool's own error may mention initialization, too, and a call that
// may have been carried out is not sent again.
func (h *mcpHost) rejectsAll(rejected *rpcError) bool {
	if !rejected.invalid() && !rejected.initialization() {
		return false
	}
	_, err := h.send("tools/list", map[string]any{})
	other, ok := errors.AsType[*rpcError](err)
	return ok && other.Code == rejected.Code &&
		(other.Message == rejected.Message || other.initialization() && rejected.initialization())
}

// send sends a request and returns its result. What the server sends meanwhile is
// shown if it is progress, and rejected if it is a request: no user is here to
// respond to it.
func (h *mcpHost) send(method string, params map[string]any) (json.RawMessage, error) {
	h.serial++
	err := h.write(map[string]any{"id": h.serial, "method": method, "params": params})
	if err != nil {
		return nil, err
	}
	defer h.showWaiting()()
	for {
		line, err := h.lines.ReadBytes('\n')
		if err != nil {
			return nil, h.ended()
		}
		var m map[string]json.RawMessage // not a struct, which takes "ID" for "id"
		var method string
		_ = json.Unmarshal(line, &m)
		_ = json.Unmarshal(m["method"], &method)
		id := m["id"]
		switch {
		case method == "notifications/progress":
			h.progress(m["params"])
		case method == "ping" && id != nil:
			err = h.write(map[string]any{"id": id, "result": map[string]any{}})
		case method != "" && id != nil:
			err = h.write(map[string]any{"id": id,
				"error": rpcError{Code: -32601, Message: "this client only calls tools"}})
		case method == "" && string(id) == fmt.Sprint(h.serial):
			return m["result"], h.failure(errorOf(m["error"]))
		}
		if err != nil {
			return nil, err
		}
	}
}

// showWaiting shows after a moment what the command waits for, until the function that it
// returns is called.
func (h *mcpHost) showWaiting() (stop func()) {
	shown := make(chan struct{})
	waiting := time.AfterFunc(slow, func() {
		defer close(shown)
		if !h.app.global.quiet {
			h.app.err.progress("Waiting for %s", h.target.name)
		}
	})
	return func() {
		// A line that has begun is finished first: it must not come after the
		// outcome.
		if !waiting.Stop() {
			<-shown
		}
	}
}

// ended returns the error for a session that ended before a response.
func (h *mcpHost) ended() error {
	if errors.Is(h.life.Err(), context.DeadlineExceeded) {
		return &failure{kind: kindUnreachable, message: "the server did not respond in time",
			hint: "a longer --timeout waits longer"}
	}
	return &failure{kind: kindOther, message: "the session ended before the response",
		hint: h.retryHint()}
}

// retryHint returns what to do after an error that may be over soon.
func (h *mcpHost) retryHint() string { return "try again later; " + h.backHint() }

func (h *mcpHost) backHint() string {
	return "to see whether the server is back, run: " + h.target.command("tools")
}

// failure returns what an error response means: the library's own error where one
// is behind it, with its exit code and its advice.
func (h *mcpHost) failure(e *rpcError) error {
	if e == nil {
		return nil
	}
	e.Message = h.carried.redact(e.Message)
	if trouble := h.trouble.Load(); trouble != nil {
		return trouble
	}
	switch {
	case e.Code == bridge.CodeUnreachable || e.Code == bridge.CodeRejected && e.later():
		return &failure{kind: kindUnreachable, message: e.Message, hint: h.retryHint()}
	case e.Code == bridge.CodeUncertain:
		return &failure{kind: kindUnreachable, message: e.Message,
			hint: "check whether it took effect before you repeat it; " + h.backHint()}
	case e.Code == bridge.CodeSignIn:
		return advise(&failure{kind: kindLogin, message: e.Message}, h.target)
	case e.Code == bridge.CodeProtocol:
		return &failure{kind: kindProtocol, message: e.Message, hint: h.urlHint()}
	case e.Code == bridge.CodeRejected:
		return &failure{kind: kindOther, message: e.Message, hint: h.urlHint()}
	}
	return e
}

// urlHint returns what to do where the first request already met something other
// than an MCP server.
func (h *mcpHost) urlHint() string {
	if h.serial > 1 {
		return ""
	}
	return "check the URL: handstamp login " + shellWord(h.target.name) +
		" looks for an MCP server there"
}

// progress shows how far a call has come.
func (h *mcpHost) progress(params json.RawMessage) {
	var p struct {
		Progress float64
		Total    float64
		Message  string
	}
	if json.Unmarshal(params, &p) != nil || h.app.global.quiet {
		return
	}
	far := fmt.Sprintf("%g", p.Progress)
	if p.Total > 0 {
		far = fmt.Sprintf("%.0f %%", 100*p.Progress/p.Total)
	}
	h.app.err.progress("%s %s", far, h.carried.redact(p.Message))
}

// tool is a tool as a server lists it.
type tool struct {
	Name        string
	Title       string
	Description string
	InputSchema struct {
		Properties map[string]struct{ Type any }
		Required   []string
	}
	raw json.RawMessage
}

// MarshalJSON returns the tool as the server lists it.
func (t *tool) MarshalJSON() ([]byte, error) { return t.raw, nil }

// maxPages bounds a list that the server gives in pages.
const maxPages = 1000

// tools returns all tools of the server.
func (h *mcpHost) tools() ([]*tool, error) {
	all := []*tool{}
	params := map[string]any{}
	for range maxPages {
		result, err := h.request("tools/list", params)
		if err != nil {
			return nil, err
		}
		var page struct {
			Tools      []json.RawMessage
			NextCursor string
		}
		if err := json.Unmarshal(result, &page); err != nil {
			return nil, protocolError("the server's list of tools cannot be read")
		}
		for _, raw := range page.Tools {
			t := &tool{raw: raw}
			_ = json.Unmarshal(raw, t) // a schema may be true, or wrong: the tool is there
			if t.Name != "" {
				all = append(all, t)
			}
		}
		if page.NextCursor == "" {
			return all, nil
		}
		params = map[string]any{"cursor": page.NextCursor}
	}
	return nil, protocolError("the server's list of tools has no end")
}
