package bridge_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/bridge"
)

const (
	ofModern = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"test","version":"1"},"io.modelcontextprotocol/clientCapabilities":{"elicitation":{}}}`
	question = `{"method":"elicitation/create","params":{"message":"Which colour?","requestedSchema":{"type":"object"}}}`
	reply    = `{"action":"accept","content":{"colour":"blue"}}`
)

// stream answers with events, each as soon as it is there.
func stream(w http.ResponseWriter) func(message string) {
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w).Flush
	_ = flush()
	return func(message string) {
		io.WriteString(w, "data: "+message+"\n\n")
		_ = flush()
	}
}

// A host of before is asked by a server of 2026-07-28 what that wants to know, in
// requests as it knows them, and hears of changes without having subscribed.
func TestInputForLegacyHost(t *testing.T) {
	changed := make(chan struct{})
	h := start(t, bridge.Options{URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		got := readRequest(r)
		if v := r.Header.Get("Mcp-Protocol-Version"); got.method != "initialize" && v != "2026-07-28" {
			t.Errorf("%s is sent with version %q", got.method, v)
		}
		switch {
		case got.method == "initialize":
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32022,"message":"no","data":{"supported":["2026-07-28"]}}}`, got.id)
		case got.method == "server/discover":
			result(w, got.id, `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true}},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1"}}}`)
		case got.method == "subscriptions/listen":
			say := stream(w)
			say(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":` + got.id + `},"notifications":{}}}`)
			select {
			case <-changed:
				say(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":` + got.id + `}}}`)
			case <-r.Context().Done():
			}
			<-r.Context().Done()
		case got.method == "tools/call" && get(t, got.body, "params", "inputResponses") == "":
			result(w, got.id, `{"resultType":"input_required","inputRequests":{"colour":`+question+`},"requestState":"kept"}`)
		case got.method == "tools/call":
			if r.Header.Get("Mcp-Name") != "paint" {
				t.Errorf("the name is %q in the header", r.Header.Get("Mcp-Name"))
			}
			if state := get(t, got.body, "params", "requestState"); state != `"kept"` {
				t.Errorf("the state comes back as %s", state)
			}
			result(w, got.id, `{"resultType":"complete","content":[{"type":"text","text":`+fmt.Sprintf("%q", get(t, got.body, "params", "inputResponses", "colour"))+`}]}`)
		default:
			t.Errorf("a server of 2026-07-28 gets %s", got.method)
			w.WriteHeader(http.StatusAccepted)
		}
	})})
	if answer := h.hello(); get(t, answer, "result", "protocolVersion") != `"2025-11-25"` {
		t.Fatalf("initialize is answered with %s", answer)
	}
	h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"paint","arguments":{}}}`)
	asked := h.note("elicitation/create")
	if get(t, asked, "params", "message") != `"Which colour?"` {
		t.Errorf("the host is asked %s", asked)
	}
	h.send(`{"jsonrpc":"2.0","id":` + get(t, asked, "id") + `,"result":` + reply + `}`)
	if answer := h.answer("1"); !strings.Contains(answer, "blue") {
		t.Errorf("the call is answered with %s", answer)
	}
	close(changed)
	h.note("notifications/tools/list_changed")

	// A host that declines gets an error for its call, and nothing hangs.
	h.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"paint","arguments":{}}}`)
	asked = h.note("elicitation/create")
	h.send(`{"jsonrpc":"2.0","id":` + get(t, asked, "id") + `,"error":{"code":-1,"message":"no time"}}`)
	if answer := h.answer("2"); get(t, answer, "error", "code") != "-31005" || !strings.Contains(answer, "no time") {
		t.Errorf("the call is answered with %s", answer)
	}
}

// A host of 2026-07-28 is told by a server of before what that wants to know, as
// an answer that it comes back to; the server's call goes on meanwhile.
func TestInputForModernHost(t *testing.T) {
	s := &sessions{stream: make(chan string)}
	answered := make(chan string, 1)
	s.serve = func(w http.ResponseWriter, r *http.Request, got request) {
		if strings.Contains(got.body, "io.modelcontextprotocol/") {
			t.Errorf("a server of before gets %s", got.body)
		}
		switch got.method {
		case "tools/call":
			say := stream(w)
			say(`{"jsonrpc":"2.0","id":77,` + question[1:])
			select {
			case text := <-answered:
				say(`{"jsonrpc":"2.0","id":` + got.id + `,"result":{"content":[{"type":"text","text":` + fmt.Sprintf("%q", text) + `}]}}`)
			case <-r.Context().Done():
			}
		case "":
			answered <- get(t, got.body, "result")
			w.WriteHeader(http.StatusAccepted)
		case "resources/subscribe":
			result(w, got.id, `{}`)
		default:
			t.Errorf("unexpected %s", got.body)
		}
	}
	h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP)})
	h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"paint",` + ofModern + `}}`)
	first := h.answer("1")
	if get(t, first, "result", "resultType") != `"input_required"` || get(t, first, "result", "inputRequests", "input", "method") != `"elicitation/create"` {
		t.Fatalf("the call is answered with %s", first)
	}
	state := get(t, first, "result", "requestState")
	h.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"paint","inputResponses":{"input":` + reply + `},"requestState":` + state + `,` + ofModern + `}}`)
	second := h.answer("2")
	if get(t, second, "result", "resultType") != `"complete"` || !strings.Contains(second, "blue") {
		t.Errorf("the call is answered with %s", second)
	}
	// A state is good once.
	h.send(`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"paint","inputResponses":{"input":` + reply + `},"requestState":` + state + `,` + ofModern + `}}`)
	if third := h.answer("3"); !strings.Contains(third, "is over") {
		t.Errorf("a state that was used is answered with %s", third)
	}

	// What it subscribes to it gets, and nothing else.
	h.send(`{"jsonrpc":"2.0","id":"sub","method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a://1"]},` + ofModern + `}}`)
	if got := h.note("notifications/subscriptions/acknowledged"); get(t, got, "params", "_meta", "io.modelcontextprotocol/subscriptionId") != `"sub"` {
		t.Errorf("the subscription is acknowledged with %s", got)
	}
	s.stream <- "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/prompts/list_changed\"}\n\n"
	s.stream <- "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/resources/updated\",\"params\":{\"uri\":\"a://2\"}}\n\n"
	s.stream <- "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/resources/updated\",\"params\":{\"uri\":\"a://1\"}}\n\n"
	s.stream <- "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n"
	if got := h.note("notifications/resources/updated"); get(t, got, "params", "uri") != `"a://1"` || get(t, got, "params", "_meta", "io.modelcontextprotocol/subscriptionId") != `"sub"` {
		t.Errorf("the host hears %s", got)
	}
	h.note("notifications/tools/list_changed")
	for _, line := range h.all() {
		if strings.Contains(line, "prompts/list_changed") || strings.Contains(line, "a://2") {
			t.Errorf("the host hears what it did not ask for: %s", line)
		}
	}
	if got := s.last("resources/subscribe"); get(t, got.body, "params", "uri") != `"a://1"` {
		t.Errorf("the server is asked for %s", got.body)
	}
}
