package bridge_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRequestWithoutResponse has servers that end their response to a POST without the response
// to the request, with and without a stream on which it could come: each request has one response
// in bounded time, with a description of what came.
func TestRequestWithoutResponse(t *testing.T) {
	for name, tt := range withoutResponse {
		for _, offered := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, stream %v", name, offered), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newLateServer(offered, func(w http.ResponseWriter, _ *http.Request, _ request) { tt.serve(w) })
					h := start(t, bubbleServer(t, s.ServeHTTP))
					h.hello()
					h.send(streamCall("1"))
					got, took := h.responseWithin("1", 6*time.Minute)
					least, most := 5*time.Minute, 5*time.Minute+30*time.Second
					if !offered {
						least, most = 0, 30*time.Second
					}
					if took < least || took > most {
						t.Errorf("it took %v", took)
					}
					if message := get(t, got, "error", "message"); !strings.Contains(message, tt.says) {
						t.Errorf("got %s", got)
					}
					if get(t, got, "error", "code") != "-31004" {
						t.Errorf("got %s", got)
					}
				})
			})
		}
	}
}

// TestProgressKeepsLateResponse has a request whose response comes on the session's stream after
// a quarter of an hour, with progress until then.
func TestProgressKeepsLateResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLateServer(true, func(w http.ResponseWriter, _ *http.Request, _ request) { w.WriteHeader(202) })
		h := start(t, bubbleServer(t, s.ServeHTTP))
		h.hello()
		h.send(streamCall("2"), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","_meta":{"progressToken":"p"}}}`)
		for range 5 {
			time.Sleep(3 * time.Minute)
			s.out <- `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1}}`
		}
		s.out <- `{"jsonrpc":"2.0","id":1,"result":{}}`
		if got, _ := h.responseWithin("1", time.Second); get(t, got, "result") != "{}" {
			t.Errorf("got %s", got)
		}
		if got, _ := h.responseWithin("2", time.Second); get(t, got, "error", "data", "reason") != `"no_response"` {
			t.Errorf("the request without progress got %s", got)
		}
	})
}

// TestUserKeepsLateResponse has a server that asks the user something before it responds on the
// session's stream; its pings keep nothing waiting.
func TestUserKeepsLateResponse(t *testing.T) {
	for name, tt := range map[string]struct {
		method string
		comes  bool
	}{"elicitation": {"elicitation/create", true}, "ping": {"ping", false}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newLateServer(true, func(w http.ResponseWriter, _ *http.Request, _ request) { w.WriteHeader(202) })
				h := start(t, bubbleServer(t, s.ServeHTTP))
				h.hello()
				h.send(streamCall("1"))
				time.Sleep(4 * time.Minute)
				s.out <- `{"jsonrpc":"2.0","id":"a","method":"` + tt.method + `","params":{}}`
				time.Sleep(4 * time.Minute)
				h.send(`{"jsonrpc":"2.0","id":"a","result":{}}`)
				time.Sleep(4 * time.Minute)
				s.out <- `{"jsonrpc":"2.0","id":1,"result":{}}`
				if got, _ := h.responseWithin("1", time.Second); tt.comes != (get(t, got, "result") == "{}") {
					t.Errorf("got %s", got)
				}
			})
		})
	}
}

// TestResponseInOddForms has servers that respond in forms that are not the usual ones, with the
// response in them.
func TestResponseInOddForms(t *testing.T) {
	const response = `{"jsonrpc":"2.0","id":1,"result":{}}`
	for name, serve := range map[string]func(w http.ResponseWriter){
		"202":                    func(w http.ResponseWriter) { writeBody(w, 202, "application/json", response) },
		"202 as plain text":      func(w http.ResponseWriter) { writeBody(w, 202, "text/plain", response) },
		"202 as a stream":        func(w http.ResponseWriter) { writeBody(w, 202, "text/event-stream", event(response)) },
		"201":                    func(w http.ResponseWriter) { writeBody(w, 201, "application/json", response) },
		"206":                    func(w http.ResponseWriter) { writeBody(w, 206, "application/json", response) },
		"no media type":          func(w http.ResponseWriter) { w.Header()["Content-Type"] = nil; io.WriteString(w, response) },
		"guessed media type":     func(w http.ResponseWriter) { io.WriteString(w, response) },
		"another case":           func(w http.ResponseWriter) { writeBody(w, 200, "Application/JSON ; Charset=UTF-8", response) },
		"another kind of JSON":   func(w http.ResponseWriter) { writeBody(w, 200, "application/json-rpc", response) },
		"stream in another case": func(w http.ResponseWriter) { writeBody(w, 200, "TEXT/Event-Stream;charset=utf-8", event(response)) },
		"array":                  func(w http.ResponseWriter) { writeBody(w, 200, "application/json", "["+response+"]") },
		"array with a notification": func(w http.ResponseWriter) {
			writeBody(w, 200, "application/json", `[{"jsonrpc":"2.0","method":"x"},`+response+"]")
		},
		"after other types": func(w http.ResponseWriter) {
			writeBody(w, 200, "text/event-stream", "event: ping\ndata: {}\n\nevent: message\n"+event(response))
		},
		"after half of it": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusProcessing)
			w.WriteHeader(http.StatusEarlyHints)
			writeBody(w, 200, "application/json", response)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newLateServer(true, func(w http.ResponseWriter, _ *http.Request, _ request) { serve(w) })
				h := start(t, bubbleServer(t, s.ServeHTTP))
				h.hello()
				h.send(streamCall("1"))
				if got, _ := h.responseWithin("1", time.Second); got != response {
					t.Errorf("got %s", got)
				}
			})
		})
	}
}

// TestResponseOfAnotherRequest has a server that responds to one request on the stream of
// another, and responds to one twice: each request gets its own response.
func TestResponseOfAnotherRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said := func(id string) string { return `{"jsonrpc":"2.0","id":` + id + `,"result":{"said":` + id + `}}` }
		first := make(chan struct{})
		s := newLateServer(false, func(w http.ResponseWriter, r *http.Request, got request) {
			switch got.id {
			case "1": // its response comes on the stream of 2
				close(first)
				<-r.Context().Done()
			case "2": // first that of 1, twice, then its own
				<-first
				writeBody(w, 200, "text/event-stream", event(said("1"))+event(said("1"))+event(said("2")))
			case "3": // that of another request, once more
				writeBody(w, 200, "text/event-stream", event(said("2"))+event(said("3")))
			default: // written as another number
				writeBody(w, 200, "text/event-stream", event(said("4.0")))
			}
		})
		h := start(t, bubbleServer(t, s.ServeHTTP))
		h.hello()
		h.send(streamCall("1"), streamCall("2"))
		for i := range 4 {
			id := strconv.Itoa(i + 1)
			if i > 1 {
				h.send(streamCall(id))
			}
			if got, _ := h.responseWithin(id, time.Minute); !strings.HasPrefix(get(t, got, "result", "said"), id) {
				t.Errorf("request %s got %s", id, got)
			}
		}
		if n := len(h.all()); n != 5 {
			t.Errorf("the host got %d lines:\n%s", n, strings.Join(h.all(), "\n"))
		}
	})
}
