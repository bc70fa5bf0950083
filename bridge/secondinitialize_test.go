package bridge_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// helloAgain begins another session.
func (h *host) helloAgain(id string) string {
	h.t.Helper()
	h.send(`{"jsonrpc":"2.0","id":` + id + `,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"2"}}}`)
	response := h.response(id)
	h.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return response
}

// responses counts the responses with an id.
func (h *host) responses(id string) (n int) {
	for _, line := range h.all() {
		if strings.Contains(line, `"id":`+id+`,`) && !strings.Contains(line, `"method"`) {
			n++
		}
	}
	return n
}

// counts returns how many sessions have begun, and which have ended, in order.
func (s *sessions) counts() (begun int, ended []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun, slices.Clone(s.ended)
}

// TestSecondInitialize has a host begin another session in the middle of the first: that
// ends at the server with all its streams, what was open has one response, and the new
// one works.
func TestSecondInitialize(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		note := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, what)
		}
		began, streams := make(chan struct{}, 10), make(chan struct{}, 10)
		s := &sessions{stream: make(chan string)}
		s.serve = func(w http.ResponseWriter, r *http.Request, got request) {
			if strings.Contains(got.body, `"hang"`) {
				openStream(w)
				began <- struct{}{}
				<-r.Context().Done()
				return
			}
			result(w, got.id, `{}`)
		}
		h := start(t, bubbleServer(t, func(w http.ResponseWriter, r *http.Request) {
			got := readRequest(r)
			note(r.Method + got.method + r.Header.Get("Mcp-Session-Id"))
			s.respond(w, r, got)
			if r.Method == http.MethodGet {
				streams <- struct{}{}
			}
		}))
		h.hello()
		h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"hang"}}`, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"hang"}}`)
		receive(t, began)
		receive(t, began)
		if got := h.helloAgain("3"); get(t, got, "result") != initialized {
			t.Errorf("initialize has the response %s", got)
		}
		receive(t, streams) // of the first session has ended
		for _, id := range []string{"1", "2"} {
			if got := h.response(id); get(t, got, "error", "data", "source") != `"bridge"` {
				t.Errorf("an open request has the response %s", got)
			}
		}
		h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`) // the id is free again
		if got := h.response("1"); get(t, got, "result") != "{}" {
			t.Errorf("got %s", got)
		}
		s.stream <- "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n"
		h.note("notifications/tools/list_changed")
		if list := s.last("tools/list"); list.header.Get("Mcp-Session-Id") != "session-2" {
			t.Errorf("the list is requested in %s", list.header.Get("Mcp-Session-Id"))
		}
		if hello := s.last("initialize"); get(t, hello.body, "params", "clientInfo", "version") != `"2"` || hello.header.Get("Mcp-Session-Id") != "" {
			t.Errorf("the second session began with %s", hello.body)
		}
		if h.responses("1") != 2 || h.responses("2") != 1 || h.responses("3") != 1 {
			t.Errorf("the host got %q", h.all())
		}
		mu.Lock()
		ended, begun := slices.Index(order, "DELETEsession-1"), slices.Index(order[1:], "POSTinitialize")+1
		mu.Unlock()
		if ended < 0 || ended > begun {
			t.Errorf("the server got %q", order)
		}
		if err := h.end(); err != nil {
			t.Error(err)
		}
		if _, ended := s.counts(); strings.Join(ended, " ") != "session-1 session-2" {
			t.Errorf("sessions ended: %q", ended)
		}
	})
}

// TestManyInitializes has a host begin one session after another with requests open.
func TestManyInitializes(t *testing.T) {
	s := &sessions{stream: make(chan string), serve: func(_ http.ResponseWriter, r *http.Request, _ request) { <-r.Context().Done() }}
	transport := bridge.NewTransport(nil)
	var lost atomic.Int32 // initialize requests without a response, whose session the bridge cannot know
	h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP), HTTP: &http.Client{Transport: wire(func(r *http.Request) (*http.Response, error) {
		resp, err := transport.RoundTrip(r)
		if err != nil && r.Method == http.MethodPost && r.Header.Get("Mcp-Session-Id") == "" {
			lost.Add(1)
		}
		return resp, err
	})}})
	h.hello()
	const rounds = 20
	for i := range rounds {
		h.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":"call-%d","method":"tools/call","params":{"name":"x"}}`, i))
		if got := h.helloAgain(fmt.Sprintf(`"hello-%d"`, i)); get(t, got, "result") != initialized {
			t.Fatalf("initialize has the response %s", got)
		}
	}
	for i := range rounds {
		if id := fmt.Sprintf(`"call-%d"`, i); get(t, h.response(id), "error") == "" || h.responses(id) != 1 {
			t.Errorf("%s has %d responses", id, h.responses(id))
		}
	}
	left := func() int {
		begun, ended := s.counts()
		slices.Sort(ended)
		// net/http sends a DELETE again whose connection ended, and may have a request lose its
		// connection with the one that had it before, if that is cancelled while its response arrives.
		return begun - len(slices.Compact(ended))
	}
	waitFor(t, "each session but the last has ended", func() bool { return left() <= 1+int(lost.Load()) })
	if left() < 1 {
		t.Error("the last session has ended, too")
	}
}

// TestInitializeBeforeTheFirstHasAResponse has a host begin again because the server takes
// too long: both requests have a response, the second the server's.
func TestInitializeBeforeTheFirstHasAResponse(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := waking()
		s.serve = func(w http.ResponseWriter, _ *http.Request, got request) { result(w, got.id, `{}`) }
		var n atomic.Int32
		h := startInMemory(t, memory(func(w http.ResponseWriter, r *http.Request) {
			got := readRequest(r)
			if got.method == "initialize" {
				if n.Add(1) == 1 {
					takes(r, time.Hour)
					return
				}
			}
			s.respond(w, r, got)
		}), nil)
		h.send(initialize)
		<-time.After(time.Second)
		began := time.Now()
		if got := h.helloAgain("2"); get(t, got, "result") != s.hello || time.Since(began) > time.Second {
			t.Errorf("after %v initialize has the response %s", time.Since(began), got)
		}
		if got := h.response("1"); get(t, got, "error", "data", "source") != `"bridge"` {
			t.Errorf("the first has the response %s", got)
		}
		h.send(`{"jsonrpc":"2.0","id":3,"method":"tools/list"}`)
		if got := h.response("3"); get(t, got, "result") != "{}" {
			t.Errorf("got %s", got)
		}
	})
}

// TestSecondInitializeWhileAway has a host begin again while the bridge responds in the
// server's place.
func TestSecondInitializeWhileAway(t *testing.T) {
	for _, login := range []bool{false, true} {
		t.Run(fmt.Sprint(login), func(t *testing.T) {
			inMemory(t, func(t *testing.T) {
				s := waking()
				s.many = true
				user := new(bridge.User)
				d := newDoor(user)
				d.next = memory(s.ServeHTTP)
				began := time.Now()
				h := startInMemory(t, wire(func(r *http.Request) (*http.Response, error) {
					if login {
						return d.RoundTrip(r)
					}
					takes(r, time.Until(began.Add(20*time.Second)))
					return d.next.RoundTrip(r)
				}), func(o *bridge.Options) { o.User, o.Explain = user, explainDoor })
				h.hello()
				h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"real"}}`)
				if got := h.helloAgain("2"); get(t, got, "result") == "" {
					t.Errorf("initialize has the response %s", got)
				}
				if got := h.response("1"); get(t, got, "error") == "" {
					t.Errorf("an open request has the response %s", got)
				}
				h.send(`{"jsonrpc":"2.0","id":3,"method":"tools/list"}`)
				if got := h.response("3"); strings.Contains(got, `"sign_in"`) != login {
					t.Errorf("the tools are %s", got)
				}
				close(d.opened)
				h.note("notifications/tools/list_changed")
				h.send(`{"jsonrpc":"2.0","id":4,"method":"tools/list"}`)
				if got := h.response("4"); get(t, got, "result", "tools") != `[{"name":"real"}]` {
					t.Errorf("got %s", got)
				}
				<-time.After(time.Minute)
				begun, ended := s.counts()
				slices.Sort(ended)
				// net/http sends a DELETE again whose connection ended.
				if ended = slices.Compact(ended); begun-len(ended) != 1 {
					t.Errorf("%d sessions begun, ended: %q", begun, ended)
				}
			})
		})
	}
}

// TestSecondInitializeOfHangingServer has the server never respond to the end of a
// session: the next one begins all the same.
func TestSecondInitializeOfHangingServer(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := waking()
		h := startInMemory(t, memory(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodDelete {
				takes(r, time.Hour)
				return
			}
			s.ServeHTTP(w, r)
		}), nil)
		h.hello()
		began := time.Now()
		if got := h.helloAgain("2"); get(t, got, "result") != s.hello || time.Since(began) > 2*time.Second {
			t.Errorf("after %v initialize has the response %s", time.Since(began), got)
		}
	})
}

// TestSecondInitializeOverSSE is the same for HTTP+SSE, where the stream is the session.
func TestSecondInitializeOverSSE(t *testing.T) {
	opened, closed := make(chan int, 10), make(chan int, 10)
	var mu sync.Mutex
	streams := map[string]chan string{}
	h := start(t, bridge.Options{Logger: logger(t), URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "text/event-stream")
			mu.Lock()
			n := len(streams) + 1
			messages := make(chan string, 10)
			streams[fmt.Sprint(n)] = messages
			mu.Unlock()
			fmt.Fprintf(w, "event: endpoint\ndata: /messages?session=%d\n\n", n)
			_ = http.NewResponseController(w).Flush()
			opened <- n
			for {
				select {
				case m := <-messages:
					io.WriteString(w, "data: "+m+"\n\n")
					_ = http.NewResponseController(w).Flush()
				case <-r.Context().Done():
					closed <- n
					return
				}
			}
		}
		mu.Lock()
		messages := streams[r.URL.Query().Get("session")]
		mu.Unlock()
		if messages == nil {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		got := readRequest(r)
		w.WriteHeader(http.StatusAccepted)
		switch got.method {
		case "initialize":
			messages <- `{"jsonrpc":"2.0","id":` + got.id + `,"result":` + initialized + `}`
		case "tools/list":
			messages <- `{"jsonrpc":"2.0","id":` + got.id + `,"result":{"session":` + r.URL.Query().Get("session") + `}}`
		}
	})})
	h.hello()
	first := receive(t, opened)
	h.send(toolCall(1), `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)
	h.response("2")
	if got := h.helloAgain("3"); get(t, got, "result") != initialized {
		t.Errorf("initialize has the response %s", got)
	}
	if got := receive(t, closed); got != first {
		t.Errorf("stream %d has ended", got)
	}
	if got := h.response("1"); get(t, got, "error") == "" {
		t.Errorf("an open request has the response %s", got)
	}
	h.send(`{"jsonrpc":"2.0","id":4,"method":"tools/list"}`)
	if got := h.response("4"); get(t, got, "result", "session") != "2" {
		t.Errorf("got %s", got)
	}
}

// TestSecondInitializeOfTranslatedHost has hosts begin again whose session the bridge
// translates: subscriptions of the first do not outlive it.
func TestSecondInitializeOfTranslatedHost(t *testing.T) {
	t.Run("on a modern server", func(t *testing.T) {
		url, begun := subscriptions(t, accept)
		h := start(t, bridge.Options{URL: url, Logger: logger(t)})
		h.hello()
		first := receive(t, begun)
		send(t, first.agree, onlyTools)
		h.send(`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"a:b"}}`)
		second := receive(t, begun)
		send(t, second.agree, toolsAndAB)
		h.response("1")
		h.helloAgain("2")
		receive(t, second.over)
		third := receive(t, begun)
		if got := third.filter(t); got != onlyTools {
			t.Errorf("listens with %s", got)
		}
	})
	t.Run("on a legacy server", func(t *testing.T) {
		s := &sessions{stream: make(chan string)}
		h := start(t, bridge.Options{Logger: logger(t), URL: serve(t, ofBefore(s.ServeHTTP))})
		h.send(modernRequest("1", "tools/list", ""), modernRequest("2", "subscriptions/listen", `"notifications":{"toolsListChanged":true}`))
		h.response("1")
		h.note("notifications/subscriptions/acknowledged")
		h.hello()
		if got := h.response("2"); get(t, got, "error") == "" {
			t.Errorf("the subscription has the response %s", got)
		}
		s.stream <- "data: " + toolsChanged + "\n\n"
		if got := h.note("notifications/tools/list_changed"); got != toolsChanged {
			t.Errorf("got %s", got)
		}
		if _, ended := s.counts(); strings.Join(ended, " ") != "session-1" {
			t.Errorf("sessions ended: %q", ended)
		}
	})
}

// TestSessionIsEndedDespiteBrokenConnection breaks the connection of the request that ends a
// session, as the cancellation of the request before on it may do.
func TestSessionIsEndedDespiteBrokenConnection(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := &sessions{}
		var broken sync.Map
		h := startInMemory(t, wire(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodDelete {
				if _, again := broken.LoadOrStore(r.Header.Get("Mcp-Session-Id"), true); !again {
					return nil, context.Canceled
				}
			}
			return memory(s.ServeHTTP).RoundTrip(r)
		}), nil)
		h.hello()
		h.helloAgain("2")
		if err := h.end(); err != nil {
			t.Error(err)
		}
		if begun, ended := s.counts(); begun != 2 || strings.Join(ended, " ") != "session-1 session-2" {
			t.Errorf("of %d sessions, %q ended", begun, ended)
		}
	})
}

// TestSecondInitializeWhileASessionIsReplaced has a host begin again while the bridge begins a
// session in place of a forgotten one: that ends at the server, too.
func TestSecondInitializeWhileASessionIsReplaced(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := waking()
		s.many = true
		var slow atomic.Bool
		replacing := make(chan struct{}, 1)
		h := startInMemory(t, memory(func(w http.ResponseWriter, r *http.Request) {
			got := readRequest(r)
			if got.method == "initialize" && slow.CompareAndSwap(true, false) {
				replacing <- struct{}{}
				takes(r, 5*time.Second)
				s.respond(w, r, got) // the session begins, whether or not it is noticed
				return
			}
			s.respond(w, r, got)
		}), nil)
		h.hello()
		s.mu.Lock()
		s.ended = append(s.ended, s.current) // it forgets it by itself
		s.mu.Unlock()
		s.forget()
		s.many = false
		slow.Store(true)
		h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"real"}}`)
		receive(t, replacing)
		s.many = true
		if got := h.helloAgain("2"); get(t, got, "result") != s.hello {
			t.Errorf("initialize has the response %s", got)
		}
		<-time.After(time.Minute)
		_, ended := s.counts()
		slices.Sort(ended)
		if begun, all := s.begun, slices.Compact(ended); begun != 3 || len(all) != 2 {
			t.Errorf("%d sessions have begun, ended are %q", begun, all)
		}
	})
}
