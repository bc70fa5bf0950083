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
)

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
