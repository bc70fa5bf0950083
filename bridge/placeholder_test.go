package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
	"github.com/handstamp/handstamp/internal/proctest"
)

// door is an http.RoundTripper that lets no request in before it is opened, as one
// that signs in does.
type door struct {
	next   http.RoundTripper
	user   *bridge.User
	opened chan struct{}
	fail   chan struct{} // ends one wait with a no
	reject atomic.Bool
	tries  atomic.Int32
}

var errDeclined = errors.New("declined")

func newDoor(user *bridge.User) *door {
	return &door{next: http.DefaultTransport, user: user, opened: make(chan struct{}), fail: make(chan struct{})}
}

func (d *door) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-d.opened:
		return d.next.RoundTrip(r)
	default:
	}
	d.tries.Add(1)
	if d.reject.Load() {
		return nil, errDeclined
	}
	d.user.Await("Open https://as.example/authorize.")
	select {
	case <-d.opened:
		d.user.Done()
		return d.next.RoundTrip(r)
	case <-d.fail:
		d.user.Done()
		return nil, errDeclined
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func explainDoor(err error) *bridge.Trouble {
	if errors.Is(err, errDeclined) {
		return &bridge.Trouble{Code: bridge.CodeSignIn, Reason: "denied", Message: "access was denied", Command: "handstamp login x"}
	}
	return nil
}

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`

func TestPlaceholder(t *testing.T) {
	s := &sessions{serve: func(w http.ResponseWriter, _ *http.Request, got request) {
		switch got.method {
		case "tools/list":
			result(w, got.id, `{"tools":[{"name":"real"}]}`)
		case "prompts/list":
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte(`{"jsonrpc":"2.0","id":` + got.id + `,"error":{"code":-32601,"message":"no prompts"}}`))
		default:
			result(w, got.id, `{"content":[]}`)
		}
	}}
	user := new(bridge.User)
	d := newDoor(user)
	h := start(t, bridge.Options{
		URL: serve(t, s.ServeHTTP), HTTP: &http.Client{Transport: d}, User: user, Explain: explainDoor,
		Name: "hs", Version: "9", Logger: logger(t),
		InitializeWait: time.Hour, // so that the response comes because the user is awaited
	})
	h.send(initialize)
	response := h.response("1")
	if get(t, response, "result", "protocolVersion") != `"2025-06-18"` || get(t, response, "result", "serverInfo", "name") != `"hs"` {
		t.Errorf("initialize has the response %s", response)
	}
	h.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`, `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`,
		`{"jsonrpc":"2.0","id":3,"method":"prompts/list"}`, `{"jsonrpc":"2.0","id":4,"method":"ping"}`,
		`{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"sign_in"}}`,
		`{"jsonrpc":"2.0","id":6,"method":"tools/call","params":{"name":"real"}}`)
	if got := h.response("2"); !strings.Contains(got, `"sign_in"`) {
		t.Errorf("the tools are %s", got)
	}
	if got := h.response("3"); get(t, got, "result", "prompts") != "[]" {
		t.Errorf("the prompts are %s", got)
	}
	h.response("4")
	if got := h.response("5"); !strings.Contains(got, "https://as.example/authorize") {
		t.Errorf("sign_in returns %s", got)
	}
	close(d.opened)
	h.note("notifications/tools/list_changed")
	if got := h.response("6"); get(t, got, "result") != `{"content":[]}` {
		t.Errorf("the call that waited has the response %s", got)
	}
	h.send(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"sign_in"}}`)
	if got := h.response("7"); !strings.Contains(got, "You are signed in") {
		t.Errorf("sign_in returns %s", got)
	}
	h.send(`{"jsonrpc":"2.0","id":8,"method":"tools/list"}`, `{"jsonrpc":"2.0","id":9,"method":"prompts/list"}`)
	if got := h.response("8"); get(t, got, "result", "tools") != `[{"name":"real"}]` {
		t.Errorf("the tools are %s", got)
	}
	if got := h.response("9"); get(t, got, "result", "prompts") != "[]" {
		t.Errorf("a host that was promised prompts gets %s", got)
	}
	methods := strings.Join(s.methods(), " ")
	if !strings.HasPrefix(methods, "initialize notifications/initialized ") || strings.Count(methods, "initialize ") != 1 {
		t.Errorf("the server got %s", methods)
	}
}

// TestPlaceholderAfterAFailedLogin lets the login fail: the tool begins another, and one that
// is done elsewhere is noticed.
func TestPlaceholderAfterAFailedLogin(t *testing.T) {
	for _, how := range []string{"by the tool", "elsewhere"} {
		t.Run(how, func(t *testing.T) {
			s := &sessions{}
			user := new(bridge.User)
			d := newDoor(user)
			var signedIn atomic.Bool
			h := start(t, bridge.Options{
				URL: serve(t, s.ServeHTTP), HTTP: &http.Client{Transport: d}, User: user, Explain: explainDoor, Logger: logger(t),
				SignedIn: func(context.Context) bool { return signedIn.Load() },
			})
			h.send(initialize)
			h.response("1")
			d.fail <- struct{}{}
			if how == "elsewhere" {
				close(d.opened)
				signedIn.Store(true)
				h.note("notifications/tools/list_changed")
				return
			}
			const want = "The last try ended: access was denied. A new one has begun."
			said := h.signsIn(want)
			if !strings.Contains(said, want) || !strings.Contains(said, "handstamp login x") {
				t.Errorf("sign_in returns %s", said)
			}
			close(d.opened)
			h.note("notifications/tools/list_changed")
		})
	}
}

// signsIn calls the tool until it says what is wanted, and returns what it said last: the first
// calls may still see the last try end.
func (h *host) signsIn(want string) (said string) {
	h.t.Helper()
	id := 1
	proctest.Holds(timeout, func() bool {
		id++
		h.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"sign_in"}}`, id))
		said = h.response(strconv.Itoa(id))
		return strings.Contains(said, want)
	})
	return said
}

// TestSignInAfterNo asks for another login while the last no still holds: the tool
// does not promise a browser that does not open.
func TestSignInAfterNo(t *testing.T) {
	s := &sessions{}
	user := new(bridge.User)
	d := newDoor(user)
	h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP), HTTP: &http.Client{Transport: d}, User: user, Explain: explainDoor, Logger: logger(t)})
	h.send(initialize)
	h.response("1")
	d.reject.Store(true)
	d.fail <- struct{}{}
	const want = `No browser opens now: access was denied.\nCall this tool again in a minute, or run: handstamp login x`
	said := h.signsIn(want)
	if !strings.Contains(said, want) {
		t.Errorf("sign_in returns %s", said)
	}
	d.reject.Store(false)
	h.send(`{"jsonrpc":"2.0","id":"again","method":"tools/call","params":{"name":"sign_in"}}`)
	if got := h.response(`"again"`); !strings.Contains(got, `A new one has begun.\nOpen https://as.example/authorize.`) {
		t.Errorf("sign_in returns %s", got)
	}
	close(d.opened)
	h.note("notifications/tools/list_changed")
}

// TestNeverSignIn is a bridge without a way to the user: the host gets an error with
// the command, and goes on when another process has run it.
func TestNeverSignIn(t *testing.T) {
	s := &sessions{}
	user := new(bridge.User)
	d := newDoor(user)
	d.reject.Store(true)
	h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP), HTTP: &http.Client{Transport: d}, User: user, Explain: explainDoor, Logger: logger(t)})
	h.send(initialize)
	got := h.response("1")
	if get(t, got, "error", "code") != "-31002" || get(t, got, "error", "data", "command") != `"handstamp login x"` || !strings.Contains(got, "run: handstamp login x") {
		t.Errorf("got %s", got)
	}
	h.send(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)
	if got := h.response("2"); get(t, got, "error", "code") != "-31002" {
		t.Errorf("got %s", got)
	}
	close(d.opened)
	h.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`, `{"jsonrpc":"2.0","id":3,"method":"tools/list"}`)
	if got := h.response("3"); get(t, got, "result") != "{}" {
		t.Errorf("got %s", got)
	}
	if methods := strings.Join(s.methods(), " "); methods != "initialize notifications/initialized tools/list" {
		t.Errorf("the server got %s", methods)
	}
}

// TestPlaceholderForAModernHost is the same for a host that begins with server/discover.
func TestPlaceholderForAModernHost(t *testing.T) {
	for _, era := range []string{"modern", "legacy"} {
		t.Run(era, func(t *testing.T) {
			s := &sessions{serve: func(w http.ResponseWriter, _ *http.Request, got request) {
				result(w, got.id, `{"tools":[{"name":"real"}]}`)
			}}
			handler := http.HandlerFunc(s.ServeHTTP)
			if era == "modern" {
				handler = func(w http.ResponseWriter, r *http.Request) {
					got := readRequest(r)
					if got.header.Get("Mcp-Protocol-Version") != "2026-07-28" || got.header.Get("Mcp-Method") != got.method {
						t.Errorf("%s came with %v", got.method, got.header)
					}
					switch got.method {
					case "server/discover":
						result(w, got.id, `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true}}}`)
					case "subscriptions/listen":
						w.Header().Set("Content-Type", "text/event-stream")
						w.Write([]byte(`data: {"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":9}}}` + "\n\n"))
						_ = http.NewResponseController(w).Flush()
						<-r.Context().Done()
					default:
						result(w, got.id, `{"resultType":"complete","tools":[{"name":"real"}]}`)
					}
				}
			}
			user := new(bridge.User)
			d := newDoor(user)
			h := start(t, bridge.Options{URL: serve(t, handler), HTTP: &http.Client{Transport: d}, User: user, Explain: explainDoor, Logger: logger(t)})
			h.send(`{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":` + modernMeta + `}}`)
			if got := h.response("1"); get(t, got, "result", "supportedVersions") != `["2026-07-28"]` {
				t.Errorf("got %s", got)
			}
			h.send(`{"jsonrpc":"2.0","id":9,"method":"subscriptions/listen","params":{"_meta":` + modernMeta + `,"notifications":{"toolsListChanged":true}}}`)
			h.note("notifications/subscriptions/acknowledged")
			h.send(`{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{"_meta":` + modernMeta + `}}`)
			if got := h.response("2"); !strings.Contains(got, `"sign_in"`) || get(t, got, "result", "resultType") != `"complete"` {
				t.Errorf("the tools are %s", got)
			}
			close(d.opened)
			if got := h.note("notifications/tools/list_changed"); get(t, got, "params", "_meta", "io.modelcontextprotocol/subscriptionId") != "9" {
				t.Errorf("got %s", got)
			}
			h.send(`{"jsonrpc":"2.0","id":3,"method":"tools/list","params":{"_meta":` + modernMeta + `}}`)
			if got := h.response("3"); get(t, got, "result", "tools") != `[{"name":"real"}]` || get(t, got, "result", "resultType") != `"complete"` {
				t.Errorf("the tools are %s", got)
			}
			for _, line := range h.all() {
				if strings.Count(line, "acknowledged") > 0 && line != h.all()[1] {
					t.Errorf("a second acknowledgement: %s", line)
				}
			}
		})
	}
}
