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

// isSignIn reports whether a response is the error of a request that has waited for the user.
func isSignIn(t *testing.T, line string) bool {
	t.Helper()
	return get(t, line, "error", "code") == "-31002"
}

// TestLoginOfAnotherRequestEndsNoCall has a user who takes his time to sign in for one request
// while the server carries out others.
func TestLoginOfAnotherRequestEndsNoCall(t *testing.T) {
	const takes = 70 * time.Second
	modern := modernRequest("1", "tools/call", `"name":"x"`)
	late := func(w http.ResponseWriter, _ *http.Request, got request) {
		time.Sleep(takes)
		result(w, got.id, "{}")
	}
	stream := func(w http.ResponseWriter, _ *http.Request, got request) {
		openStream(w)
		for range 7 {
			time.Sleep(takes / 7)
			io.WriteString(w, event(`{"jsonrpc":"2.0","method":"notifications/progress","params":{}}`))
			flushHead(w)
		}
		io.WriteString(w, event(`{"jsonrpc":"2.0","id":`+got.id+`,"result":{}}`))
	}
	body := func() http.HandlerFunc { return ofBefore((&sessions{serve: late}).ServeHTTP) }
	events := func() http.HandlerFunc { return ofBefore((&sessions{serve: stream}).ServeHTTP) }
	slowModern := func() http.HandlerFunc {
		return (&moderns{serve: func(w http.ResponseWriter, r *http.Request, got request, _ int) {
			if got.method == "subscriptions/listen" {
				openStream(w)
				<-r.Context().Done()
				return
			}
			late(w, r, got)
		}}).ServeHTTP
	}
	old := func() http.HandlerFunc {
		s := &sseServer{endpoint: "/messages"}
		s.post = func(w http.ResponseWriter, _ *http.Request, got request) bool {
			if got.method != "tools/call" {
				return false
			}
			w.WriteHeader(http.StatusAccepted)
			time.AfterFunc(takes, func() { s.send(`{"jsonrpc":"2.0","id":` + got.id + `,"result":{}}`) })
			return true
		}
		return s.ServeHTTP
	}
	for name, tt := range map[string]struct {
		server func() http.HandlerFunc
		modern bool // the host is
	}{
		"a body":                 {server: body},
		"a stream":               {server: events},
		"HTTP+SSE":               {server: old},
		"a body, modern host":    {server: body, modern: true},
		"a stream, modern host":  {server: events, modern: true},
		"HTTP+SSE, modern host":  {server: old, modern: true},
		"modern server":          {server: slowModern},
		"modern server and host": {server: slowModern, modern: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				user := new(bridge.User)
				o := bubbleServer(t, tt.server())
				o.User = user
				h := start(t, o)
				h.limit = time.Hour
				call := streamCall("1")
				if tt.modern {
					call = modern
				} else {
					h.hello()
				}
				h.send(call)
				time.Sleep(5 * time.Second)
				user.Await("Sign in.")
				if got, took := h.responseWithin("1", time.Hour); get(t, got, "result") == "" || took > takes {
					t.Errorf("after %v: %s", took, got)
				}
				user.Done()
			})
		})
	}
}

// signingIn carries requests, and has the user sign in for those that the server rejects with 401:
// they wait until that is done.
func signingIn(next http.RoundTripper, user *bridge.User, done <-chan struct{}) wire {
	return func(r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err != nil || resp.StatusCode != http.StatusUnauthorized {
			return resp, err
		}
		resp.Body.Close()
		user.Await("Open https://as.example/authorize.")
		select {
		case <-done:
			user.Done()
			again := r.Clone(r.Context())
			again.Body, _ = r.GetBody()
			return next.RoundTrip(again)
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

// TestOnlyWhatWaitsForTheUserEnds has one call that the server rejects at once, one that it rejects
// after a while, and one that it carries out.
func TestOnlyWhatWaitsForTheUserEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sessions{serve: func(w http.ResponseWriter, r *http.Request, got request) {
			takes(r, map[string]time.Duration{"1": 0, "2": 30 * time.Second, "3": 2 * time.Minute}[got.id])
			if got.id != "3" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			result(w, got.id, "{}")
		}}
		user := new(bridge.User)
		o := bubbleServer(t, s.ServeHTTP)
		o.User, o.HTTP = user, &http.Client{Transport: signingIn(o.HTTP.Transport, user, nil)}
		h := start(t, o)
		h.limit = time.Hour
		h.hello()
		began := time.Now()
		h.send(toolCall(3), toolCall(2), toolCall(1))
		for i, want := range []time.Duration{50 * time.Second, 80 * time.Second} {
			got := h.response(fmt.Sprint(i + 1))
			if took := time.Since(began); !isSignIn(t, got) || took < want-2*time.Second || took > want+2*time.Second {
				t.Errorf("after %v: %s", took, got)
			}
		}
		if got := h.response("3"); get(t, got, "result") != "{}" {
			t.Errorf("got %s", got)
		}
	})
}

// unresponsive carries everything but calls of tools, which go nowhere.
func unresponsive(next http.RoundTripper) wire {
	return func(r *http.Request) (*http.Response, error) {
		if r.GetBody == nil {
			return next.RoundTrip(r)
		}
		body, _ := r.GetBody()
		if raw, _ := io.ReadAll(body); strings.Contains(string(raw), "tools/call") {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		return next.RoundTrip(r)
	}
}

// TestEachWaitForTheUserIsCountedAnew: a wait that is over shortens no later one, and one that
// began before the session did counts in that.
func TestEachWaitForTheUserIsCountedAnew(t *testing.T) {
	for _, again := range []bool{true, false} {
		t.Run(fmt.Sprint(again), func(t *testing.T) {
			inMemory(t, func(t *testing.T) {
				user := new(bridge.User)
				user.Await("Sign in.")
				h := startInMemory(t, unresponsive(memory((&sessions{}).ServeHTTP)), func(o *bridge.Options) { o.User = user })
				h.hello()
				began, want := time.Now(), 50*time.Second
				h.send(toolCall(1))
				if again {
					time.Sleep(40 * time.Second)
					user.Done()
					time.Sleep(5 * time.Second)
					user.Await("Sign in.")
					want += 45 * time.Second
				}
				got := h.response("1")
				if took := time.Since(began); !isSignIn(t, got) || took < want-2*time.Second || took > want+2*time.Second {
					t.Errorf("after %v: %s", took, got)
				}
			})
		})
	}
}

// TestSubscriptionOutlivesTheWaitForTheUser has a host of 2026-07-28 subscribe while the user takes
// his time: it hears of the tools then.
func TestSubscriptionOutlivesTheWaitForTheUser(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := &moderns{serve: func(w http.ResponseWriter, r *http.Request, got request, _ int) {
			openStream(w)
			<-r.Context().Done()
		}}
		user := new(bridge.User)
		d := newDoor(user)
		d.next = memory(s.ServeHTTP)
		h := startInMemory(t, d, func(o *bridge.Options) { o.User, o.Explain = user, explainDoor })
		h.send(modernRequest("1", "server/discover", ""))
		h.response("1")
		h.send(modernRequest("9", "subscriptions/listen", `"notifications":{"toolsListChanged":true}`))
		h.note("notifications/subscriptions/acknowledged")
		time.Sleep(3 * time.Minute)
		close(d.opened)
		if got := h.note("notifications/tools/list_changed"); get(t, got, "params", "_meta", "io.modelcontextprotocol/subscriptionId") != "9" {
			t.Errorf("got %s", got)
		}
		if h.responses("9") != 0 {
			t.Errorf("the subscription has ended: %q", h.all())
		}
	})
}
