package bridge_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// TestForgottenSessionInOtherWords lets a server forget its session and say so in many
// ways while 16 requests come: one ping where the words are not definite, one new session,
// each request carried out once; and once more a moment later.
func TestForgottenSessionInOtherWords(t *testing.T) {
	for _, tt := range otherWords {
		for _, bare := range []bool{false, true} {
			name := tt.name
			if bare {
				name += ", without Mcp-Session-Id"
			}
			t.Run(name, func(t *testing.T) {
				inMemory(t, func(t *testing.T) { forgetsInOtherWords(t, tt, bare) })
			})
		}
	}
}

func forgetsInOtherWords(t *testing.T, tt otherWord, bare bool) {
	s := &forgetful{unknown: tt.words, bare: bare}
	h := start(t, bubbleServer(t, s.ServeHTTP))
	h.hello()
	for round := 1; round <= 2; round++ {
		h.send(toolCall(1000 * round))
		h.response(strconv.Itoa(1000 * round))
		synctest.Wait() // until the bridge knows, too, that the session works
		s.forget()
		for i := range 16 {
			h.send(toolCall(100*round + i))
		}
		for i := range 16 {
			if got := h.response(strconv.Itoa(100*round + i)); get(t, got, "result") == "" {
				t.Errorf("got %s", got)
			}
		}
		want := tt.pings
		if bare {
			want = 1 // a status alone means nothing for a session without an id
		}
		if n := s.count("ping"); n != want*round {
			t.Errorf("%d pings, not %d", n, want*round)
		}
		if n := s.count("initialize"); n != round+1 {
			t.Errorf("%d sessions were begun", n)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, n := range s.carried {
		if n != 1 {
			t.Errorf("request %s was carried out %d times", id, n)
		}
	}
}

// TestRejectionsThatEndNoSession are those that never say that a session is gone, and those
// that a ping shows to be about the request alone: the host gets them, once.
func TestRejectionsThatEndNoSession(t *testing.T) {
	type rejection struct {
		name  string
		words func(w http.ResponseWriter, got request)
		pings int
		want  string // a piece of the error
	}
	var all []rejection
	for _, status := range []int{401, 403, 407, 408, 413, 415, 425, 429, 500, 502, 504} {
		name := strconv.Itoa(status)
		all = append(all, rejection{name, rejects(status, "text/plain", "no such session"), 0, "status " + name})
		all = append(all, rejection{name + " in JSON", rejects(status, "application/json", `{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}`), 0, "-32001"})
	}
	for _, status := range []int{400, 404, 405, 410, 409, 422, 500, 503} {
		name := strconv.Itoa(status) + " with the response to the request"
		all = append(all, rejection{name, rejects(status, "application/json", `{"jsonrpc":"2.0","id":$ID,"error":{"code":-32601,"message":"Method not found"}}`), 0, "-32601"})
	}
	all = append(all, rejection{"404 with a result", rejects(404, "application/json", `{"jsonrpc":"2.0","id":$ID,"result":{"odd":true}}`), 0, `{"odd":true}`})
	all = append(all, rejection{"404 with the id in another spelling", rejects(404, "application/json", `{"jsonrpc":"2.0","id":$ID.0,"error":{"code":-32601,"message":"no"}}`), 0, "-32601"})
	for _, tt := range otherWords {
		if tt.pings > 0 {
			all = append(all, rejection{"a wrong suspicion: " + tt.name, tt.words, 1, `"error"`})
		}
	}
	for _, tt := range all {
		t.Run(tt.name, func(t *testing.T) {
			s := &forgetful{odd: func(w http.ResponseWriter, got request) bool {
				if got.method == "tools/call" {
					tt.words(w, got)
				}
				return got.method == "tools/call"
			}}
			h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP), Logger: logger(t)})
			h.hello()
			for i := 1; i <= 3; i++ {
				h.send(toolCall(i))
				if got := h.response(strconv.Itoa(i)); !strings.Contains(got, tt.want) {
					t.Errorf("got %s", got)
				}
				if n := s.count("tools/call"); n != i {
					t.Errorf("%d requests were sent for %d", n, i)
				}
				if n := s.count("ping"); n != i*tt.pings {
					t.Errorf("%d pings for %d requests", n, i)
				}
			}
			if n := s.count("initialize"); n != 1 {
				t.Errorf("%d sessions were begun", n)
			}
			h.send(`{"jsonrpc":"2.0","id":9,"method":"tools/list"}`)
			if got := s.last(t, h.response("9"), "tools/list"); got.header.Get("Mcp-Session-Id") != "session-1" {
				t.Error("the session is another")
			}
		})
	}
}

// TestSuspicionBesideAnOpenStream rejects a request while the session's stream is open, on
// which a response may still come: the response to the ping decides it all the same, at once.
func TestSuspicionBesideAnOpenStream(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := &sessions{stream: make(chan string), serve: func(w http.ResponseWriter, _ *http.Request, got request) {
			if got.method == "tools/call" {
				w.WriteHeader(400)
				return
			}
			result(w, got.id, `{}`)
		}}
		h := start(t, bubbleServer(t, s.ServeHTTP))
		h.hello()
		s.stream <- "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n\n"
		h.note("notifications/x")
		began := time.Now()
		h.send(toolCall(1))
		if got := h.response("1"); !strings.Contains(got, "status 400") {
			t.Errorf("got %s", got)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the response to the ping decided nothing for %v", took)
		}
	})
}

// TestSuspicionThatStaysOpen rejects a request, and responds to the ping in no way that decides
// what that means: no session is started and nothing is sent again.
func TestSuspicionThatStaysOpen(t *testing.T) {
	for name, ping := range map[string]func(w http.ResponseWriter, got request){
		"a connection that breaks": func(http.ResponseWriter, request) { panic(http.ErrAbortHandler) },
		"429":                      rejects(429, "", ""),
		"401":                      rejects(401, "", ""),
		"another rejection":        rejects(409, "", ""),
		"another code":             rejects(400, "application/json", `{"jsonrpc":"2.0","id":null,"error":{"code":-5,"message":"no"}}`),
		"another id":               rejects(200, "application/json", `{"jsonrpc":"2.0","id":"other","result":{}}`),
		"a page":                   rejects(200, "text/html", "<html>"),
	} {
		t.Run(name, func(t *testing.T) {
			s := &forgetful{odd: func(w http.ResponseWriter, got request) bool {
				switch got.method {
				case "tools/call":
					w.WriteHeader(400)
				case "ping":
					ping(w, got)
				default:
					return false
				}
				return true
			}}
			h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP), Logger: logger(t)})
			h.hello()
			h.send(toolCall(1))
			if got := h.response("1"); !strings.Contains(got, "status 400") {
				t.Errorf("got %s", got)
			}
			s.wantCounts(t, 1, 1, 1)
		})
	}
}

// TestSessionIsReplacedOnceWhereThatDoesNotHelp has a server that knows none of its sessions: it is tried
// once, and not again for a while, however many requests come; twice where it responds by the
// rules that the session is gone, and took messages on it before.
func TestSessionIsReplacedOnceWhereThatDoesNotHelp(t *testing.T) {
	for _, tt := range otherWords {
		t.Run(tt.name, func(t *testing.T) {
			inMemory(t, func(t *testing.T) { replacedWithoutHelp(t, tt) })
		})
	}
}

func replacedWithoutHelp(t *testing.T, tt otherWord) {
	s := &forgetful{unknown: tt.words}
	s.odd = func(w http.ResponseWriter, got request) bool {
		if got.id == "" || got.method == "tools/list" {
			return false
		}
		tt.words(w, got)
		return true
	}
	h := start(t, bubbleServer(t, s.ServeHTTP))
	h.hello()
	for i := 1; i <= 24; i++ {
		h.send(toolCall(i))
		if i == 8 {
			for i := 1; i <= 8; i++ {
				h.response(strconv.Itoa(i))
			}
		}
		if i > 16 {
			h.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":"list %d","method":"tools/list"}`, i))
			h.response(fmt.Sprintf(`"list %d"`, i))
		}
	}
	for i := 9; i <= 24; i++ {
		if got := h.response(strconv.Itoa(i)); get(t, got, "error") == "" {
			t.Errorf("got %s", got)
		}
	}
	if begun, pings := s.count("initialize"), s.count("ping"); begun > 3-tt.pings || pings > 1 {
		t.Errorf("%d sessions were begun, after %d pings", begun, pings)
	}
	if calls := s.count("tools/call"); calls > 2*24 {
		t.Errorf("%d requests were sent for 24", calls)
	}
}

// TestModernRequestsHaveNoSession: since 2026-07-28 there is none to be forgotten.
func TestModernRequestsHaveNoSession(t *testing.T) {
	for _, tt := range otherWords {
		t.Run(tt.name, func(t *testing.T) {
			s := &forgetful{odd: func(w http.ResponseWriter, got request) bool {
				switch got.method {
				case "server/discover":
					result(w, got.id, `{"supportedVersions":["2026-07-28"],"capabilities":{}}`)
				default:
					tt.words(w, got)
				}
				return true
			}}
			h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP), Wire: bridge.WireHTTP, Logger: logger(t)})
			h.send(modernRequest("1", "server/discover", ""))
			h.response("1")
			h.send(modernRequest("2", "tools/call", `"name":"x"`))
			if got := h.response("2"); get(t, got, "error") == "" {
				t.Errorf("got %s", got)
			}
			s.wantCounts(t, 1, 0, 0)
		})
	}
}

// TestForgottenSessionIsDeleted: the old session may live on elsewhere.
func TestForgottenSessionIsDeleted(t *testing.T) {
	for _, tt := range otherWords {
		t.Run(tt.name, func(t *testing.T) {
			inMemory(t, func(t *testing.T) {
				s := &forgetful{unknown: tt.words}
				h := start(t, bubbleServer(t, s.ServeHTTP))
				h.hello()
				s.forget()
				h.send(toolCall(1))
				h.response("1")
				synctest.Wait()
				if err := h.end(); err != nil {
					t.Error(err)
				}
				s.mu.Lock()
				defer s.mu.Unlock()
				if got := strings.Join(s.deleted, " "); got != "session-1 session-2" {
					t.Errorf("%s were deleted", got)
				}
			})
		})
	}
}

// TestNotificationMeetsForgottenSession: the host's notification goes to the new session, unless
// it is about a request of the old one; the next request works.
func TestNotificationMeetsForgottenSession(t *testing.T) {
	for _, tt := range otherWords {
		t.Run(tt.name, func(t *testing.T) {
			s := &forgetful{unknown: tt.words}
			h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP), Logger: logger(t)})
			h.hello()
			h.send(toolCall(1))
			h.response("1")
			if status := tt.name[:3]; status == "200" {
				return // a notification has no response to be wrong
			}
			s.forget()
			h.send(`{"jsonrpc":"2.0","method":"notifications/mine"}`)
			h.note("notifications/tools/list_changed") // of the new session
			waitFor(t, "the notification comes again", func() bool { return s.count("notifications/mine") == 2 })
			// Notifications go one after the other: what became of the first is known then.
			h.send(`{"jsonrpc":"2.0","method":"notifications/next"}`)
			waitFor(t, "the next notification comes", func() bool { return s.count("notifications/next") == 1 })
			h.send(toolCall(2))
			if got := h.response("2"); get(t, got, "result") == "" {
				t.Errorf("got %s", got)
			}
			s.forget()
			h.send(`{"jsonrpc":"2.0","id":"never asked","result":{}}`)
			h.note("notifications/tools/list_changed")
			h.send(toolCall(3))
			if got := h.response("3"); get(t, got, "result") == "" {
				t.Errorf("got %s", got)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			var on []string
			replies := 0
			for _, got := range s.all {
				if got.method == "notifications/mine" {
					on = append(on, got.header.Get("Mcp-Session-Id"))
				}
				if strings.Contains(got.body, "never asked") {
					replies++
				}
			}
			if strings.Join(on, " ") != "session-1 session-2" {
				t.Errorf("the notification came on %v", on)
			}
			if replies != 1 {
				t.Errorf("the host's response was sent %d times", replies)
			}
		})
	}
}

// TestForgottenSessionWithRetryAfter has an instance that does not know the session want to be
// tried later: what the ping finds out does not wait for that as well.
func TestForgottenSessionWithRetryAfter(t *testing.T) {
	for _, seconds := range []int{1, 5, 9, 60} {
		t.Run(strconv.Itoa(seconds), func(t *testing.T) {
			inMemory(t, func(t *testing.T) {
				s := &forgetful{unknown: func(w http.ResponseWriter, got request) {
					w.Header().Set("Retry-After", strconv.Itoa(seconds))
					rejects(503, "text/plain", "unknown on this instance")(w, got)
				}}
				h := startInMemory(t, memory(s.ServeHTTP), nil)
				h.hello()
				h.send(toolCall(1))
				h.response("1")
				s.forget()
				began := time.Now()
				h.send(toolCall(2))
				if got := h.response("2"); get(t, got, "result") == "" {
					t.Errorf("got %s", got)
				}
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("the response took %v", took)
				}
				if pings, begun := s.count("ping"), s.count("initialize"); pings != 1 || begun != 2 {
					t.Errorf("%d pings, %d sessions", pings, begun)
				}
			})
		})
	}
}
