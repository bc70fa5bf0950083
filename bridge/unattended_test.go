package bridge_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// comesLate starts a bridge whose server, which wants a login, can be reached after a time. tried
// receives when that is tried without the user.
func comesLate(t *testing.T, after time.Duration, with func(*bridge.Options)) (h *host, l *login, tried <-chan struct{}) {
	t.Helper()
	began, background := time.Now(), make(chan struct{}, 1)
	l = &login{next: memory(waking().ServeHTTP), ended: true}
	h = startInMemory(t, wire(func(r *http.Request) (*http.Response, error) {
		if time.Since(began) < after {
			return rejectedDial(r)
		}
		if inBackground(r) {
			select {
			case background <- struct{}{}:
			default:
			}
		}
		return l.RoundTrip(r)
	}), func(o *bridge.Options) {
		l.options(o)
		if with != nil {
			with(o)
		}
	})
	h.hello()
	return h, l, background
}

// TestServerThatComesSoonWantsALogin: the user has just started the host.
func TestServerThatComesSoonWantsALogin(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		h, l, _ := comesLate(t, 20*time.Second, nil)
		h.note("notifications/tools/list_changed")
		h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
		if got := h.response("1"); get(t, got, "result", "tools") != `[{"name":"real"}]` || l.logins() != 1 {
			t.Errorf("after %d logins the tools are %s", l.logins(), got)
		}
	})
}

// TestServerThatComesLateWantsALogin has the server come when the user may be away: a login begins
// when the host wants that, and not by itself, not even with a stored login that the server rejects.
func TestServerThatComesLateWantsALogin(t *testing.T) {
	for name, with := range map[string]func(*bridge.Options){
		"nothing stored": nil,
		"a stored login": func(o *bridge.Options) { o.SignedIn = func(context.Context) bool { return true } },
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, func(t *testing.T) {
				h, l, _ := comesLate(t, time.Hour, with)
				time.Sleep(10 * time.Hour)
				if n := l.logins(); n != 0 {
					t.Errorf("%d logins", n)
				}
				h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
				if got := h.response("1"); !strings.Contains(got, `"sign_in"`) {
					t.Errorf("the tools are %s", got)
				}
				h.note("notifications/tools/list_changed")
				h.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"sign_in"}}`)
				h.response("2")
				h.note("notifications/tools/list_changed")
				h.send(`{"jsonrpc":"2.0","id":3,"method":"tools/list"}`)
				if got := h.response("3"); get(t, got, "result", "tools") != `[{"name":"real"}]` || l.logins() != 1 {
					t.Errorf("after %d logins the tools are %s", l.logins(), got)
				}
			})
		})
	}
}

// TestHostCallsWhileTheServerIsTriedWithoutTheUser has a call come just when the bridge tries to reach
// the server by itself: the next try is for the call.
func TestHostCallsWhileTheServerIsTriedWithoutTheUser(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		h, l, tried := comesLate(t, time.Hour, nil)
		select {
		case <-tried:
		case <-time.After(2 * time.Hour):
			t.Fatal("the server is not tried without the user")
		}
		if n := l.logins(); n != 0 {
			t.Errorf("%d logins before the call", n)
		}
		h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"real"}}`)
		if got, took := h.responseWithin("1", time.Hour); get(t, got, "result") == "" || took > 10*time.Second || l.logins() != 1 {
			t.Errorf("after %v and %d logins: %s", took, l.logins(), got)
		}
	})
}
