package bridge_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// lateServer is a server with sessions that responds to tool calls with serve, and on the
// session's stream, if it offers one.
type lateServer struct {
	getting
	out chan string // messages for the stream
	cut chan struct{}
}

func newLateServer(offered bool, serve func(w http.ResponseWriter, r *http.Request, got request)) *lateServer {
	l := &lateServer{out: make(chan string, 16), cut: make(chan struct{})}
	l.serve = serve
	l.get = func(w http.ResponseWriter, r *http.Request, _ int) {
		if !offered {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		openStream(w)
		for {
			select {
			case message := <-l.out:
				io.WriteString(w, event(message))
				_ = http.NewResponseController(w).Flush()
			case <-l.cut:
				return
			case <-r.Context().Done():
				return
			}
		}
	}
	return l
}

// withoutResponse are responses to a POST that end without the response to the request.
var withoutResponse = map[string]struct {
	serve func(w http.ResponseWriter)
	says  string // what the error contains
}{
	"202":                   {func(w http.ResponseWriter) { w.WriteHeader(202) }, "202"},
	"202 with words":        {func(w http.ResponseWriter) { writeBody(w, 202, "text/plain", "Accepted") }, "202"},
	"202 with a page":       {func(w http.ResponseWriter) { writeBody(w, 202, "text/html", "<p>Accepted") }, "202"},
	"202 with JSON":         {func(w http.ResponseWriter) { writeBody(w, 202, "application/json", `{"status":"accepted"}`) }, "202"},
	"202 with null":         {func(w http.ResponseWriter) { writeBody(w, 202, "application/json", "null") }, "202"},
	"200 without a body":    {func(w http.ResponseWriter) { w.WriteHeader(200) }, "200"},
	"200 with white space":  {func(w http.ResponseWriter) { writeBody(w, 200, "application/json", " \n") }, "200"},
	"204":                   {func(w http.ResponseWriter) { w.WriteHeader(204) }, "204"},
	"205":                   {func(w http.ResponseWriter) { w.WriteHeader(205) }, "205"},
	"a page without a body": {func(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/html"); w.WriteHeader(200) }, "200"},
	"empty array":           {func(w http.ResponseWriter) { writeBody(w, 200, "application/json", "[]") }, "200"},
	"empty stream":          {func(w http.ResponseWriter) { writeBody(w, 200, "text/event-stream", "") }, "event stream"},
	"stream of comments":    {func(w http.ResponseWriter) { writeBody(w, 200, "text/event-stream", ": a\n\n: b\n\n") }, "event stream"},
	"stream of another type": {func(w http.ResponseWriter) {
		writeBody(w, 200, "text/event-stream", "event: debug\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n")
	}, "event stream"},
	"stream of a notification": {func(w http.ResponseWriter) {
		writeBody(w, 200, "text/event-stream; charset=utf-8", event(`{"jsonrpc":"2.0","method":"notifications/message"}`))
	}, "one message"},
	"stream of someone else's response": {func(w http.ResponseWriter) {
		writeBody(w, 200, "text/event-stream", event(`{"jsonrpc":"2.0","id":"no one","result":{}}`))
	}, "one message"},
	"half an event": {func(w http.ResponseWriter) { writeBody(w, 200, "text/event-stream", "data: {\"jsonrpc\"") }, "event stream"},
}

func writeBody(w http.ResponseWriter, status int, kind, body string) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	io.WriteString(w, body)
}

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

// TestResponseOnSessionStream has the same servers send the response on the session's stream
// later.
func TestResponseOnSessionStream(t *testing.T) {
	for name, tt := range withoutResponse {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newLateServer(true, func(w http.ResponseWriter, _ *http.Request, _ request) { tt.serve(w) })
				h := start(t, bubbleServer(t, s.ServeHTTP))
				h.hello()
				h.send(streamCall("1"))
				time.Sleep(4 * time.Minute)
				s.out <- `{"jsonrpc":"2.0","id":1,"result":{"late":true}}`
				if got, _ := h.responseWithin("1", time.Second); got != `{"jsonrpc":"2.0","id":1,"result":{"late":true}}` {
					t.Errorf("got %s", got)
				}
			})
		})
	}
}

// TestResponseOnSessionStreamFirst has the response come on the session's stream while the POST
// goes on: without a head, without an end, or with the response once more.
func TestResponseOnSessionStreamFirst(t *testing.T) {
	for name, serve := range map[string]func(w http.ResponseWriter, r *http.Request, id string){
		"no head": func(_ http.ResponseWriter, r *http.Request, _ string) { <-r.Context().Done() },
		"202 without end": func(w http.ResponseWriter, r *http.Request, _ string) {
			w.WriteHeader(202)
			flushHead(w)
			<-r.Context().Done()
		},
		"JSON without end": func(w http.ResponseWriter, r *http.Request, _ string) {
			writeBody(w, 200, "application/json", "{")
			flushHead(w)
			<-r.Context().Done()
		},
		"stream without end": func(w http.ResponseWriter, r *http.Request, _ string) { openStream(w); <-r.Context().Done() },
		"once more":          func(w http.ResponseWriter, _ *http.Request, id string) { time.Sleep(time.Second); result(w, id, "{}") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				over := make(chan struct{}, 1)
				var s *lateServer
				s = newLateServer(true, func(w http.ResponseWriter, r *http.Request, got request) {
					if got.method == "ping" {
						result(w, got.id, "{}")
						return
					}
					s.out <- `{"jsonrpc":"2.0","id":` + got.id + `,"result":{"first":true}}`
					serve(w, r, got.id)
					over <- struct{}{}
				})
				h := start(t, bubbleServer(t, s.ServeHTTP))
				h.hello()
				h.send(streamCall("1"))
				if got := h.response("1"); get(t, got, "result", "first") != "true" {
					t.Errorf("got %s", got)
				}
				select {
				case <-over:
				case <-time.After(timeout):
					t.Error("the POST goes on for ever")
				}
				h.send(`{"jsonrpc":"2.0","id":2,"method":"ping"}`)
				h.response("2")
				if n := len(h.all()); n != 3 {
					t.Errorf("the host got %d lines", n)
				}
			})
		})
	}
}

func flushHead(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// TestStreamEndsWhileResponseIsLate has the session's stream end while a response is expected on
// it. If it opens again within 30 s, the response may still come.
func TestStreamEndsWhileResponseIsLate(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		down   time.Duration
		comes  bool
	}{
		"comes back":           {503, 8 * time.Second, true},
		"comes back from 409":  {409, 8 * time.Second, true},
		"does not":             {503, time.Hour, false},
		"is gone":              {405, time.Hour, false},
		"head that never came": {0, time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newLateServer(true, func(w http.ResponseWriter, _ *http.Request, got request) {
					if got.method == "ping" {
						result(w, got.id, "{}")
						return
					}
					w.WriteHeader(202)
				})
				var ended time.Time
				open := s.get
				again := newLateServer(true, nil)
				again.out = s.out
				s.get = func(w http.ResponseWriter, r *http.Request, n int) {
					switch {
					case n > 0 && time.Since(ended) < tt.down && tt.status != 0:
						w.WriteHeader(tt.status)
					case tt.status == 0:
						<-r.Context().Done()
					case n > 0:
						again.get(w, r, n)
					default:
						open(w, r, n)
					}
				}
				h := start(t, bubbleServer(t, s.ServeHTTP))
				h.hello()
				h.send(streamCall("1"))
				time.Sleep(10 * time.Second)
				ended = time.Now()
				close(s.cut)
				if tt.comes {
					time.Sleep(time.Minute)
					s.out <- `{"jsonrpc":"2.0","id":1,"result":{}}`
				}
				got, took := h.responseWithin("1", 2*timeout)
				if tt.comes != (get(t, got, "result") == "{}") {
					t.Errorf("got %s", got)
				}
				if !tt.comes && took > 31*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
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

// TestResumedStreamThatBringsNothing has request streams with event ids that end without the
// response, and servers that deal with their resumption in several ways.
func TestResumedStreamThatBringsNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		resume func(w http.ResponseWriter, r *http.Request, n int)
		most   time.Duration
		tries  int
		comes  bool
	}{
		"404":          {func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(404) }, 30 * time.Second, 1, false},
		"405":          {func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(405) }, 30 * time.Second, 1, false},
		"a page":       {func(w http.ResponseWriter, _ *http.Request, _ int) { io.WriteString(w, "<html>") }, 30 * time.Second, 1, false},
		"503":          {func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(503) }, 31 * time.Second, 6, false},
		"ends at once": {func(w http.ResponseWriter, _ *http.Request, _ int) { openStream(w) }, 5*time.Minute + time.Second, 15, false},
		"the same id": {func(w http.ResponseWriter, _ *http.Request, _ int) {
			writeBody(w, 200, "text/event-stream", "id: a\nretry: 1\ndata:\n\n")
		}, 5*time.Minute + 2*time.Second, 0, false},
		"is silent":       {func(w http.ResponseWriter, r *http.Request, _ int) { openStream(w); <-r.Context().Done() }, 5*time.Minute + 2*time.Second, 1, false},
		"503 for a while": {func(w http.ResponseWriter, _ *http.Request, n int) { afterBusy(w, n < 4) }, 31 * time.Second, 5, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newLateServer(false, func(w http.ResponseWriter, _ *http.Request, _ request) {
					writeBody(w, 200, "text/event-stream", "id: a\nretry: 1\ndata:\n\n")
				})
				n := 0
				h := start(t, bubbleServer(t, func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Last-Event-Id") != "" {
						n++
						tt.resume(w, r, n-1)
						return
					}
					s.ServeHTTP(w, r)
				}))
				h.hello()
				h.send(streamCall("1"))
				got, took := h.responseWithin("1", tt.most)
				if tt.comes != (get(t, got, "result") != "") {
					t.Errorf("got %s", got)
				}
				if tt.tries > 0 && n > tt.tries {
					t.Errorf("the stream was resumed %d times within %v", n, took)
				}
			})
		})
	}
}

func afterBusy(w http.ResponseWriter, busy bool) {
	if busy {
		w.WriteHeader(503)
		return
	}
	writeBody(w, 200, "text/event-stream", event(`{"jsonrpc":"2.0","id":1,"result":{}}`))
}

// TestLateResponseOpensStream has a session's stream that was given up, and a server that
// responds on it: the stream is opened again for that.
func TestLateResponseOpensStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLateServer(true, func(w http.ResponseWriter, _ *http.Request, _ request) { w.WriteHeader(202) })
		open := s.get
		var ready atomic.Bool
		s.get = func(w http.ResponseWriter, r *http.Request, n int) {
			if !ready.Load() {
				w.WriteHeader(503)
				return
			}
			open(w, r, n)
		}
		h := start(t, bubbleServer(t, s.ServeHTTP))
		h.hello()
		time.Sleep(time.Hour)
		ready.Store(true)
		s.out <- `{"jsonrpc":"2.0","id":1,"result":{}}`
		h.send(streamCall("1"))
		if got, _ := h.responseWithin("1", time.Second); get(t, got, "result") != "{}" {
			t.Errorf("got %s", got)
		}
	})
}

// TestResumptionStaysOnItsSession has a server forget a session while the stream of one of its
// requests waits to be resumed: that is tried on its own session, once, and the stream of the new
// session is not taken for it.
func TestResumptionStaysOnItsSession(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := &sessions{}
		s.serve = func(w http.ResponseWriter, _ *http.Request, got request) {
			if strings.Contains(got.body, `"breaks"`) {
				w.Header().Set("Content-Type", "text/event-stream")
				io.WriteString(w, "id: e1\nretry: 3000\ndata:\n\n")
				return
			}
			result(w, got.id, `{}`)
		}
		resumed := make(chan string, 8)
		h := startInMemory(t, memory(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && r.Header.Get("Last-Event-Id") != "" {
				resumed <- r.Header.Get("Mcp-Session-Id")
				if r.Header.Get("Mcp-Session-Id") == "session-1" {
					w.WriteHeader(http.StatusNotFound)
					return
				}
				openStream(w)
				<-r.Context().Done()
				return
			}
			s.ServeHTTP(w, r)
		}), nil)
		h.hello()
		h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"breaks"}}`)
		<-time.After(time.Second)
		s.forget()
		h.send(streamCall("2"))
		if got := h.response("2"); get(t, got, "result") != "{}" {
			t.Errorf("got %s", got)
		}
		began := time.Now()
		if got := h.response("1"); get(t, got, "error", "data", "reason") != `"no_response"` || time.Since(began) > 10*time.Second {
			t.Errorf("after %v: %s", time.Since(began), got)
		}
		if first := <-resumed; first != "session-1" || len(resumed) > 0 {
			t.Errorf("the stream was resumed on %s, and %d times more", first, len(resumed))
		}
	})
}
