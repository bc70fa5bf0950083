package bridge_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

type unattended struct{}

// marks is a server that notes which requests come in the background: their methods, or those of
// HTTP, with an asterisk.
type marks struct {
	next http.HandlerFunc

	mu  sync.Mutex // guards what follows
	all []string
}

// options are those of a bridge whose requests are noted.
func (m *marks) options(o *bridge.Options) {
	o.Background = func(ctx context.Context) context.Context { return context.WithValue(ctx, unattended{}, true) }
}

func inBackground(r *http.Request) bool { return r.Context().Value(unattended{}) != nil }

func (m *marks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	what := cmp.Or(readRequest(r).method, r.Method)
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	if inBackground(r) {
		what += "*"
	}
	m.mu.Lock()
	m.all = append(m.all, what)
	m.mu.Unlock()
	m.next(w, r)
}

// want checks which requests came, and which did not.
func (m *marks) want(t *testing.T, come, none string) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, what := range strings.Fields(come) {
		if !slices.Contains(m.all, what) {
			t.Errorf("%s did not come: %q", what, m.all)
		}
	}
	for _, what := range strings.Fields(none) {
		if slices.Contains(m.all, what) {
			t.Errorf("%s came: %q", what, m.all)
		}
	}
}

// hostWith begins a session of a host that has set what a session keeps.
func hostWith(h *host) {
	h.hello()
	h.send(`{"jsonrpc":"2.0","id":"level","method":"logging/setLevel","params":{"level":"error"}}`)
	h.response(`"level"`)
}

// TestBackground has a session with all that goes on by itself: the user is needed for what the host
// begins and wants done, and for nothing else.
func TestBackground(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := &getting{sessions: sessions{}}
		cut := make(chan struct{})
		s.get = func(w http.ResponseWriter, r *http.Request, n int) {
			if !s.knows(r) {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			openStream(w)
			if n > 0 {
				<-r.Context().Done()
				return
			}
			io.WriteString(w, event(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
			flushHead(w)
			<-cut
		}
		m := &marks{next: s.ServeHTTP}
		h := startInMemory(t, memory(m.ServeHTTP), func(o *bridge.Options) {
			m.options(o)
			o.Ping = 30 * time.Second
		})
		hostWith(h)
		h.note("ping")
		h.send(`{"jsonrpc":"2.0","id":1,"result":{}}`, toolCall(1), `{"jsonrpc":"2.0","id":2,"method":"ping"}`,
			`{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`)
		h.response("1")
		h.response("2")
		time.Sleep(time.Minute)
		m.want(t, "initialize notifications/initialized logging/setLevel tools/call GET* ping* notifications/roots/list_changed* POST*",
			"GET ping tools/call* POST notifications/roots/list_changed")
		s.forget()
		close(cut) // the bridge finds out by itself that the session has ended
		time.Sleep(time.Minute)
		m.want(t, "initialize* notifications/initialized* logging/setLevel*", "")
		_ = h.end()
		m.want(t, "DELETE*", "DELETE")
	})
}

// TestSessionReplacedForTheHost has a call find out that the session has ended.
func TestSessionReplacedForTheHost(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := &sessions{}
		m := &marks{next: s.ServeHTTP}
		h := startInMemory(t, memory(m.ServeHTTP), m.options)
		hostWith(h)
		s.forget()
		h.send(toolCall(1))
		h.response("1")
		m.want(t, "logging/setLevel*", "initialize* tools/call*")
	})
}

// TestResponseOfTheUserIsForTheHost has the user respond to a request of the server's: the user is
// there, and what waits for the response may be a tool.
func TestResponseOfTheUserIsForTheHost(t *testing.T) {
	const response = `{"jsonrpc":"2.0","id":1,"result":{"action":"decline"}}`
	responseOfTheUser(t, response)
	responseOfTheUser(t, `[{"jsonrpc":"2.0","id":2,"result":{}},`+response+`]`)
}

func responseOfTheUser(t *testing.T, response string) {
	inMemory(t, func(t *testing.T) {
		s := &sessions{stream: make(chan string)}
		m := &marks{next: s.ServeHTTP}
		h := startInMemory(t, memory(m.ServeHTTP), m.options)
		h.hello()
		send(t, s.stream, event(`{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{}}`))
		h.note("elicitation/create")
		h.send(response)
		time.Sleep(time.Second)
		m.want(t, "POST", "POST*")
	})
}

// TestBackgroundOverSSE is the same for the stream that is the session.
func TestBackgroundOverSSE(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := &sseServer{endpoint: "/messages"}
		m := &marks{next: s.ServeHTTP}
		h := startInMemory(t, memory(m.ServeHTTP), m.options)
		h.hello()
		h.send(toolCall(1))
		h.response("1")
		m.want(t, "GET initialize tools/call", "GET* initialize*")
		s.cut()
		time.Sleep(time.Minute)
		m.want(t, "GET* initialize*", "")
	})
}

// TestBackgroundAtModernServer is the same for the subscription that takes the place of a session's
// stream.
func TestBackgroundAtModernServer(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := &moderns{serve: func(w http.ResponseWriter, _ *http.Request, got request, _ int) {
			if got.method == "subscriptions/listen" {
				openStream(w)
				return
			}
			result(w, got.id, "{}")
		}}
		m := &marks{next: s.ServeHTTP}
		h := startInMemory(t, memory(m.ServeHTTP), m.options)
		h.hello()
		h.send(toolCall(1))
		h.response("1")
		time.Sleep(time.Minute)
		m.want(t, "subscriptions/listen subscriptions/listen* tools/call", "tools/call*")
	})
}

// errUnattended is the error of a request for which the user would have to sign in.
var errUnattended = errors.New("a login is required")

// login carries requests and, once it has ended, has the user sign in for the next one that needs
// that. Those in the background do without: they end with an error, after some time.
type login struct {
	next  http.RoundTripper
	need  string        // a method; "": all
	takes time.Duration // until one in the background has its error; zero: 5 s

	mu    sync.Mutex // guards what follows
	ended bool
	begun int
}

func (l *login) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}

func (l *login) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	needed := l.ended && (l.need == "" || strings.Contains(body(r), `"`+l.need+`"`))
	if needed && !inBackground(r) {
		needed, l.ended = false, false
		l.begun++
	}
	l.mu.Unlock()
	if needed {
		takes(r, cmp.Or(l.takes, 5*time.Second))
		return nil, errUnattended
	}
	return l.next.RoundTrip(r)
}

// logins returns how many logins have begun.
func (l *login) logins() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begun
}

// body returns what a request of a bridge carries.
func body(r *http.Request) string {
	if r.GetBody == nil {
		return ""
	}
	reader, _ := r.GetBody()
	raw, _ := io.ReadAll(reader)
	return string(raw)
}

// options are those of a bridge whose logins it is.
func (l *login) options(o *bridge.Options) {
	new(marks).options(o)
	o.Explain = func(err error) *bridge.Trouble {
		if errors.Is(err, errUnattended) {
			return &bridge.Trouble{Code: bridge.CodeSignIn, Reason: "auth_required", Message: err.Error()}
		}
		return nil
	}
}

// TestHostIsNotHeldUpByTheBackground has a call of the host meet the replacement of a session that
// has come to nothing in the background: it is begun again, with the user.
func TestHostIsNotHeldUpByTheBackground(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		cut := make(chan struct{})
		s := &getting{get: func(w http.ResponseWriter, r *http.Request, n int) {
			if n > 0 {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			openStream(w)
			<-cut
		}}
		l := &login{need: "initialize", next: memory(func(w http.ResponseWriter, r *http.Request) {
			got := readRequest(r)
			if got.method == "tools/call" && r.Header.Get("Mcp-Session-Id") == "session-1" {
				takes(r, 3*time.Second) // the bridge has noticed by itself then
			}
			if r.Method == http.MethodGet {
				s.ServeHTTP(w, r)
				return
			}
			s.respond(w, r, got)
		})}
		h := startInMemory(t, l, l.options)
		h.hello()
		time.Sleep(time.Second)
		l.end()
		s.forget()
		h.send(toolCall(1))
		close(cut)
		if got, took := h.responseWithin("1", time.Minute); get(t, got, "result") != "{}" || took < 5*time.Second {
			t.Errorf("after %v: %s", took, got)
		}
		if l.begun != 1 {
			t.Errorf("%d logins", l.begun)
		}
	})
}

// TestHostIsNotHeldUpByTheBackgroundOverSSE is the same for a stream that is opened again.
func TestHostIsNotHeldUpByTheBackgroundOverSSE(t *testing.T) {
	for _, need := range []string{"", "initialize", "notifications/initialized"} {
		t.Run(need, func(t *testing.T) {
			inMemory(t, func(t *testing.T) {
				s := strictSSE("notifications/initialized")
				l := &login{need: need, next: memory(s.ServeHTTP)}
				h := startInMemory(t, l, l.options)
				h.hello()
				h.send(toolCall(1))
				h.response("1")
				l.end()
				s.cut()
				time.Sleep(3 * time.Second) // until the bridge has noticed by itself
				h.send(toolCall(2))
				if got := h.response("2"); get(t, got, "result") != "{}" {
					t.Errorf("got %s", got)
				}
				if n := l.logins(); n != 1 {
					t.Errorf("%d logins", n)
				}
			})
		})
	}
}

// TestSessionRejectedBeforeTheLogin has the bridge find out by itself that the session has ended, at
// a server that looks at the session before the token, and come to nothing in the background: a call
// of the host has the user sign in, whenever it comes.
func TestSessionRejectedBeforeTheLogin(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		after  time.Duration
	}{
		"400, while it is replaced": {400, 7 * time.Second},
		"400, later":                {400, 12 * time.Second},
		"404, later":                {404, 12 * time.Second},
		"404, the second time":      {404, 22 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, func(t *testing.T) {
				s := &forgetful{unknown: rejects(tt.status, "text/plain", "no such session")}
				l := &login{need: "initialize", next: memory(s.ServeHTTP)}
				h := startInMemory(t, l, func(o *bridge.Options) {
					l.options(o)
					o.Ping = 5 * time.Second
				})
				h.hello()
				time.Sleep(time.Second)
				l.end()
				s.forget()
				time.Sleep(tt.after)
				if n := l.logins(); n != 0 {
					t.Errorf("%d logins before the call", n)
				}
				h.send(toolCall(1))
				if got := h.response("1"); get(t, got, "result") == "" {
					t.Errorf("got %s", got)
				}
				if n := l.logins(); n != 1 {
					t.Errorf("%d logins", n)
				}
			})
		})
	}
}

// TestDeclinedLoginOfAReplacement has the user decline to sign in for the session that replaces
// another: each call has that error, and the one after the login works.
func TestDeclinedLoginOfAReplacement(t *testing.T) {
	for _, status := range []int{400, 404} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			inMemory(t, func(t *testing.T) {
				s := &forgetful{unknown: rejects(status, "text/plain", "no such session")}
				server := memory(s.ServeHTTP)
				declines := new(atomic.Bool)
				h := startInMemory(t, wire(func(r *http.Request) (*http.Response, error) {
					if declines.Load() && strings.Contains(body(r), `"initialize"`) {
						return nil, errDeclined
					}
					return server.RoundTrip(r)
				}), func(o *bridge.Options) { o.Explain = explainDoor })
				h.hello()
				declines.Store(true)
				s.forget()
				for id := range 4 {
					h.send(toolCall(id))
					if got := h.response(strconv.Itoa(id)); !isSignIn(t, got) {
						t.Errorf("got %s", got)
					}
				}
				declines.Store(false)
				h.send(toolCall(9))
				if got := h.response("9"); get(t, got, "result") == "" {
					t.Errorf("got %s", got)
				}
			})
		})
	}
}

// TestSessionBegunInTheBackgroundIsConfirmedForTheHost has a session replaced in the background at a
// server that wants a login from notifications/initialized on: the user is needed when the host is.
func TestSessionBegunInTheBackgroundIsConfirmedForTheHost(t *testing.T) {
	for name, after := range map[string]time.Duration{"while it is replaced": 30500 * time.Millisecond, "later": 50 * time.Second} {
		t.Run(name, func(t *testing.T) { confirmedForTheHost(t, after) })
	}
}

func confirmedForTheHost(t *testing.T, after time.Duration) {
	inMemory(t, func(t *testing.T) {
		s := &strict{accept: func(http.ResponseWriter, *http.Request, int) bool { return true }}
		l := &login{need: "notifications/initialized", takes: time.Second, next: memory(s.ServeHTTP)}
		h := startInMemory(t, l, func(o *bridge.Options) {
			l.options(o)
			o.Ping = 30 * time.Second
		})
		h.hello()
		h.send(toolCall(1))
		h.response("1")
		l.end()
		s.forget()
		time.Sleep(after)
		if begun, _ := s.counts(); begun != 2 || l.logins() != 0 {
			t.Errorf("%d sessions, %d logins before the call", begun, l.logins())
		}
		h.send(toolCall(2))
		if got := h.response("2"); get(t, got, "result") == "" {
			t.Errorf("got %s", got)
		}
		if n := l.logins(); n != 1 {
			t.Errorf("%d logins", n)
		}
	})
}
