package bridge_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

const hello = `{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`

// TestEndpointAddresses has streams of HTTP+SSE that name their endpoint in all forms.
func TestEndpointAddresses(t *testing.T) {
	for endpoint, want := range map[string]string{
		"/messages":                              "/messages",
		"messages?session=1&x=%2F":               "/messages?session=1&x=%2F",
		"/messages/?session_id=1":                "/messages/?session_id=1",
		"?session=1":                             "/mcp?session=1",
		"http://server.test/m":                   "/m",
		"http://server.test:80/m":                "/m",
		"HTTP://Server.Test/m":                   "/m",
		"//server.test/m":                        "/m",
		" /messages ":                            "/messages",
		"":                                       "no URL, or none",
		"http://[":                               "no URL, or none",
		"http://other.test/m?secret=1":           "another origin, http://other.test instead of http://server.test",
		"https://server.test/m":                  "another origin, https://server.test instead of http://server.test",
		"http://server.test:81/m":                "another origin, http://server.test:81 instead of http://server.test",
		"//other.test/m":                         "another origin, http://other.test instead",
		"http://server.test@other.test/messages": "another origin, http://other.test instead",
		"http://[::1]:8080/m":                    "another origin, http://[::1]:8080 instead",
		"javascript:alert(1)":                    "another origin",
	} {
		for _, wire := range []bridge.Wire{bridge.WireAuto, bridge.WireSSE} {
			t.Run(fmt.Sprint(endpoint, " ", wire), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &sseServer{endpoint: endpoint}
					o := bubbleServer(t, s.ServeHTTP)
					o.Wire, o.InitializeWait = wire, -1
					h := start(t, o)
					h.send(hello)
					got, _ := h.responseWithin(`"hello"`, 30*time.Second)
					if strings.HasPrefix(want, "/") {
						if get(t, got, "result") != initialized || len(s.paths) != 1 || s.paths[0] != want {
							t.Errorf("got %s from %q", got, s.paths)
						}
						return
					}
					if message := get(t, got, "error", "message"); !strings.Contains(message, want) || strings.Contains(message, "secret") {
						t.Errorf("got %s", got)
					}
					if len(s.paths) > 0 {
						t.Errorf("something was posted to %q", s.paths)
					}
				})
			})
		}
	}
}

// TestEndpointNeverNamed has a stream that names no endpoint at all.
func TestEndpointNeverNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sseServer{endpoint: "none"}
		o := bubbleServer(t, s.ServeHTTP)
		o.Wire = bridge.WireSSE
		h := start(t, o)
		h.send(hello)
		h.responseWithin(`"hello"`, 30*time.Second)
		h.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`, streamCall("1"))
		got, _ := h.responseWithin("1", 2*time.Minute)
		if !strings.Contains(get(t, got, "error", "message"), "names no endpoint") {
			t.Errorf("got %s", got)
		}
	})
}

// TestEventInPlaceOfTheEndpoint has a stream begin with a giant event that names no endpoint, and
// end: the next giant message has the memory of that.
func TestEventInPlaceOfTheEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		giant := strings.Repeat("x", 5<<20)
		s := &sessions{serve: func(w http.ResponseWriter, _ *http.Request, got request) {
			result(w, got.id, `"`+giant+`"`)
		}}
		awake := false
		o := bubbleServer(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case awake:
				s.ServeHTTP(w, r)
			case r.Method == http.MethodGet:
				writeBody(w, 200, "text/event-stream", "event: hello\ndata: "+giant+"\n\n")
			default:
				w.WriteHeader(http.StatusMethodNotAllowed)
			}
		})
		o.InitializeWait = -1
		h := start(t, o)
		h.send(hello)
		if got := h.response(`"hello"`); get(t, got, "error") == "" {
			t.Fatalf("got %s", got)
		}
		awake = true
		h.hello()
		h.send(streamCall("1"))
		if got := h.response("1"); len(get(t, got, "result")) != len(giant)+2 {
			t.Errorf("got %.200s", got)
		}
	})
}

// TestEndpointNamedAgain has a stream name another endpoint later: of the same origin it is
// taken, of another it is not.
func TestEndpointNamedAgain(t *testing.T) {
	for again, want := range map[string]string{"/second": "/second", "http://other.test/second": "/first"} {
		t.Run(again, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sseServer{endpoint: "/first"}
				s.opened = func(w http.ResponseWriter, _ *http.Request, _ int) bool {
					io.WriteString(w, "event: endpoint\ndata: "+again+"\n\n")
					flushHead(w)
					return false
				}
				h := start(t, bubbleServer(t, s.ServeHTTP))
				h.hello()
				h.send(streamCall("1"))
				h.response("1")
				if last := s.paths[len(s.paths)-1]; last != want {
					t.Errorf("the last message was posted to %s", last)
				}
			})
		})
	}
}

// TestPostAtSSEAddress has an address of HTTP+SSE that takes a POST for the stream's GET.
func TestPostAtSSEAddress(t *testing.T) {
	for wire, works := range map[bridge.Wire]bool{bridge.WireAuto: true, bridge.WireHTTP: false} {
		t.Run(fmt.Sprint(wire), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sseServer{endpoint: "/messages", any: true}
				o := bubbleServer(t, s.ServeHTTP)
				o.Wire = wire
				h := start(t, o)
				h.send(hello)
				got, took := h.responseWithin(`"hello"`, timeout)
				if took > time.Second {
					t.Errorf("it took %v", took)
				}
				if !works {
					if !strings.Contains(get(t, got, "error", "message"), "HTTP+SSE") {
						t.Errorf("got %s", got)
					}
					return
				}
				if get(t, got, "result") != initialized {
					t.Fatalf("got %s", got)
				}
				h.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`, streamCall("1"))
				if got := h.response("1"); get(t, got, "result") != "{}" {
					t.Errorf("got %s", got)
				}
			})
		})
	}
}

// TestModernPostAtSSEAddress is the same for a host that begins with server/discover.
func TestModernPostAtSSEAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sseServer{endpoint: "/messages", any: true}
		h := start(t, bubbleServer(t, s.ServeHTTP))
		h.send(modernRequest("1", "server/discover", ""))
		if got, _ := h.responseWithin("1", timeout); get(t, got, "error") == "" {
			t.Fatalf("got %s", got)
		}
		h.send(hello)
		if got := h.response(`"hello"`); get(t, got, "result") != initialized {
			t.Errorf("got %s", got)
		}
	})
}

// TestPostOfSSE has servers of HTTP+SSE that respond to a POST in several ways; the response to
// the request comes in that, or on the stream, or never.
func TestPostOfSSE(t *testing.T) {
	response := func(id string) string { return `{"jsonrpc":"2.0","id":` + id + `,"result":{}}` }
	for name, tt := range map[string]struct {
		post  func(s *sseServer, w http.ResponseWriter, r *http.Request, id string)
		comes bool
		most  time.Duration
	}{
		"never, on the stream": {func(s *sseServer, _ http.ResponseWriter, r *http.Request, id string) {
			s.send(response(id))
			<-r.Context().Done()
		}, true, time.Second},
		"in the body": {func(_ *sseServer, w http.ResponseWriter, _ *http.Request, id string) {
			writeBody(w, 200, "application/json", response(id))
		}, true, time.Second},
		"in the body of a 202": {func(_ *sseServer, w http.ResponseWriter, _ *http.Request, id string) {
			writeBody(w, 202, "application/json", response(id))
		}, true, time.Second},
		"in a stream of its own": {func(_ *sseServer, w http.ResponseWriter, _ *http.Request, id string) {
			writeBody(w, 200, "text/event-stream", event(response(id)))
		}, true, time.Second},
		"in both": {func(s *sseServer, w http.ResponseWriter, _ *http.Request, id string) {
			s.send(response(id))
			writeBody(w, 200, "application/json", response(id))
		}, true, time.Second},
		"words, on the stream": {func(s *sseServer, w http.ResponseWriter, _ *http.Request, id string) {
			writeBody(w, 200, "application/json", `"ok"`)
			s.send(response(id))
		}, true, time.Second},
		"a page, on the stream": {func(s *sseServer, w http.ResponseWriter, _ *http.Request, id string) {
			writeBody(w, 200, "text/html", `<p>OK</p>`)
			s.send(response(id))
		}, true, time.Second},
		"202 and never": {func(_ *sseServer, w http.ResponseWriter, _ *http.Request, _ string) {
			w.WriteHeader(202)
		}, false, 5*time.Minute + time.Second},
		"202 and the end of the stream": {func(s *sseServer, w http.ResponseWriter, _ *http.Request, _ string) {
			w.WriteHeader(202)
			s.cut()
		}, false, time.Second},
		"never, and the end of the stream": {func(s *sseServer, _ http.ResponseWriter, r *http.Request, _ string) {
			s.cut()
			<-r.Context().Done()
		}, false, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sseServer{endpoint: "/messages"}
				s.post = func(w http.ResponseWriter, r *http.Request, got request) bool {
					if got.method == "tools/call" {
						tt.post(s, w, r, got.id)
						return true
					}
					return false
				}
				h := start(t, bubbleServer(t, s.ServeHTTP))
				h.hello()
				h.send(streamCall("1"))
				got, _ := h.responseWithin("1", tt.most)
				if tt.comes != (get(t, got, "result") != "") {
					t.Errorf("got %s", got)
				}
				h.send(`{"jsonrpc":"2.0","id":2,"method":"ping"}`)
				if got := h.response("2"); get(t, got, "result") != "{}" {
					t.Errorf("got %s", got)
				}
				if n := strings.Count(strings.Join(h.all(), "\n"), `"id":1,`); n != 1 {
					t.Errorf("the host got %d responses", n)
				}
			})
		})
	}
}

// TestSSEStreamComesBack has the stream of HTTP+SSE end: it is opened again without a request of
// the host's, and a session begins on it. One that always ends at once is left alone in the end.
func TestSSEStreamComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sseServer{endpoint: "/messages"}
		h := start(t, bubbleServer(t, s.ServeHTTP))
		h.hello()
		time.Sleep(time.Minute)
		s.cut()
		time.Sleep(5 * time.Second)
		if streams, begun := s.counts(); streams != 2 || begun != 2 {
			t.Fatalf("%d streams, %d sessions", streams, begun)
		}
		s.send(`{"jsonrpc":"2.0","method":"notifications/message"}`)
		h.note("notifications/message")

		s.mu.Lock()
		s.opened = func(http.ResponseWriter, *http.Request, int) bool { return true }
		s.mu.Unlock()
		s.cut()
		time.Sleep(10 * time.Second)
		if streams, _ := s.counts(); streams > 2+5 {
			t.Errorf("%d streams within 10 s", streams)
		}
		time.Sleep(time.Hour)
		if streams, _ := s.counts(); streams > 2+10 {
			t.Errorf("%d streams within an hour", streams)
		}
		s.mu.Lock()
		s.opened = nil
		s.mu.Unlock()
		h.send(streamCall("1"))
		if got := h.response("1"); get(t, got, "result") != "{}" {
			t.Errorf("got %s", got)
		}
	})
}

// TestSSEStreamRejectedForAWhile has the stream of HTTP+SSE end and be rejected for a while.
func TestSSEStreamRejectedForAWhile(t *testing.T) {
	for _, status := range []int{400, 404, 409, 429, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sseServer{endpoint: "/messages"}
				var until time.Time
				h := start(t, bubbleServer(t, func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodGet && time.Now().Before(until) {
						w.WriteHeader(status)
						return
					}
					s.ServeHTTP(w, r)
				}))
				h.hello()
				time.Sleep(time.Minute)
				until = time.Now().Add(10 * time.Second)
				s.cut()
				time.Sleep(20 * time.Second)
				s.send(`{"jsonrpc":"2.0","method":"notifications/message"}`)
				h.note("notifications/message")
			})
		})
	}
}

// TestNamelessErrorOnSSE has a server of HTTP+SSE accept a request with 202 and send an error with
// the id null on its stream: the request has that error, or goes to a new session if the server
// responds with the same to a ping. With several requests under way it may be about any of them.
func TestNamelessErrorOnSSE(t *testing.T) {
	const nameless = `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no such session"}}`
	for name, tt := range map[string]struct {
		calls     int
		forgotten bool
		says      string
		want      string
	}{
		"its own error":               {1, false, nameless, "-32600"},
		"without an id":               {1, false, strings.Replace(nameless, `"id":null,`, "", 1), "-32600"},
		"in an array":                 {1, false, "[" + nameless + "]", "-32600"},
		"a forgotten session":         {1, true, nameless, ""},
		"a forgotten session, array":  {1, true, "[" + nameless + "]", ""},
		"a forgotten session, of two": {2, true, nameless, "-31004"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sseServer{endpoint: "/messages"}
				carried := 0
				s.post = func(w http.ResponseWriter, _ *http.Request, got request) bool {
					_, begun := s.counts()
					if got.id == "" || got.method == "initialize" || tt.forgotten && begun > 1 || !tt.forgotten && got.method == "ping" {
						if got.method == "tools/call" {
							carried++
						}
						return false
					}
					w.WriteHeader(http.StatusAccepted)
					if got.method == "ping" || got.id == "1" {
						s.send(tt.says)
					}
					return true
				}
				h := start(t, bubbleServer(t, s.ServeHTTP))
				h.hello()
				for id := range tt.calls {
					h.send(streamCall(fmt.Sprint(tt.calls - id)))
					synctest.Wait()
				}
				for id := range tt.calls {
					got, took := h.responseWithin(fmt.Sprint(id+1), 6*time.Minute)
					if tt.want == "" && get(t, got, "result") != "{}" || tt.want != "" && get(t, got, "error", "code") != tt.want {
						t.Errorf("got %s", got)
					}
					if took > 3*time.Second {
						t.Errorf("it took %v", took)
					}
				}
				if tt.want == "" && carried != 1 || tt.want != "" && carried != 0 {
					t.Errorf("%d requests were carried out", carried)
				}
				h.send(`{"jsonrpc":"2.0","id":9,"method":"ping"}`)
				if got := h.response("9"); get(t, got, "result") != "{}" {
					t.Errorf("got %s", got)
				}
			})
		})
	}
}

// TestNamelessErrorOnTheSessionStream is the same for a request that was accepted with 202 over
// Streamable HTTP.
func TestNamelessErrorOnTheSessionStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sessions{stream: make(chan string, 1)}
		s.serve = func(w http.ResponseWriter, _ *http.Request, got request) {
			if got.method == "ping" {
				result(w, got.id, "{}")
				return
			}
			w.WriteHeader(http.StatusAccepted)
			s.stream <- event(`{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"no such tool"}}`)
		}
		h := start(t, bubbleServer(t, s.ServeHTTP))
		h.hello()
		h.send(streamCall("1"))
		if got, took := h.responseWithin("1", 6*time.Minute); get(t, got, "error", "code") != "-32602" || took > time.Second {
			t.Errorf("after %v the host got %s", took, got)
		}
	})
}
