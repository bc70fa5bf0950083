package bridge_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
	"github.com/handstamp/handstamp/internal/proctest"
)

func TestSession(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := &sessions{stream: make(chan string)}
		o := bubbleServer(t, s.ServeHTTP)
		o.Header = http.Header{"X-Mine": {"1"}}
		h := start(t, o)
		if got := h.hello(); get(t, got, "result") != initialized {
			t.Errorf("initialize has the response %s", got)
		}
		h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
		h.response("1")
		call := s.last("tools/list")
		for name, want := range map[string]string{
			"Mcp-Session-Id": "session-1", "Mcp-Protocol-Version": "2025-11-25", "X-Mine": "1",
			"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Mcp-Method": "",
		} {
			if got := call.header.Get(name); got != want {
				t.Errorf("%s is %q, not %q", name, got, want)
			}
		}
		if first := s.last("initialize"); first.header.Get("Mcp-Session-Id") != "" || first.header.Get("Mcp-Protocol-Version") != "" {
			t.Error("initialize has the headers of a session")
		}
		s.stream <- "id: 1\ndata: {\"jsonrpc\":\"2.0\",\ndata: \"method\":\"notifications/tools/list_changed\"}\n\n"
		if got := h.note("notifications/tools/list_changed"); got != `{"jsonrpc":"2.0", "method":"notifications/tools/list_changed"}` {
			t.Errorf("the notification came as %s", got)
		}
		s.stream <- "data: {\"jsonrpc\":\"2.0\",\"id\":\"ask\",\"method\":\"roots/list\"}\n\n"
		h.note("roots/list")
		h.send(`{"jsonrpc":"2.0","id":"ask","result":{"roots":[]}}`)
		if err := h.end(); err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.ended) != 1 || s.ended[0] != "session-1" {
			t.Errorf("sessions ended: %v", s.ended)
		}
		if reply := s.seen[len(s.seen)-2]; reply.body != `{"jsonrpc":"2.0","id":"ask","result":{"roots":[]}}` {
			t.Errorf("the host's reply came as %s", reply.body)
		}
	})
}

// TestForgottenSession lets the server forget the session while many requests
// are made: one new session, and each request carried out once.
func TestForgottenSession(t *testing.T) {
	var carried atomic.Int32
	s := &sessions{serve: func(w http.ResponseWriter, _ *http.Request, got request) {
		carried.Add(1)
		result(w, got.id, `{}`)
	}}
	h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP), Logger: logger(t)})
	h.hello()
	h.send(`{"jsonrpc":"2.0","id":"warm","method":"tools/call","params":{"name":"x"}}`)
	h.response(`"warm"`)
	s.forget()
	for i := range 20 {
		h.send(toolCall(i))
	}
	for i := range 20 {
		if got := h.response(strconv.Itoa(i)); get(t, got, "result") != "{}" {
			t.Errorf("got %s", got)
		}
	}
	if s.begun != 2 || carried.Load() != 21 {
		t.Errorf("%d sessions begun, %d requests carried out", s.begun, carried.Load())
	}
	hello := s.last("initialize")
	if !strings.Contains(hello.body, `"clientInfo":{"name":"test","version":"1"}`) || hello.id == `"hello"` {
		t.Errorf("the new session began with %s", hello.body)
	}
	if len(h.all()) != 23 { // with the notification that the tools may have changed
		t.Errorf("the host got %d lines", len(h.all()))
	}
}

func TestResumedStream(t *testing.T) {
	for _, tt := range []struct {
		name, first, rest string
		want              string
	}{
		{"with ids", "retry: 1\nid: a\ndata: \n\n", "id: b\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n", `{"jsonrpc":"2.0","id":1,"result":{}}`},
		{"after a notification", "retry: 1\nid: a\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n", "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n", `{"jsonrpc":"2.0","id":1,"result":{}}`},
		{"without ids", "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n", "", ""},
		{"half a line", "id: a\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"res", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &sessions{serve: func(w http.ResponseWriter, _ *http.Request, got request) {
				w.Header().Set("Content-Type", "text/event-stream")
				io.WriteString(w, tt.first)
			}}
			var resumed atomic.Value
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if id := r.Header.Get("Last-Event-Id"); r.Method == http.MethodGet && id != "" {
					resumed.Store(id)
					w.Header().Set("Content-Type", "text/event-stream")
					io.WriteString(w, tt.rest)
					return
				}
				s.ServeHTTP(w, r)
			})
			h := start(t, bridge.Options{URL: url, Logger: logger(t)})
			h.hello()
			h.send(toolCall(1))
			got := h.response("1")
			if tt.want == "" {
				if get(t, got, "error", "code") != strconv.Itoa(bridge.CodeUncertain) {
					t.Errorf("got %s", got)
				}
				return
			}
			if got != tt.want || resumed.Load() != "a" {
				t.Errorf("got %s, resumed after %v", got, resumed.Load())
			}
		})
	}
}

// TestServerRestart takes the server away and brings it back: a request that
// could not be sent waits for it.
func TestServerRestart(t *testing.T) {
	for range 10 {
		if restart(t) {
			return
		}
	}
	t.Fatal("another process else takes every port")
}

// connections are those of a bridge, as it knows of them.
type connections struct{ open atomic.Int32 }

func (c *connections) client() *http.Client {
	template := http.DefaultTransport.(*http.Transport).Clone()
	template.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		made, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c.open.Add(1)
		return &connection{made, sync.OnceFunc(func() { c.open.Add(-1) })}, nil
	}
	return &http.Client{Transport: bridge.NewTransport(template)}
}

// wantNone waits until the bridge has noticed that all have ended. What it sends before that on one
// that was idle may have reached the server, for all it knows.
func (c *connections) wantNone(t *testing.T) {
	t.Helper()
	waitFor(t, "the bridge notices that its connections have ended", func() bool { return c.open.Load() == 0 })
}

type connection struct {
	net.Conn
	ended func()
}

func (c *connection) Close() error {
	c.ended()
	return c.Conn.Close()
}

// restart reports whether the port was still free for the server to come back to.
func restart(t *testing.T) bool {
	t.Helper()
	s := &sessions{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	first := &http.Server{Handler: s}
	go first.Serve(listener)
	var made connections
	h := start(t, bridge.Options{URL: "http://" + address + "/mcp", HTTP: made.client(), Logger: logger(t)})
	h.hello()
	first.Close()
	made.wantNone(t)
	h.send(toolCall(1))
	s.forget()
	if listener, err = net.Listen("tcp", address); err != nil {
		return false
	}
	second := &http.Server{Handler: s}
	go second.Serve(listener)
	defer second.Close()
	if got := h.response("1"); get(t, got, "result") != "{}" {
		t.Errorf("got %s", got)
	}
	return true
}

func TestUnreachable(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits seven seconds for a server")
	}
	h := start(t, bridge.Options{URL: "http://" + proctest.UnreachableAddress(t) + "/mcp", InitializeWait: -1})
	h.send(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
	got := h.response("1")
	if get(t, got, "error", "code") != strconv.Itoa(bridge.CodeUnreachable) || get(t, got, "error", "data", "retryable") != "true" {
		t.Errorf("got %s", got)
	}
}

func TestHostMistakes(t *testing.T) {
	s := &sessions{}
	h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP)})
	h.hello()
	for line, code := range map[string]string{
		`{"jsonrpc":"2.0",`:                      "-32700",
		`"text"`:                                 "-32700",
		`{"jsonrpc":"2.0","id":5}`:               "-32600",
		`{"jsonrpc":"2.0","id":{},"method":"x"}`: "-32600",
	} {
		h.send(line)
		got := h.wait("an error for "+line, func(l string) bool { return strings.Contains(l, code) })
		if get(t, got, "error", "code") != code {
			t.Errorf("%s has the response %s", line, got)
		}
	}
	h.send("", "   ", `{"jsonrpc":"2.0","id":6,"method":"ping"}`)
	h.response("6")
}

// TestEnds bounds how long a bridge lives after its standard input has ended, at a server that
// responds neither to a call nor to the end of the session.
func TestEnds(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := &sessions{serve: func(_ http.ResponseWriter, r *http.Request, _ request) {
			<-r.Context().Done()
		}}
		h := start(t, bubbleServer(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodDelete {
				<-r.Context().Done()
				return
			}
			s.ServeHTTP(w, r)
		}))
		h.hello()
		h.send(toolCall(1))
		began := time.Now()
		err := h.end()
		if took := time.Since(began); err != nil || took > longestEnds["stdin"]+time.Second {
			t.Errorf("it took %v to end: %v", took, err)
		}
		if got := h.response("1"); get(t, got, "error", "data", "reason") != `"ended"` {
			t.Errorf("got %s", got)
		}
	})
}

func TestCancelled(t *testing.T) {
	for name, meta := range map[string]string{"legacy": "", "modern": `,"_meta":` + modernMeta} {
		t.Run(name, func(t *testing.T) {
			began, over := make(chan struct{}), make(chan struct{})
			hold := func(w http.ResponseWriter, r *http.Request) {
				openStream(w)
				close(began)
				<-r.Context().Done()
				close(over)
			}
			s := &sessions{serve: func(w http.ResponseWriter, r *http.Request, got request) {
				if got.method == "ping" {
					result(w, got.id, `{}`)
					return
				}
				hold(w, r)
			}}
			handler := http.HandlerFunc(s.ServeHTTP)
			if name == "modern" {
				s.current, s.serve = "", nil
				handler = func(w http.ResponseWriter, r *http.Request) {
					got := readRequest(r)
					s.mu.Lock()
					s.seen = append(s.seen, got)
					s.mu.Unlock()
					if got.method != "tools/call" {
						result(w, got.id, `{"supportedVersions":["2026-07-28"],"capabilities":{}}`)
						return
					}
					hold(w, r)
				}
			}
			h := start(t, bridge.Options{URL: serve(t, handler), Logger: logger(t)})
			if name == "legacy" {
				h.hello()
			}
			h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"` + meta + `}}`)
			<-began
			h.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
			select {
			case <-over:
			case <-time.After(timeout):
				t.Fatal("the request's stream stays open")
			}
			h.send(`{"jsonrpc":"2.0","id":2,"method":"ping"` + strings.Replace(meta, ",", `,"params":{`, 1) + strings.Repeat("}", min(len(meta), 1)) + `}`)
			h.response("2")
			notified := s.last("notifications/cancelled").method != ""
			if notified != (name == "legacy") {
				t.Errorf("the server was sent: %v", notified)
			}
			for _, line := range h.all() {
				if strings.Contains(line, `"id":1,`) {
					t.Errorf("a cancelled request had a response: %s", line)
				}
			}
		})
	}
}

func TestBatch(t *testing.T) {
	s := &sessions{serve: func(w http.ResponseWriter, _ *http.Request, got request) { result(w, got.id, `{}`) }}
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.HasPrefix(string(body), "[") {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `[{"jsonrpc":"2.0","id":2,"result":{"n":2}},{"jsonrpc":"2.0","id":1,"result":{"n":1}}]`)
			return
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		s.ServeHTTP(w, r)
	})
	h := start(t, bridge.Options{URL: url})
	h.hello()
	h.send(`[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"notifications/x"},{"jsonrpc":"2.0","id":2,"method":"ping"}]`)
	if a, b := h.response("1"), h.response("2"); get(t, a, "result", "n") != "1" || get(t, b, "result", "n") != "2" {
		t.Errorf("got %s and %s", a, b)
	}
}
