package bridge_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// TestInitializedInABatch has a host of 2025-03-26 send notifications/initialized in a batch, alone
// and before requests: the session has its stream, and nothing comes before the notification.
func TestInitializedInABatch(t *testing.T) {
	const ready = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
	for _, lines := range [][]string{
		{"[" + ready + "]", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`},
		{"[" + ready + `,{"jsonrpc":"2.0","id":1,"method":"tools/list"}]`},
		{`[{"jsonrpc":"2.0","method":"notifications/roots/list_changed"},` + ready + "]", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`},
	} {
		inMemory(t, func(t *testing.T) {
			streams := 0
			g := &getting{get: func(w http.ResponseWriter, r *http.Request, _ int) {
				streams++
				openStream(w)
				<-r.Context().Done()
			}}
			s := &strict{accept: func(_ http.ResponseWriter, r *http.Request, _ int) bool {
				takes(r, 300*time.Millisecond)
				return true
			}}
			h := startInMemory(t, memory(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					g.ServeHTTP(w, r)
					return
				}
				if body, batch := batchBody(r); batch { // the bridge has taken the notification out of it
					r.Body = http.NoBody
					got := request{header: r.Header, body: body}
					if strings.Contains(body, "tools/list") {
						got.id, got.method = "1", "tools/list"
					}
					s.serveRead(w, r, got)
					return
				}
				s.ServeHTTP(w, r)
			}), nil)
			h.send(hello)
			h.response(`"hello"`)
			h.send(lines...)
			if got := h.response("1"); get(t, got, "result") != "{}" {
				t.Errorf("%q: got %s", lines, got)
			}
			if n := s.notified(); n != 1 || streams != 1 {
				t.Errorf("%q: %d notifications/initialized and %d streams", lines, n, streams)
			}
		})
	}
}

// TestCancellationInABatch gives up a request that a batch cancels.
func TestCancellationInABatch(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		given := make(chan struct{})
		s := &sessions{serve: func(_ http.ResponseWriter, r *http.Request, _ request) {
			<-r.Context().Done()
			close(given)
		}}
		h := startInMemory(t, memory(s.ServeHTTP), nil)
		h.hello()
		h.send(toolCall(1))
		time.Sleep(time.Second)
		h.send(`[{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}]`)
		began := time.Now()
		<-given
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it took %v", took)
		}
		if s.last("notifications/cancelled").method == "" {
			t.Error("the server was not notified")
		}
	})
}

// TestInputInABatch has a host of before give in a batch the input that a modern server requests.
func TestInputInABatch(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := &moderns{serve: func(w http.ResponseWriter, r *http.Request, got request, round int) {
			switch {
			case got.method == "subscriptions/listen":
				openStream(w)
				<-r.Context().Done()
			case round == 1:
				result(w, got.id, `{"resultType":"input_required","inputRequests":{"a":`+askColour+`,"b":`+askModel+`}}`)
			default:
				result(w, got.id, `{"resultType":"complete","content":[]}`)
			}
		}}
		h := startInMemory(t, memory(s.ServeHTTP), func(o *bridge.Options) { o.Wire = bridge.WireHTTP })
		h.hello()
		h.send(toolCall(1))
		for _, method := range []string{"elicitation/create", "sampling/createMessage"} {
			id := get(t, h.note(method), "id")
			h.send(fmt.Sprintf(`[{"jsonrpc":"2.0","id":%s,"result":{}}]`, id))
		}
		if got := h.response("1"); get(t, got, "result", "content") != "[]" {
			t.Errorf("got %s", got)
		}
	})
}
