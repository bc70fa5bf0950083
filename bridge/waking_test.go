package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// mentionsSignIn reports whether a host could take a line for a request to sign in.
func mentionsSignIn(line string) bool {
	line = strings.ToLower(line)
	for _, word := range []string{"sign", "login", "logged", "browser", "auth"} {
		if strings.Contains(line, word) {
			return true
		}
	}
	return false
}

// waking is a server with tools and prompts, without logins.
func waking() *sessions {
	return &sessions{hello: `{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true},"prompts":{},"logging":{}},"serverInfo":{"name":"s","version":"1"}}`,
		serve: func(w http.ResponseWriter, _ *http.Request, got request) {
			switch got.method {
			case "tools/list":
				result(w, got.id, `{"tools":[{"name":"real"}]}`)
			case "prompts/list":
				result(w, got.id, `{"prompts":[{"name":"p"}]}`)
			case "resources/list", "resources/templates/list", "completion/complete":
				w.Header().Set("Content-Type", "application/json")
				w.Write([]byte(`{"jsonrpc":"2.0","id":` + got.id + `,"error":{"code":-32601,"message":"none"}}`))
			default:
				result(w, got.id, `{"content":[]}`)
			}
		}}
}

// TestSlowServer has an open server that takes its time to response initialize: the
// host waits for it, and gets nothing about a login, however long that takes.
func TestSlowServer(t *testing.T) {
	for name, tt := range map[string]struct {
		takes  time.Duration
		stands bool // the bridge has to response in the server's place
		lists  string
	}{
		"at once":    {0, false, `[{"name":"real"}]`},
		"2 seconds":  {2 * time.Second, false, `[{"name":"real"}]`},
		"6 seconds":  {6 * time.Second, true, `[{"name":"real"}]`}, // a list waits, too
		"30 seconds": {30 * time.Second, true, `[]`},
		"2 minutes":  {2 * time.Minute, true, `[]`},
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, func(t *testing.T) {
				s := waking()
				h := startInMemory(t, memory(func(w http.ResponseWriter, r *http.Request) {
					got := readRequest(r)
					if got.method == "initialize" {
						takes(r, tt.takes)
					}
					s.respond(w, r, got)
				}), nil)
				began := time.Now()
				hello := h.hello()
				if took := time.Since(began); took > 4*time.Second || !tt.stands && took > tt.takes+time.Second {
					t.Errorf("initialize has its response after %v", took)
				}
				if stands := get(t, hello, "result", "serverInfo", "name") == `"hs"`; stands != tt.stands || !stands && get(t, hello, "result") != s.hello {
					t.Errorf("initialize has the response %s", hello)
				}
				h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, `{"jsonrpc":"2.0","id":2,"method":"prompts/list"}`,
					`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"real"}}`, `{"jsonrpc":"2.0","id":4,"method":"ping"}`)
				h.response("4")
				if got := h.response("1"); get(t, got, "result", "tools") != tt.lists {
					t.Errorf("the tools are %s", got)
				}
				h.response("2")
				call := h.response("3")
				if tt.takes < 50*time.Second && get(t, call, "result") != `{"content":[]}` {
					t.Errorf("the call has the response %s", call)
				}
				if tt.takes > 50*time.Second && (get(t, call, "error", "code") != "-31001" || get(t, call, "error", "data", "retryable") != "true") {
					t.Errorf("the call has the response %s", call)
				}
				if tt.stands {
					h.note("notifications/tools/list_changed")
					h.note("notifications/prompts/list_changed")
				}
				h.send(`{"jsonrpc":"2.0","id":5,"method":"tools/list"}`, `{"jsonrpc":"2.0","id":6,"method":"prompts/list"}`)
				if got := h.response("5"); get(t, got, "result", "tools") != `[{"name":"real"}]` {
					t.Errorf("the tools are %s", got)
				}
				if got := h.response("6"); get(t, got, "result", "prompts") != `[{"name":"p"}]` {
					t.Errorf("the prompts are %s", got)
				}
				for _, line := range h.all() {
					if mentionsSignIn(line) {
						t.Errorf("the host reads of a login: %s", line)
					}
				}
				if methods := strings.Join(s.methods(), " "); !strings.HasPrefix(methods, "initialize notifications/initialized ") || strings.Count(methods, "initialize ") != 1 {
					t.Errorf("the server got %s", methods)
				}
			})
		})
	}
}

// wire is an http.RoundTripper made of a function.
type wire func(r *http.Request) (*http.Response, error)

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) { return w(r) }

// outage is a server that is away until a time, in one of several ways.
type outage struct {
	next  http.RoundTripper
	how   func(r *http.Request) (*http.Response, error)
	until time.Time

	mu    sync.Mutex // guards what follows
	tries []time.Time
}

func (o *outage) RoundTrip(r *http.Request) (*http.Response, error) {
	if time.Now().Before(o.until) {
		o.mu.Lock()
		o.tries = append(o.tries, time.Now())
		o.mu.Unlock()
		return o.how(r)
	}
	return o.next.RoundTrip(r)
}

func rejectedDial(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

func respond(status int) func(*http.Request) (*http.Response, error) {
	return memory(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }).RoundTrip
}

// outages are the ways in which a server that is about to be there is away.
var outages = map[string]func(*http.Request) (*http.Response, error){
	"rejected": rejectedDial,
	"no name": func(*http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "server misbehaving", Name: "server.example", IsTemporary: true}}
	},
	"slow name": func(r *http.Request) (*http.Response, error) {
		takes(r, 20*time.Second)
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "i/o timeout", Name: "server.example", IsTimeout: true}}
	},
	"502":  respond(502),
	"503":  respond(503),
	"504":  respond(504),
	"429":  respond(429),
	"drop": memory(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }).RoundTrip,
}

// TestServerAway has a host begin while the server is away, in a way that passes: the host
// gets a session in time, and the lists when the server is there.
func TestServerAway(t *testing.T) {
	for name, how := range outages {
		for _, away := range []time.Duration{2 * time.Second, 25 * time.Second, time.Hour} {
			t.Run(fmt.Sprint(name, " ", away), func(t *testing.T) {
				inMemory(t, func(t *testing.T) {
					s := waking()
					began := time.Now()
					o := &outage{next: memory(s.ServeHTTP), how: how, until: began.Add(away)}
					h := startInMemory(t, o, nil)
					h.limit = 2 * time.Hour
					hello := h.hello()
					if took := time.Since(began); took > 4*time.Second {
						t.Errorf("initialize has its response after %v", took)
					}
					stands := get(t, hello, "result", "serverInfo", "name") == `"hs"`
					if name != "slow name" && stands != (away > 4*time.Second) {
						t.Errorf("initialize has the response %s", hello)
					}
					h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"real"}}`)
					list, call := h.response("1"), h.response("2")
					if !stands && get(t, list, "result", "tools") != `[{"name":"real"}]` || stands && away > 10*time.Second && get(t, list, "result", "tools") != `[]` {
						t.Errorf("the tools are %s", list)
					}
					if failed := get(t, call, "error") != ""; failed != (away > time.Minute) {
						t.Errorf("the call has the response %s", call)
					}
					if stands {
						h.note("notifications/tools/list_changed")
						h.note("notifications/prompts/list_changed")
						if back := time.Since(began) - away; back > 40*time.Second {
							t.Errorf("the lists are announced %v after the server is back", back)
						}
					}
					h.send(`{"jsonrpc":"2.0","id":3,"method":"tools/list"}`)
					if got := h.response("3"); get(t, got, "result", "tools") != `[{"name":"real"}]` {
						t.Errorf("the tools are %s", got)
					}
					for _, line := range h.all() {
						if mentionsSignIn(line) {
							t.Errorf("the host reads of a login: %s", line)
						}
					}
					o.mu.Lock()
					n := len(o.tries)
					o.mu.Unlock()
					if away == time.Hour && n > 2200 {
						t.Errorf("%d requests in %v", n, away)
					}
					if methods := strings.Join(s.methods(), " "); !strings.HasPrefix(methods, "initialize notifications/initialized ") || strings.Count(methods, "initialize ") != 1 {
						t.Errorf("the server got %s", methods)
					}
				})
			})
		}
	}
}

// TestRejectedForGood has a server reject a session in a way that does not pass: the host
// gets that at once, and the server is left alone.
func TestRejectedForGood(t *testing.T) {
	for name, tt := range map[string]struct {
		serve http.HandlerFunc
		code  int
	}{
		"400":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400) }, bridge.CodeRejected},
		"403":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, bridge.CodeRejected},
		"404":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, bridge.CodeRejected},
		"500":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, bridge.CodeUncertain},
		"page": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/html") }, bridge.CodeProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, func(t *testing.T) {
				var count atomic.Int32
				h := startInMemory(t, memory(func(w http.ResponseWriter, r *http.Request) {
					count.Add(1)
					tt.serve(w, r)
				}), nil)
				began := time.Now()
				h.send(initialize)
				if got := h.response("1"); get(t, got, "error", "code") != strconv.Itoa(tt.code) || time.Since(began) > time.Second {
					t.Errorf("after %v: %s", time.Since(began), got)
				}
				before := count.Load()
				<-time.After(time.Hour)
				if after := count.Load(); after != before {
					t.Errorf("%d more requests", after-before)
				}
			})
		})
	}
}

// TestRejectedAfterWaking has a server that is away, and rejects a session once it is
// there: the host is notified that with its next request.
func TestRejectedAfterWaking(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		o := &outage{next: wire(respond(404)), how: rejectedDial, until: time.Now().Add(10 * time.Second)}
		h := startInMemory(t, o, nil)
		h.hello()
		h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}`)
		if got := h.response("1"); get(t, got, "error", "code") != strconv.Itoa(bridge.CodeRejected) {
			t.Errorf("got %s", got)
		}
	})
}

// TestNoLimitForTheServer has a host that waits for as long as the server takes.
func TestNoLimitForTheServer(t *testing.T) {
	t.Run("slow", func(t *testing.T) {
		inMemory(t, func(t *testing.T) {
			s := waking()
			h := startInMemory(t, memory(func(w http.ResponseWriter, r *http.Request) {
				got := readRequest(r)
				if got.method == "initialize" {
					takes(r, time.Minute)
				}
				s.respond(w, r, got)
			}), func(o *bridge.Options) { o.InitializeWait = -1 })
			if hello := h.hello(); get(t, hello, "result") != s.hello {
				t.Errorf("initialize has the response %s", hello)
			}
		})
	})
	t.Run("rejected", func(t *testing.T) {
		inMemory(t, func(t *testing.T) {
			h := startInMemory(t, wire(rejectedDial), func(o *bridge.Options) { o.InitializeWait = -1 })
			h.send(initialize)
			got := h.response("1")
			if get(t, got, "error", "code") != strconv.Itoa(bridge.CodeUnreachable) || get(t, got, "error", "data", "retryable") != "true" {
				t.Errorf("got %s", got)
			}
		})
	})
}

// TestSlowServerWithLogin has a server that takes its time to want a login: the sign-in
// placeholder appears then, and goes once the user has signed in, though the server takes
// its time again.
func TestSlowServerWithLogin(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := waking()
		user := new(bridge.User)
		d := newDoor(user)
		d.next = memory(func(w http.ResponseWriter, r *http.Request) {
			got := readRequest(r)
			if got.method == "initialize" {
				takes(r, 20*time.Second)
			}
			s.respond(w, r, got)
		})
		began := time.Now()
		h := startInMemory(t, wire(func(r *http.Request) (*http.Response, error) {
			takes(r, time.Until(began.Add(15*time.Second)))
			return d.RoundTrip(r)
		}), func(o *bridge.Options) { o.User, o.Explain = user, explainDoor })
		tools := func(id string) string {
			h.send(`{"jsonrpc":"2.0","id":` + id + `,"method":"tools/list"}`)
			return get(t, h.response(id), "result", "tools")
		}
		h.hello()
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("initialize has its response after %v", took)
		}
		if got := tools("1"); got != "[]" {
			t.Errorf("before the server wants a login the tools are %s", got)
		}
		for _, line := range h.all() {
			if mentionsSignIn(line) {
				t.Errorf("the host reads of a login: %s", line)
			}
		}
		h.note("notifications/tools/list_changed")
		if got := tools("2"); !strings.Contains(got, `"sign_in"`) {
			t.Errorf("when the server wants a login the tools are %s", got)
		}
		h.send(`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"sign_in"}}`)
		if got := h.response("3"); !strings.Contains(got, "https://as.example/authorize") {
			t.Errorf("sign_in returns %s", got)
		}
		close(d.opened)
		h.note("notifications/tools/list_changed")
		if got := tools("4"); got != "[]" {
			t.Errorf("after the login the tools are %s", got)
		}
		h.send(`{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"sign_in"}}`)
		if got := h.response("5"); get(t, got, "result") == "" {
			t.Errorf("sign_in returns %s", got)
		}
		h.note("notifications/tools/list_changed")
		if got := tools("6"); got != `[{"name":"real"}]` {
			t.Errorf("the tools are %s", got)
		}
	})
}

// TestListWhileLoginIsWanted has the server want a login while a list waits for it: the
// list is the placeholder at once.
func TestListWhileLoginIsWanted(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		user := new(bridge.User)
		d := newDoor(user)
		d.next = memory(waking().ServeHTTP)
		began := time.Now()
		h := startInMemory(t, wire(func(r *http.Request) (*http.Response, error) {
			takes(r, time.Until(began.Add(5*time.Second)))
			return d.RoundTrip(r)
		}), func(o *bridge.Options) { o.User, o.Explain = user, explainDoor })
		h.hello()
		h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
		if got := h.response("1"); !strings.Contains(got, `"sign_in"`) || time.Since(began) > 6*time.Second {
			t.Errorf("after %v the tools are %s", time.Since(began), got)
		}
		close(d.opened)
		h.note("notifications/tools/list_changed")
	})
}

// TestSlowServerThatNeverOpensABrowser has a server that takes its time to want a login,
// and a bridge that may open no browser: the placeholder names the command.
func TestSlowServerThatNeverOpensABrowser(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		user := new(bridge.User)
		d := newDoor(user)
		d.next = memory(waking().ServeHTTP)
		d.reject.Store(true)
		began := time.Now()
		var signedIn atomic.Bool
		h := startInMemory(t, wire(func(r *http.Request) (*http.Response, error) {
			takes(r, time.Until(began.Add(15*time.Second)))
			return d.RoundTrip(r)
		}), func(o *bridge.Options) {
			o.User, o.Explain = user, explainDoor
			o.SignedIn = func(context.Context) bool { return signedIn.Load() }
		})
		h.hello()
		h.note("notifications/tools/list_changed")
		h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"sign_in"}}`)
		if got := h.response("1"); !strings.Contains(got, `"sign_in"`) {
			t.Errorf("the tools are %s", got)
		}
		if got := h.response("2"); !strings.Contains(got, "handstamp login x") {
			t.Errorf("sign_in returns %s", got)
		}
		close(d.opened)
		signedIn.Store(true)
		h.note("notifications/tools/list_changed")
	})
}

// TestOwnSignInTool has an open, slow server with a tool of the placeholder's name: it is
// the server's to call.
func TestOwnSignInTool(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := waking()
		h := startInMemory(t, memory(func(w http.ResponseWriter, r *http.Request) {
			got := readRequest(r)
			if got.method == "initialize" {
				takes(r, 10*time.Second)
			}
			s.respond(w, r, got)
		}), nil)
		h.hello()
		for id := range 2 {
			h.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"sign_in"}}`, id))
			if got := h.response(strconv.Itoa(id)); get(t, got, "result") != `{"content":[]}` {
				t.Errorf("got %s", got)
			}
		}
	})
}

// TestPromisedCapabilities has a host use, before and after a slow server is there, what
// it was promised in the server's place.
func TestPromisedCapabilities(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := waking()
		h := startInMemory(t, memory(func(w http.ResponseWriter, r *http.Request) {
			got := readRequest(r)
			if got.method == "initialize" {
				takes(r, 10*time.Second)
			}
			s.respond(w, r, got)
		}), nil)
		h.hello()
		h.send(`{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"warning"}}`)
		h.response("1")
		h.note("notifications/tools/list_changed")
		h.send(`{"jsonrpc":"2.0","id":2,"method":"resources/list"}`, `{"jsonrpc":"2.0","id":3,"method":"completion/complete","params":{}}`)
		if got := h.response("2"); get(t, got, "result", "resources") != "[]" {
			t.Errorf("a host that was promised resources gets %s", got)
		}
		if got := h.response("3"); get(t, got, "result", "completion", "values") != "[]" {
			t.Errorf("a host that was promised completions gets %s", got)
		}
		h.send(`{"jsonrpc":"2.0","id":4,"method":"ping"}`)
		h.response("4")
		synctest.Wait()
		if level := s.last("logging/setLevel"); get(t, string(level.params), "level") != `"warning"` {
			t.Errorf("the server's log level was set by %s", level.body)
		}
		for _, line := range h.all() {
			if strings.Contains(line, "resources/list_changed") {
				t.Errorf("resources of a server that has none are announced: %s", line)
			}
		}
	})
}

// TestBatchForSlowServer sends a batch while the server is not there: it waits for it.
func TestBatchForSlowServer(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := waking()
		h := startInMemory(t, memory(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if strings.HasPrefix(string(body), "[") {
				if r.Header.Get("Mcp-Session-Id") == "" {
					t.Error("the batch came before the session")
				}
				w.Header().Set("Content-Type", "application/json")
				io.WriteString(w, `[{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0","id":2,"result":{}}]`)
				return
			}
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			if strings.Contains(string(body), `"initialize"`) {
				takes(r, 10*time.Second)
			}
			s.ServeHTTP(w, r)
		}), nil)
		h.hello()
		h.send(`[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]`)
		h.response("1")
		h.response("2")
	})
}

// TestSignInAway has what signs in be away, as an authorization server that is down: the
// placeholder reports it, and the host has the tools when it is back.
func TestSignInAway(t *testing.T) {
	errAway := errors.New("the authorization server is down")
	inMemory(t, func(t *testing.T) {
		s := waking()
		began := time.Now()
		h := startInMemory(t, wire(func(r *http.Request) (*http.Response, error) {
			if time.Since(began) < 20*time.Second {
				return nil, errAway
			}
			return memory(s.ServeHTTP).RoundTrip(r)
		}), func(o *bridge.Options) {
			o.Explain = func(err error) *bridge.Trouble {
				if errors.Is(err, errAway) {
					return &bridge.Trouble{Code: bridge.CodeUnreachable, Reason: "unreachable", Retry: true, Message: errAway.Error()}
				}
				return nil
			}
		})
		h.hello()
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("initialize has its response after %v", took)
		}
		h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
		if got := h.response("1"); !strings.Contains(got, `"sign_in"`) {
			t.Errorf("the tools are %s", got)
		}
		h.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"sign_in"}}`)
		if got := h.response("2"); !strings.Contains(got, errAway.Error()) || !strings.Contains(got, "tried again by itself") {
			t.Errorf("sign_in returns %s", got)
		}
		h.note("notifications/tools/list_changed") // of the placeholder
		h.note("notifications/tools/list_changed")
		h.send(`{"jsonrpc":"2.0","id":3,"method":"tools/list"}`)
		if got := h.response("3"); get(t, got, "result", "tools") != `[{"name":"real"}]` {
			t.Errorf("the tools are %s", got)
		}
		began = time.Now() // it is down again
		h.send(`{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"real"}}`)
		if got := h.response("4"); get(t, got, "error", "code") != "-31001" || get(t, got, "error", "data", "retryable") != "true" {
			t.Errorf("a request that was never sent has the response %s", got)
		}
	})
}
