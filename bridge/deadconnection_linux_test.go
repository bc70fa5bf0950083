package bridge_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

const (
	// detection is how long a connection may be dead before that is noticed.
	detection = 22 * time.Second

	// atOnce is how long a request may take that has a connection that works.
	atOnce = 8 * time.Second

	// large is what is more than a server takes that does not read, in bytes, and small less than
	// a large message.
	large, small = 3 << 20, 1 << 20
)

// within sends a request and returns the response that must come in time.
func (h *host) within(d time.Duration, id, method string) string {
	h.t.Helper()
	h.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":{"name":"x"}}`, id, method))
	return h.responseBy(d, id)
}

// responseBy returns the response to a request that must come in time.
func (h *host) responseBy(d time.Duration, id string) string {
	h.t.Helper()
	deadline, stop := pace.bound(d)
	defer stop()
	for {
		h.mu.Lock()
		more := h.more
		for _, line := range h.lines {
			if responds(id)(line) {
				h.mu.Unlock()
				return line
			}
		}
		h.mu.Unlock()
		select {
		case <-more:
		case <-deadline:
			h.t.Fatalf("no response to %s within %v", id, d)
		}
	}
}

// works makes calls one after the other: at most allowed get an error in the place of a
// response, within the time that it takes to notice, and all others have one at once.
func (h *host) works(allowed int) {
	h.t.Helper()
	lost := 0
	for i := range 6 {
		began := time.Now()
		got := h.within(detection, fmt.Sprint(100+i), "tools/call")
		took := time.Since(began)
		if get(h.t, got, "error") != "" {
			lost++
			if code := get(h.t, got, "error", "code"); code != strconv.Itoa(bridge.CodeUncertain) {
				h.t.Errorf("call %d: %s", i, got)
			}
			continue
		}
		if took > atOnce+pace.extra(began) {
			h.t.Errorf("call %d took %v", i, took)
		}
	}
	if lost > allowed {
		h.t.Errorf("%d calls lost, want %d at most", lost, allowed)
	}
}

// scenes are the ways in which a session can depend on a connection that dies.
var scenes = []struct {
	name string
	play func(t *testing.T, serve func(mcp http.Handler) *far)
}{
	{"idle", idle(bridge.Options{}, false)},
	{"idle, and what the server sends arrives", idle(bridge.Options{}, true)},
	{"idle, pinged", idle(bridge.Options{Ping: 5 * time.Second}, false)},
	{"many idle", func(t *testing.T, serve func(http.Handler) *far) {
		const many = 8
		var together sync.WaitGroup
		together.Add(many)
		f := serve(&sessions{serve: func(w http.ResponseWriter, _ *http.Request, got request) {
			if n, err := strconv.Atoi(got.id); err == nil && n < many {
				together.Done()
				together.Wait()
			}
			result(w, got.id, `{}`)
		}})
		h := start(t, bridge.Options{URL: f.url, Logger: logger(t)})
		h.hello()
		for i := range many {
			h.send(toolCall(i))
		}
		for i := range many {
			h.responseBy(atOnce, strconv.Itoa(i))
		}
		if n := f.forget(); strings.HasPrefix(f.url, "http:") && n < many {
			t.Errorf("only %d connections", n)
		}
		h.works(1)
	}},
	{"under way", underWay(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })},
	{"a response that is a silent stream", underWay(silentStream)},
	{"a request that is being sent", func(t *testing.T, serve func(http.Handler) *far) {
		under := make(chan struct{}, 1)
		s := &sessions{}
		f := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength < small {
				s.ServeHTTP(w, r)
				return
			}
			_, _ = io.CopyN(io.Discard, r.Body, 1<<10)
			under <- struct{}{}
			<-r.Context().Done()
		}))
		h := start(t, bridge.Options{URL: f.url, Logger: logger(t)})
		h.hello()
		h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + strings.Repeat("x", large) + `"}}`)
		<-under
		f.forget()
		wantLost(t, h.responseBy(detection, "1"))
		h.works(0)
	}},
	{"the stream of the session", func(t *testing.T, serve func(http.Handler) *far) {
		streams := make(chan struct{}, 64)
		s := &sessions{stream: make(chan string)}
		f := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				streams <- struct{}{}
			}
			s.ServeHTTP(w, r)
		}))
		h := start(t, bridge.Options{URL: f.url, Logger: logger(t)})
		h.hello()
		<-streams
		f.forget()
		over, stop := pace.bound(detection + 2*time.Second) // and the pause before another try
		defer stop()
		select {
		case <-streams:
		case <-over:
			t.Fatal("the stream is not opened again")
		}
		h.works(0)
	}},
	{"HTTP+SSE", func(t *testing.T, serve func(http.Handler) *far) {
		streams := make(chan struct{}, 64)
		f := serve(&sseServer{
			endpoint: "/messages",
			opened:   func(http.ResponseWriter, *http.Request, int) bool { streams <- struct{}{}; return false },
			post: func(w http.ResponseWriter, _ *http.Request, got request) bool {
				if got.method != "silence" {
					return false
				}
				w.WriteHeader(http.StatusAccepted)
				return true
			},
		})
		h := start(t, bridge.Options{URL: f.url, Logger: logger(t), Wire: bridge.WireSSE})
		h.hello()
		<-streams
		h.send(`{"jsonrpc":"2.0","id":1,"method":"silence"}`)
		h.within(atOnce, "2", "tools/call")
		f.forget()
		wantLost(t, h.responseBy(detection, "1"))
		h.works(0)
	}},
	{"alive and silent", func(t *testing.T, serve func(http.Handler) *far) {
		f := serve(&sessions{serve: func(w http.ResponseWriter, r *http.Request, got request) {
			if got.id == "1" {
				select {
				case <-time.After(2 * detection): // what a tool takes
				case <-r.Context().Done():
				}
			}
			result(w, got.id, `{}`)
		}})
		h := start(t, bridge.Options{URL: f.url, Logger: logger(t)})
		h.hello()
		if got := h.within(2*detection+atOnce, "1", "tools/call"); get(t, got, "error") != "" {
			t.Error(got)
		}
	}},
	{"alive and slow to read", func(t *testing.T, serve func(http.Handler) *far) {
		s := &sessions{}
		f := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength > small {
				select {
				case <-time.After(2 * detection):
				case <-r.Context().Done():
				}
			}
			s.ServeHTTP(w, r)
		}))
		h := start(t, bridge.Options{URL: f.url, Logger: logger(t)})
		h.hello()
		h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + strings.Repeat("x", large) + `"}}`)
		if got := h.responseBy(3*detection, "1"); get(t, got, "error") != "" {
			t.Error(got)
		}
	}},
}

// idle has the connection of a session die while nothing is under way.
func idle(o bridge.Options, oneWay bool) func(t *testing.T, serve func(http.Handler) *far) {
	return func(t *testing.T, serve func(http.Handler) *far) {
		f := serve(&sessions{})
		o := o // the scene is played over several wires at once
		o.URL, o.Logger = f.url, logger(t)
		h := start(t, o)
		h.hello()
		h.within(atOnce, "1", "tools/call")
		f.drop(oneWay)
		h.works(1)
	}
}

// underWay has the connection of a call die that the server holds in a way of its own.
func underWay(hold http.HandlerFunc) func(t *testing.T, serve func(http.Handler) *far) {
	return func(t *testing.T, serve func(http.Handler) *far) {
		under := make(chan struct{}, 1)
		f := serve(&sessions{serve: func(w http.ResponseWriter, r *http.Request, got request) {
			if got.id != "1" {
				result(w, got.id, `{}`)
				return
			}
			under <- struct{}{}
			hold(w, r)
		}})
		h := start(t, bridge.Options{URL: f.url, Logger: logger(t)})
		h.hello()
		h.send(toolCall(1))
		<-under
		f.forget()
		wantLost(t, h.responseBy(detection, "1"))
		h.works(0)
	}
}

func wantLost(t *testing.T, response string) {
	t.Helper()
	if get(t, response, "error") == "" || get(t, response, "error", "code") != strconv.Itoa(bridge.CodeUncertain) {
		t.Errorf("got %s, want the code %d", response, bridge.CodeUncertain)
	}
}

// TestDeadConnection takes the network away under a session, in each of the ways in which a
// session can depend on it. The bridge has the HTTP client of its own choosing.
func TestDeadConnection(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for what takes its time")
	}
	if !inNamespace(t) {
		return
	}
	n, certificate := newNetwork(t), certify(t)
	pace.measure(t, newFar(t, n, "http/1.1 with TLS", "10.8.0.2", certificate, http.NotFoundHandler()).url)
	t.Run("all", func(t *testing.T) {
		for _, wire := range wires {
			serve := func(t *testing.T, host string, mcp http.Handler) *far {
				f := newFar(t, n, wire, host, certificate, mcp)
				t.Cleanup(func() { f.wantProtocol(wire) })
				return f
			}
			for _, scene := range scenes {
				t.Run(wire+", "+scene.name, func(t *testing.T) {
					t.Parallel()
					scene.play(t, func(mcp http.Handler) *far { return serve(t, "10.8.0.2", mcp) })
				})
			}
			if wire == "http/1.1" {
				continue // what is not encrypted needs no tunnel
			}
			t.Run(wire+", through a proxy", func(t *testing.T) {
				t.Parallel()
				f := serve(t, "10.8.0.2", &sessions{})
				proxy := newFar(t, n, "http/1.1", "10.8.0.2", nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					tunnels(w, r, n)
				}))
				u, err := url.Parse(proxy.url)
				if err != nil {
					t.Fatal(err)
				}
				template := http.DefaultTransport.(*http.Transport).Clone()
				template.Proxy = http.ProxyURL(u)
				h := start(t, bridge.Options{URL: f.url, Logger: logger(t), HTTP: &http.Client{Transport: bridge.NewTransport(template)}})
				h.hello()
				h.within(atOnce, "1", "tools/call")
				if proxy.forget() == 0 {
					t.Error("the proxy was not used")
				}
				h.works(1)
			})
		}
		t.Run("another network", func(t *testing.T) {
			t.Parallel()
			n.moveHere(t, "", "10.7.0.50")
			servers := make(map[string]*far)
			hosts := make(map[string]*host)
			for _, wire := range wires {
				servers[wire] = newFar(t, n, wire, "10.8.0.3", certificate, &sessions{})
				hosts[wire] = start(t, bridge.Options{URL: servers[wire].url, Logger: logger(t)})
				hosts[wire].hello()
				hosts[wire].within(atOnce, "1", "tools/call")
			}
			n.moveHere(t, "10.7.0.50", "10.7.0.51")
			t.Run("all", func(t *testing.T) {
				for wire, h := range hosts {
					t.Run(wire, func(t *testing.T) {
						t.Parallel()
						h.t = t
						h.works(1)
						servers[wire].wantProtocol(wire)
					})
				}
			})
		})
	})
}

// moveHere has this machine leave one network and join another: the address that connections to
// the second server are from is gone.
func (n *network) moveHere(t *testing.T, from, to string) {
	t.Helper()
	var lines []string
	if from != "" {
		lines = append(lines, "addr del "+from+"/24 dev c0")
	}
	lines = append(lines, "addr add "+to+"/24 dev c0", "route replace 10.8.0.3 via 10.7.0.1 src "+to)
	if err := (*namespace)(nil).ip(lines...); err != nil {
		t.Fatal(err)
	}
}
