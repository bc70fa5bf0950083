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

	"github.com/handstamp/handstamp/bridge"
)

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
