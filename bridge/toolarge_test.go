package bridge_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// tooMuch is a JSON string over the limit of these tests.
var tooMuch = `"` + strings.Repeat("x", 20<<10) + `"`

// TestEventThatIsTooLargeIsSkippedOnTheSessionStream has the stream go on behind it, and be
// resumed after its ID.
func TestEventThatIsTooLargeIsSkippedOnTheSessionStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sessions{stream: make(chan string, 1), serve: func(w http.ResponseWriter, _ *http.Request, _ request) {
			w.WriteHeader(http.StatusAccepted)
		}}
		o := bubbleServer(t, s.ServeHTTP)
		o.MaxMessage = 10 << 10
		h := start(t, o)
		h.hello()
		h.send(streamCall("1"))
		s.stream <- "id: 6\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":" + tooMuch + "}\n\n"
		s.stream <- "id: 7\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":" + tooMuch + "}\n\n"
		if got, took := h.responseWithin("1", time.Minute); get(t, got, "error", "data", "reason") != `"too_large"` || took > time.Second {
			t.Errorf("after %v the host got %s", took, got)
		}
		s.stream <- "data: {\"jsonrpc\":\"2.0\",\"id\":\"roots\",\"method\":\"roots/list\",\"params\":" + tooMuch + "}\n\n"
		s.stream <- event(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
		h.note("notifications/tools/list_changed")
		gets := func() (all []request) {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, got := range s.seen {
				if got.body == "" && got.header.Get("Accept") == "text/event-stream" {
					all = append(all, got)
				}
			}
			return all
		}
		if n := len(gets()); n != 1 {
			t.Errorf("the stream was opened %d times", n)
		}
		close(s.stream)
		time.Sleep(5 * time.Second)
		if all := gets(); len(all) < 2 || all[1].header.Get("Last-Event-Id") != "7" {
			t.Errorf("the stream was not resumed after the event that is too large: %d", len(all))
		}
		rejected := false
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, got := range s.seen {
			rejected = rejected || got.id == `"roots"` && strings.Contains(got.body, "too large")
		}
		if !rejected {
			t.Error("the server waits for a response to its request that is too large")
		}
	})
}

// TestEventThatIsTooLargeIsSkippedOnSSE has the one stream of HTTP+SSE go on for the other
// requests.
func TestEventThatIsTooLargeIsSkippedOnSSE(t *testing.T) {
	for name, message := range map[string]string{
		"result behind the id":  `{"jsonrpc":"2.0","id":1,"result":` + tooMuch + `}`,
		"result before the id":  `{"result":` + tooMuch + `,"jsonrpc":"2.0","id":1}`,
		"error":                 `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":` + tooMuch + `}}`,
		"many lines":            "{\"jsonrpc\":\"2.0\",\n\"id\":1,\n\"result\":\n" + tooMuch + "}",
		"with something behind": `{"jsonrpc":"2.0","id":1,"result":{"text":` + tooMuch + `,"n":1},"x":2}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sseServer{endpoint: "/messages"}
				s.post = func(w http.ResponseWriter, _ *http.Request, got request) bool {
					if got.method == "tools/call" {
						w.WriteHeader(http.StatusAccepted)
						return true
					}
					return false
				}
				o := bubbleServer(t, s.ServeHTTP)
				o.MaxMessage = 10 << 10
				h := start(t, o)
				h.hello()
				h.send(streamCall("1"), streamCall("2"))
				synctest.Wait()
				s.send(message)
				if got, took := h.responseWithin("1", time.Minute); get(t, got, "error", "data", "reason") != `"too_large"` || took > time.Second {
					t.Errorf("after %v the host got %s", took, got)
				}
				s.send(`{"jsonrpc":"2.0","id":2,"result":{}}`)
				if got := h.response("2"); get(t, got, "result") != "{}" {
					t.Errorf("got %s", got)
				}
				if streams, begun := s.counts(); streams != 1 || begun != 1 {
					t.Errorf("%d streams, %d sessions", streams, begun)
				}
			})
		})
	}
}

// TestEventThatIsTooLargeInTheStreamOfARequest ends the request if it may be the response,
// without waiting for its end, and is skipped otherwise.
func TestEventThatIsTooLargeInTheStreamOfARequest(t *testing.T) {
	for name, tt := range map[string]struct{ event, want string }{
		"a notification":    {`{"jsonrpc":"2.0","method":"notifications/message","params":` + tooMuch + "}\n\n", ""},
		"another response":  {`{"jsonrpc":"2.0","id":"other","result":` + tooMuch + "}\n\n", ""},
		"the response":      {`{"jsonrpc":"2.0","id":1,"result":` + tooMuch + "}\n\n", `"too_large"`},
		"one without id":    {`{"jsonrpc":"2.0","result":` + tooMuch + "}\n\n", `"too_large"`},
		"one without end":   {`{"jsonrpc":"2.0","id":1,"result":` + tooMuch, `"too_large"`},
		"no JSON, no end":   {tooMuch[1:], `"too_large"`},
		"a request, no end": {`{"jsonrpc":"2.0","result":` + tooMuch, `"too_large"`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sessions{serve: func(w http.ResponseWriter, r *http.Request, got request) {
					if got.method != "tools/call" {
						result(w, got.id, `{}`)
						return
					}
					openStream(w)
					io.WriteString(w, "data: "+tt.event)
					if tt.want == "" {
						io.WriteString(w, event(`{"jsonrpc":"2.0","id":1,"result":{}}`))
					}
					_ = http.NewResponseController(w).Flush()
					<-r.Context().Done()
				}}
				o := bubbleServer(t, s.ServeHTTP)
				o.MaxMessage = 10 << 10
				h := start(t, o)
				h.hello()
				h.send(streamCall("1"))
				got, took := h.responseWithin("1", time.Minute)
				if took > time.Second {
					t.Errorf("it took %v", took)
				}
				if tt.want == "" && get(t, got, "result") != "{}" || tt.want != "" && get(t, got, "error", "data", "reason") != tt.want {
					t.Errorf("the host got %s", got)
				}
				h.send(`{"jsonrpc":"2.0","id":2,"method":"ping"}`)
				h.response("2")
			})
		})
	}
}
