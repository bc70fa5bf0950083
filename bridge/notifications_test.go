package bridge_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// mute is a server with sessions that never responds to notifications of one method.
type mute struct {
	sessions
	method string

	mu   sync.Mutex // guards what follows
	came []string   // notifications that it has accepted, with their parameters
	gone int        // requests without a response whose connection has ended
}

func (m *mute) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		m.sessions.ServeHTTP(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	got := readRequest(r)
	if got.id != "" {
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		m.sessions.ServeHTTP(w, r)
		return
	}
	if got.method == m.method || m.method == "" {
		<-r.Context().Done()
		m.mu.Lock()
		m.gone++
		m.mu.Unlock()
		return
	}
	m.mu.Lock()
	m.came = append(m.came, got.method+string(got.params))
	m.mu.Unlock()
	w.WriteHeader(http.StatusAccepted)
}

// TestNotificationNeverAccepted has a server that never responds to some notifications, or to
// any: requests go on at once, and what follows in bounded time and in order.
func TestNotificationNeverAccepted(t *testing.T) {
	for _, method := range []string{"notifications/initialized", "notifications/roots/list_changed", "notifications/cancelled", ""} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &mute{method: method}
				s.serve = func(w http.ResponseWriter, r *http.Request, got request) {
					if strings.Contains(got.body, `"slow"`) {
						<-r.Context().Done()
						return
					}
					result(w, got.id, "{}")
				}
				h := start(t, bubbleServer(t, s.ServeHTTP))
				h.hello()
				h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
				if _, took := h.responseWithin("1", timeout); took > 3*time.Second {
					t.Errorf("the first request took %v", took)
				}
				h.send(`{"jsonrpc":"2.0","id":"slow","method":"tools/call","params":{"name":"slow"}}`)
				for i := range 3 {
					h.send(
						`{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`,
						`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"slow"}}`,
						fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"n":%d}}`, i),
						streamCall(fmt.Sprint(10+i)))
					if _, took := h.responseWithin(fmt.Sprint(10+i), timeout); took > 100*time.Millisecond {
						t.Errorf("a request took %v", took)
					}
				}
				time.Sleep(20 * time.Second)
				s.mu.Lock()
				progress := ""
				for _, got := range s.came {
					if strings.Contains(got, "progress") {
						progress += got
					}
				}
				s.mu.Unlock()
				want := `notifications/progress{"n":0}notifications/progress{"n":1}notifications/progress{"n":2}`
				if method != "" && progress != want {
					t.Errorf("the server got %s", progress)
				}
				time.Sleep(2 * time.Minute)
				s.forget()
				h.send(toolCall(99))
				if got, took := h.responseWithin("99", timeout); get(t, got, "result") == "" || took > 5*time.Second {
					t.Errorf("in a session that replaces another, after %v: %s", took, got)
				}
				s.mu.Lock()
				defer s.mu.Unlock()
				if s.gone == 0 {
					t.Error("the bridge keeps a connection for each notification that the server does not accept")
				}
			})
		})
	}
}

// TestNotificationsKeepTheirOrder sends many notifications to a server that takes its time.
func TestNotificationsKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sessions{}
		h := start(t, bubbleServer(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && r.ContentLength%3 == 0 {
				time.Sleep(50 * time.Millisecond)
			}
			s.ServeHTTP(w, r)
		}))
		h.hello()
		for i := range 100 {
			h.send(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%q,"progress":%d}}`, strings.Repeat("x", i%7), i))
		}
		time.Sleep(time.Minute)
		s.mu.Lock()
		defer s.mu.Unlock()
		n := 0
		for _, got := range s.seen {
			if got.method == "notifications/progress" {
				if progress := get(t, string(got.params), "progress"); progress != fmt.Sprint(n) {
					t.Fatalf("notification %s came in place %d", progress, n)
				}
				n++
			}
		}
		if n != 100 {
			t.Errorf("%d notifications came", n)
		}
	})
}

// TestHostReplyNeverAccepted has a server that never responds to the host's reply to its own
// request: the next one is sent all the same.
func TestHostReplyNeverAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sessions{stream: make(chan string)}
		replies := make(chan string, 2)
		h := start(t, bubbleServer(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if strings.Contains(string(body), `"roots"`) {
				replies <- string(body)
				<-r.Context().Done()
				return
			}
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			s.ServeHTTP(w, r)
		}))
		h.hello()
		for i := range 2 {
			send(t, s.stream, event(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"roots/list"}`, i)))
			h.note("roots/list")
			h.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":{"roots":[]}}`, i))
			receive(t, replies)
		}
		h.send(streamCall("9"))
		h.response("9")
	})
}

// TestCancellationBehindNotifications gives a request up soon after its cancellation, however
// many notifications before that the server does not accept.
func TestCancellationBehindNotifications(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		given := make(chan struct{})
		s := &sessions{serve: func(_ http.ResponseWriter, r *http.Request, _ request) {
			<-r.Context().Done()
			close(given)
		}}
		h := startInMemory(t, memory(func(w http.ResponseWriter, r *http.Request) {
			got := readRequest(r)
			if got.id == "" && got.method != "notifications/initialized" && r.Method == http.MethodPost {
				<-r.Context().Done()
				return
			}
			s.respond(w, r, got)
		}), nil)
		h.hello()
		h.send(streamCall("1"))
		<-time.After(time.Second)
		for range 50 {
			h.send(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`)
		}
		h.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
		began := time.Now()
		<-given
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("the request was given up after %v", took)
		}
	})
}

// TestNotificationsKeepTheirOrderOnReplacedSession takes its time to begin the session that
// replaces the one that notifications met the end of.
func TestNotificationsKeepTheirOrderOnReplacedSession(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := &sessions{}
		h := startInMemory(t, slowToBegin(s, 20*time.Second), nil)
		h.hello()
		h.send(streamCall("1"))
		h.response("1")
		s.forget()
		const all = 30
		for i := range all {
			h.send(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/mine","params":{"n":%d}}`, i))
		}
		<-time.After(2 * time.Minute)
		s.mu.Lock()
		defer s.mu.Unlock()
		next := 0
		for _, got := range s.seen {
			if got.method != "notifications/mine" || got.header.Get("Mcp-Session-Id") != "session-2" {
				continue
			}
			if n := get(t, string(got.params), "n"); n != fmt.Sprint(next) {
				t.Errorf("notification %s came in place %d", n, next)
			}
			next++
		}
		if next != all {
			t.Errorf("%d notifications came", next)
		}
	})
}
