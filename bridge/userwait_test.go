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
	hints := func(w http.ResponseWriter, r *http.Request, got request) {
		w.WriteHeader(http.StatusEarlyHints)
		late(w, r, got)
	}
	polls := func() http.HandlerFunc {
		began := time.Now()
		s := &sessions{serve: func(w http.ResponseWriter, _ *http.Request, _ request) {
			writeBody(w, 200, "text/event-stream", "id: 1\nretry: 3000\ndata:\n\n")
		}}
		return ofBefore(func(w http.ResponseWriter, r *http.Request) {
			switch n := r.Header.Get("Last-Event-Id"); {
			case n == "":
				s.ServeHTTP(w, r)
			case time.Since(began) < takes-5*time.Second:
				writeBody(w, 200, "text/event-stream", "id: "+n+"1\ndata:\n\n")
			default:
				writeBody(w, 200, "text/event-stream", event(`{"jsonrpc":"2.0","id":1,"result":{}}`))
			}
		})
	}
	elsewhere := func() http.HandlerFunc {
		s := &sessions{stream: make(chan string)}
		s.serve = func(w http.ResponseWriter, _ *http.Request, got request) {
			writeBody(w, 200, "text/event-stream", "id: 1\ndata:\n\n")
			time.AfterFunc(takes, func() { s.stream <- event(`{"jsonrpc":"2.0","id":` + got.id + `,"result":{}}`) })
		}
		return ofBefore(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Last-Event-Id") != "" {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			s.ServeHTTP(w, r)
		})
	}
	body := func() http.HandlerFunc { return ofBefore((&sessions{serve: late}).ServeHTTP) }
	hinted := func() http.HandlerFunc { return ofBefore((&sessions{serve: hints}).ServeHTTP) }
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
		"a body":                  {server: body},
		"a body after hints":      {server: hinted},
		"a stream":                {server: events},
		"a stream that is polled": {server: polls},
		"another stream":          {server: elsewhere},
		"HTTP+SSE":                {server: old},
		"a body, modern host":     {server: body, modern: true},
		"a stream, modern host":   {server: events, modern: true},
		"HTTP+SSE, modern host":   {server: old, modern: true},
		"modern server":           {server: slowModern},
		"modern server and host":  {server: slowModern, modern: true},
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

// TestWhatTheServerHasGivenUpWaitsForTheUser has the server accept a call and end its stream, or
// find out that it does not know the session: the call waits for the user where what comes next
// needs a login.
func TestWhatTheServerHasGivenUpWaitsForTheUser(t *testing.T) {
	const nameless = `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no such session"}}`
	streamOf := func(events string) http.HandlerFunc {
		s := &sessions{serve: func(w http.ResponseWriter, _ *http.Request, got request) {
			writeBody(w, 200, "text/event-stream", "id: 1\nretry: 1000\ndata:\n\n"+events)
		}}
		return ofBefore(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Last-Event-Id") != "" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			s.ServeHTTP(w, r)
		})
	}
	forgotten := func() http.HandlerFunc {
		s := &forgetful{unknown: rejects(200, "application/json", nameless)}
		return func(w http.ResponseWriter, r *http.Request) {
			raw, _ := io.ReadAll(r.Body)
			if strings.Contains(string(raw), `"initialize"`) && s.count("initialize") > 0 {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			r.Body = io.NopCloser(strings.NewReader(string(raw)))
			s.ServeHTTP(w, r)
			if strings.Contains(string(raw), "notifications/initialized") {
				s.forget()
			}
		}
	}
	old := func() http.HandlerFunc {
		s := &sseServer{endpoint: "/messages"}
		s.post = func(w http.ResponseWriter, _ *http.Request, got request) bool {
			if got.id == "" || got.method == "initialize" {
				return false
			}
			w.WriteHeader(http.StatusAccepted)
			s.send(nameless)
			return true
		}
		return func(w http.ResponseWriter, r *http.Request) {
			if streams, _ := s.counts(); r.Method == http.MethodGet && streams > 0 {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			s.ServeHTTP(w, r)
		}
	}
	const elicits = `{"jsonrpc":"2.0","id":5,"method":"elicitation/create","params":{"message":"?"}}`
	for name, tt := range map[string]struct {
		server http.HandlerFunc
		modern bool // the host is, and gives input on the way
	}{
		"a stream that ends":                        {server: streamOf("")},
		"a stream that ends after input":            {server: streamOf(event(elicits)), modern: true},
		"a session that is forgotten":               {server: forgotten()},
		"a session that is forgotten over HTTP+SSE": {server: old()},
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, func(t *testing.T) {
				user := new(bridge.User)
				h := startInMemory(t, signingIn(memory(tt.server), user, nil), func(o *bridge.Options) { o.User = user })
				if tt.modern {
					h.send(modernRequest("0", "tools/call", `"name":"x"`))
					state := get(t, h.response("0"), "result", "requestState")
					h.send(modernRequest("1", "tools/call", `"name":"x","inputResponses":{"input":{"action":"decline"}},"requestState":`+state))
				} else {
					h.hello()
					h.send(toolCall(1))
				}
				if got, took := h.responseWithin("1", time.Hour); !isSignIn(t, got) || took < 48*time.Second || took > 55*time.Second {
					t.Errorf("after %v: %s", took, got)
				}
			})
		})
	}
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
