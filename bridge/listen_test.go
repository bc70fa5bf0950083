package bridge_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// subscription is a subscriptions/listen at a server of 2026-07-28. It waits to
// be acknowledged, and for events then.
type subscription struct {
	request
	agree  chan string // what the server agrees to send, a JSON value
	events chan string
	over   chan struct{} // closed when the host's end is gone
}

// filter returns what was requested.
func (s *subscription) filter(t *testing.T) string {
	t.Helper()
	return get(t, string(s.params), "notifications")
}

// subscriptions is a server that hands each subscription to the test.
func subscriptions(t *testing.T, reject func(got request) (response string)) (url string, begun <-chan *subscription) {
	t.Helper()
	listens := make(chan *subscription, 10)
	s := &moderns{serve: func(w http.ResponseWriter, r *http.Request, got request, _ int) {
		if got.method != "subscriptions/listen" {
			result(w, got.id, `{}`)
			return
		}
		if response := reject(got); response != "" {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"jsonrpc":"2.0","id":`+got.id+`,"error":`+response+`}`)
			return
		}
		l := &subscription{request: got, agree: make(chan string), events: make(chan string), over: make(chan struct{})}
		defer close(l.over)
		openStream(w)
		listens <- l
		for {
			select {
			case agreed := <-l.agree:
				io.WriteString(w, `data: {"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":`+agreed+"}}\n\n")
			case e := <-l.events:
				io.WriteString(w, "data: "+e+"\n\n")
			case <-r.Context().Done():
				return
			}
			_ = http.NewResponseController(w).Flush()
		}
	}}
	return serve(t, s.ServeHTTP), listens
}

func accept(request) string { return "" }

const (
	toolsChanged = `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`
	onlyTools    = `{"toolsListChanged":true}`
	toolsAndAB   = `{"toolsListChanged":true,"resourceSubscriptions":["a:b"]}`
)

// TestListenForLegacyHost has a host of before on a modern server: what a session
// would bring by itself has to be listened for.
func TestListenForLegacyHost(t *testing.T) {
	url, begun := subscriptions(t, accept)
	h := start(t, bridge.Options{URL: url, Logger: logger(t)})
	h.hello()
	first := receive(t, begun)
	if got := first.filter(t); got != onlyTools {
		t.Errorf("listens with %s", got)
	}
	send(t, first.agree, onlyTools)
	send(t, first.events, toolsChanged)
	h.note("notifications/tools/list_changed")

	h.send(`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"a:b"}}`)
	second := receive(t, begun)
	if got := second.filter(t); got != toolsAndAB {
		t.Errorf("listens with %s", got)
	}
	// Until the server has agreed to the second, the first is what counts.
	send(t, first.events, toolsChanged)
	h.note("notifications/tools/list_changed")
	for _, line := range h.all() {
		if strings.Contains(line, `"id":1,`) {
			t.Error("the host is notified that it has subscribed before it has")
		}
	}
	send(t, second.agree, toolsAndAB)
	if got := h.response("1"); get(t, got, "result") != "{}" {
		t.Errorf("got %s", got)
	}
	receive(t, first.over)
	send(t, second.events, `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:b"}}`)
	h.note("notifications/resources/updated")

	h.send(`{"jsonrpc":"2.0","id":2,"method":"resources/unsubscribe","params":{"uri":"a:b"}}`)
	third := receive(t, begun)
	if got := third.filter(t); got != onlyTools {
		t.Errorf("listens with %s", got)
	}
	send(t, third.agree, onlyTools)
	h.response("2")
	receive(t, second.over)
	for _, line := range h.all() {
		if strings.Contains(line, "acknowledged") {
			t.Errorf("the host is shown a subscription that it knows nothing of: %s", line)
		}
	}
}

// TestSubscriptionRejected has a host of before subscribe to what the server will
// not send: it gets an error, and what it got before goes on.
func TestSubscriptionRejected(t *testing.T) {
	for name, tt := range map[string]struct {
		response, agreed string // of the server to the second subscription
		want             string // the code that the host gets
	}{
		"not agreed to":  {agreed: onlyTools, want: "-31005"},
		"an error":       {response: `{"code":-32602,"message":"no such resource"}`, want: "-32602"},
		"no such method": {response: `{"code":-32601,"message":"Method not found"}`, want: "-32601"},
	} {
		t.Run(name, func(t *testing.T) {
			url, begun := subscriptions(t, func(got request) string {
				if strings.Contains(got.body, "resourceSubscriptions") {
					return tt.response
				}
				return ""
			})
			h := start(t, bridge.Options{URL: url, Logger: logger(t)})
			h.hello()
			stream := receive(t, begun)
			send(t, stream.agree, onlyTools)
			h.send(`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"a:b"}}`)
			if tt.agreed != "" {
				second := receive(t, begun)
				send(t, second.agree, tt.agreed)
				receive(t, stream.over)
				stream = second
			}
			if got := h.response("1"); get(t, got, "error", "code") != tt.want {
				t.Errorf("got %s", got)
			}
			send(t, stream.events, toolsChanged)
			h.note("notifications/tools/list_changed")
		})
	}
}

// TestListenForModernHost has a modern host on a server of before: it gets what
// it has requested, with its subscription's id, until it ends that.
func TestListenForModernHost(t *testing.T) {
	s := &sessions{stream: make(chan string)}
	unsubscribed := make(chan request, 1)
	s.serve = func(w http.ResponseWriter, _ *http.Request, got request) {
		result(w, got.id, `{}`)
		if got.method == "resources/unsubscribe" {
			unsubscribed <- got
		}
	}
	h := start(t, bridge.Options{Logger: logger(t), URL: serve(t, ofBefore(s.ServeHTTP))})
	h.send(modernRequest(`"l"`, "subscriptions/listen", `"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a:b"]}`))
	if got := h.note("notifications/subscriptions/acknowledged"); get(t, got, "params", "_meta", "io.modelcontextprotocol/subscriptionId") != `"l"` {
		t.Errorf("got %s", got)
	}
	if got := s.last("resources/subscribe"); get(t, string(got.params), "uri") != `"a:b"` {
		t.Errorf("subscribed with %s", got.body)
	}
	for _, e := range []string{
		`{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}`,
		`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"c:d"}}`,
		`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`,
		`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:b"}}`,
	} {
		send(t, s.stream, "data: "+e+"\n\n")
	}
	if got := h.note("notifications/resources/updated"); get(t, got, "params", "_meta", "io.modelcontextprotocol/subscriptionId") != `"l"` || get(t, got, "params", "uri") != `"a:b"` {
		t.Errorf("got %s", got)
	}
	if got := h.note("notifications/tools/list_changed"); get(t, got, "params", "_meta", "io.modelcontextprotocol/subscriptionId") != `"l"` {
		t.Errorf("got %s", got)
	}
	h.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"l"}}`)
	if got := receive(t, unsubscribed); get(t, string(got.params), "uri") != `"a:b"` {
		t.Errorf("unsubscribed with %s", got.body)
	}
	h.send(modernRequest(`"m"`, "subscriptions/listen", `"notifications":{"toolsListChanged":true}`))
	h.note("notifications/subscriptions/acknowledged")
	send(t, s.stream, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n")
	if got := h.note("notifications/tools/list_changed"); get(t, got, "params", "_meta", "io.modelcontextprotocol/subscriptionId") != `"m"` {
		t.Errorf("got %s", got)
	}
	if all := strings.Join(h.all(), "\n"); strings.Contains(all, "prompts/list_changed") || strings.Contains(all, "c:d") {
		t.Errorf("the host gets what it has not requested:\n%s", all)
	}
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(timeout):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func send[T any](t *testing.T, to chan<- T, v T) {
	t.Helper()
	select {
	case to <- v:
	case <-time.After(timeout):
		t.Fatal("nothing takes it")
	}
}
