package bridge_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// What a server wants to know on the way is a request of its own before
// 2026-07-28 and a result since then. These tests have a host of one era and a
// server of the other.

// moderns is a server of 2026-07-28 alone.
type moderns struct {
	mu   sync.Mutex // guards what follows
	seen []request

	// serve handles everything but server/discover; round counts the calls of
	// tools from one.
	serve func(w http.ResponseWriter, r *http.Request, got request, round int)
}

func (s *moderns) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	got := readRequest(r)
	if r.Header.Get("Mcp-Protocol-Version") != "2026-07-28" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.seen = append(s.seen, got)
	round := 0
	for _, other := range s.seen {
		if other.method == "tools/call" {
			round++
		}
	}
	s.mu.Unlock()
	if got.method == "server/discover" {
		result(w, got.id, `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true}},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"m","version":"2"}}}`)
		return
	}
	s.serve(w, r, got, round)
}

// calls returns the calls of tools, in order.
func (s *moderns) calls() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []request
	for _, got := range s.seen {
		if got.method == "tools/call" {
			all = append(all, got)
		}
	}
	return all
}

const (
	askColour = `{"method":"elicitation/create","params":{"message":"Which colour?","requestedSchema":{"type":"object","properties":{}},"x":1.0}}`
	askModel  = `{"method":"sampling/createMessage","params":{"messages":[],"maxTokens":1e2}}`
	colour    = `{"action":"accept","content":{"colour":"bl\u00fce"}}`
)

func TestInputForLegacyHost(t *testing.T) {
	s := &moderns{serve: func(w http.ResponseWriter, _ *http.Request, got request, round int) {
		switch round {
		case 1:
			result(w, got.id, `{"resultType":"input_required","inputRequests":{"a \"b\"":`+askColour+`,"c":`+askModel+`},"requestState":"s\u00e9"}`)
		case 2:
			result(w, got.id, `{"resultType":"input_required","inputRequests":{"d":{"method":"roots/list"}}}`)
		default:
			result(w, got.id, `{"resultType":"complete","content":[],"n":1.50}`)
		}
	}}
	h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP), Logger: logger(t)})
	if got := h.hello(); get(t, got, "result", "serverInfo", "name") != `"m"` || get(t, got, "result", "protocolVersion") != `"2025-11-25"` {
		t.Errorf("initialize has the response %s", got)
	}
	h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"n":1.0},"_meta":{"progressToken":7}}}`)
	ask := h.note("elicitation/create")
	if get(t, ask, "params") != get(t, askColour, "params") {
		t.Errorf("the question came as %s", ask)
	}
	h.send(`{"jsonrpc":"2.0","id":` + get(t, ask, "id") + `,"result":` + colour + `}`)
	ask = h.note("sampling/createMessage")
	h.send(`{"jsonrpc":"2.0","id":` + get(t, ask, "id") + `,"result":{"model":"m"}}`)
	ask = h.note("roots/list")
	h.send(`{"jsonrpc":"2.0","id":` + get(t, ask, "id") + `,"result":{"roots":[]}}`)
	if got := h.response("1"); get(t, got, "result", "n") != "1.50" {
		t.Errorf("got %s", got)
	}
	rounds := s.calls()
	if len(rounds) != 3 {
		t.Fatalf("the tool was called %d times", len(rounds))
	}
	ids := make(map[string]bool)
	for i, got := range rounds {
		ids[got.id] = true
		if get(t, got.body, "params", "arguments") != `{"n":1.0}` || get(t, got.body, "params", "_meta", "progressToken") != "7" {
			t.Errorf("round %d came as %s", i+1, got.body)
		}
	}
	if len(ids) != 3 {
		t.Errorf("the rounds have the ids %v", ids)
	}
	if got := get(t, rounds[1].body, "params", "requestState"); got != `"s\u00e9"` {
		t.Errorf("the state came back as %s", got)
	}
	if got := get(t, rounds[1].body, "params", "inputResponses", `a "b"`); got != colour {
		t.Errorf("the colour came as %s", got)
	}
	if got := get(t, rounds[1].body, "params", "inputResponses", "c"); got != `{"model":"m"}` {
		t.Errorf("the model's response came as %s", got)
	}
	if got := get(t, rounds[2].body, "params", "requestState"); got != "" {
		t.Errorf("the state of another round came as %s", got)
	}
	if got := get(t, rounds[2].body, "params", "inputResponses"); got != `{"d":{"roots":[]}}` {
		t.Errorf("the last input came as %s", got)
	}
}

func TestInputThatDoesNotEnd(t *testing.T) {
	s := &moderns{serve: func(w http.ResponseWriter, _ *http.Request, got request, _ int) {
		result(w, got.id, `{"resultType":"input_required","requestState":"again"}`)
	}}
	h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP)})
	h.hello()
	h.send(toolCall(1))
	if got := h.response("1"); get(t, got, "error", "code") != strconv.Itoa(bridge.CodeTranslation) {
		t.Errorf("got %s", got)
	}
	if n := len(s.calls()); n != 16 {
		t.Errorf("the tool was called %d times", n)
	}
}

func TestInputRejectedByLegacyHost(t *testing.T) {
	s := &moderns{serve: func(w http.ResponseWriter, _ *http.Request, got request, _ int) {
		result(w, got.id, `{"resultType":"input_required","inputRequests":{"a":`+askModel+`}}`)
	}}
	h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP)})
	h.hello()
	h.send(toolCall(1))
	ask := h.note("sampling/createMessage")
	h.send(`{"jsonrpc":"2.0","id":` + get(t, ask, "id") + `,"error":{"code":-1,"message":"no model here"}}`)
	got := h.response("1")
	if get(t, got, "error", "code") != strconv.Itoa(bridge.CodeTranslation) || !strings.Contains(got, "no model here") {
		t.Errorf("got %s", got)
	}
	if n := len(s.calls()); n != 1 {
		t.Errorf("the tool was called %d times", n)
	}
}

// asking is a server of 2025-11-25 whose tool asks on the way.
type asking struct {
	sessions
	replies chan request
	ask     string // the request, without its end
	apart   bool   // it comes on the session's own stream
}

func newAsking(ask string, apart bool) *asking {
	s := &asking{replies: make(chan request, 10), ask: ask, apart: apart}
	s.stream = make(chan string)
	s.serve = func(w http.ResponseWriter, r *http.Request, got request) {
		w.Header().Set("Content-Type", "text/event-stream")
		if s.apart {
			_ = http.NewResponseController(w).Flush()
			s.stream <- "data: " + s.ask + "\n\n"
		} else {
			io.WriteString(w, "data: "+s.ask+"\n\n")
			_ = http.NewResponseController(w).Flush()
		}
		select {
		case reply := <-s.replies:
			fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{\"content\":[],\"reply\":%s}}\n\n", got.id, reply.body)
		case <-r.Context().Done():
		}
	}
	return s
}

func (s *asking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	got := readRequest(&http.Request{Body: io.NopCloser(strings.NewReader(string(body)))})
	if r.Method == http.MethodPost && got.method == "" {
		s.replies <- got
		w.WriteHeader(http.StatusAccepted)
		return
	}
	if r.Method == http.MethodPost && strings.Contains(string(body), "io.modelcontextprotocol/protocolVersion") {
		w.WriteHeader(http.StatusBadRequest) // as servers of then reject the header
		return
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	s.sessions.ServeHTTP(w, r)
}

func modernCall(id int, params string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"x"%s,"_meta":%s}}`, id, params, modernMeta)
}

func TestInputForModernHost(t *testing.T) {
	for _, tt := range []struct {
		name, ask string
		apart     bool
	}{
		{"in the response", `{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"Which?","x":1.0}}`, false},
		{"on the session's stream", `{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"Which?","x":1.0}}`, true},
		{"without parameters", `{"jsonrpc":"2.0","id":"q","method":"roots/list"}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newAsking(tt.ask, tt.apart)
			h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP), Logger: logger(t)})
			h.send(modernCall(1, ""))
			got := h.response("1")
			if get(t, got, "result", "resultType") != `"input_required"` {
				t.Fatalf("got %s", got)
			}
			input := get(t, got, "result", "inputRequests", "input")
			if get(t, input, "method") != get(t, tt.ask, "method") || get(t, input, "params") != get(t, tt.ask, "params") {
				t.Errorf("the question came as %s", input)
			}
			state := get(t, got, "result", "requestState")
			h.send(modernCall(2, `,"inputResponses":{"input":`+colour+`},"requestState":`+state))
			got = h.response("2")
			if get(t, got, "result", "resultType") != `"complete"` || get(t, got, "result", "reply", "result") != colour || get(t, got, "result", "reply", "id") != `"q"` {
				t.Errorf("got %s", got)
			}
			// The state is used up.
			h.send(modernCall(3, `,"inputResponses":{"input":`+colour+`},"requestState":`+state))
			if got := h.response("3"); get(t, got, "error", "code") != "-32602" {
				t.Errorf("got %s", got)
			}
			if call := s.last("tools/call"); strings.Contains(call.body, "io.modelcontextprotocol/") || call.header.Get("Mcp-Method") != "" {
				t.Errorf("the server was called with %s", call.body)
			}
		})
	}
}

// TestInputNotGiven lets a host come back without the input that was requested.
func TestInputNotGiven(t *testing.T) {
	s := newAsking(`{"jsonrpc":"2.0","id":9,"method":"elicitation/create","params":{}}`, false)
	h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP)})
	h.send(modernCall(1, ""))
	h.send(modernCall(2, `,"requestState":`+get(t, h.response("1"), "result", "requestState")))
	if got := h.response("2"); get(t, got, "result", "reply", "error", "code") != "-32602" {
		t.Errorf("got %s", got)
	}
}

// TestPingForModernHost lets a server of before ask whether the host lives, and
// something that no result can carry.
func TestPingForModernHost(t *testing.T) {
	for method, want := range map[string]string{"ping": "result", "tasks/get": "error"} {
		for _, apart := range []bool{false, true} {
			s := newAsking(`{"jsonrpc":"2.0","id":9,"method":"`+method+`"}`, apart)
			h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP)})
			h.send(modernCall(1, ""))
			if got := h.response("1"); get(t, got, "result", "reply", want) == "" {
				t.Errorf("%s: got %s", method, got)
			}
		}
	}
}

// TestInputThatTheHostDoesNotBring lets a host cancel the request for which it was to bring
// input: the server's own request ends as well.
func TestInputThatTheHostDoesNotBring(t *testing.T) {
	const question = `{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"Which?"}}`
	for _, apart := range []bool{false, true} {
		inMemory(t, func(t *testing.T) {
			s := newAsking(question, apart)
			serve, ended := s.serve, make(chan struct{})
			s.serve = func(w http.ResponseWriter, r *http.Request, got request) {
				if got.method == "tools/call" {
					defer close(ended)
				}
				serve(w, r, got)
			}
			h := start(t, bubbleServer(t, s.ServeHTTP))
			h.send(modernCall(1, ""))
			state := get(t, h.response("1"), "result", "requestState")
			h.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
			select {
			case <-ended:
			case <-time.After(5 * time.Second):
				t.Error("the request is still open at the server")
			}
			notified := s.last("notifications/cancelled")
			if get(t, notified.body, "params", "requestId") != s.last("tools/call").id {
				t.Errorf("the server was sent %s", notified.body)
			}
			h.send(modernCall(2, `,"inputResponses":{"input":`+colour+`},"requestState":`+state))
			if got := h.response("2"); get(t, got, "error", "code") != "-32602" {
				t.Errorf("got %s", got)
			}
		})
	}
}
