package bridge_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/handstamp/handstamp/bridge"
)

// stateful is a server whose sessions keep what the host has set, on either transport.
type stateful struct {
	mu     sync.Mutex // guards what follows
	offers string     // capabilities
	begun  int
	known  map[string]*remembered // sessions by id
	reject string                 // the method of a restoration that is rejected; "": none
	ask    string                 // what a session asks over HTTP+SSE before a response; "": nothing
}

// remembered is what a session was sent.
type remembered struct {
	initialized, roots int
	level              string
	resources          []string
	early              string // the method of a request that came before notifications/initialized
}

func (s *stateful) begin() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = make(map[string]*remembered)
	}
	s.begun++
	id := fmt.Sprintf("s%d", s.begun)
	s.known[id] = new(remembered)
	return id
}

// forget ends all sessions.
func (s *stateful) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.known)
}

// asks returns what a session asks.
func (s *stateful) asks() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ask
}

// willAsk has sessions ask something from now on.
func (s *stateful) willAsk(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ask = what
}

func (s *stateful) session(id string) *remembered {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[id]
}

// only returns what the one session that there is was sent.
func (s *stateful) only(t *testing.T) remembered {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) != 1 {
		t.Fatalf("there are %d sessions", len(s.known))
	}
	for _, r := range s.known {
		return *r
	}
	return remembered{}
}

// tell lets a session know a message, and returns the result; "": there is none.
func (s *stateful) tell(r *remembered, got request) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var params struct{ Level, URI string }
	_ = json.Unmarshal(got.params, &params)
	if got.id != "" && got.method != "initialize" && r.initialized == 0 {
		r.early = got.method + " " + got.id
	}
	switch got.method {
	case "initialize":
		return `{"protocolVersion":"2025-11-25","capabilities":` + s.offers + `,"serverInfo":{"name":"s","version":"1"}}`
	case "notifications/initialized":
		r.initialized++
	case "notifications/roots/list_changed":
		r.roots++
	case "logging/setLevel":
		r.level = params.Level
	case "resources/subscribe":
		r.resources = append(r.resources, params.URI)
		slices.Sort(r.resources)
	case "resources/unsubscribe":
		r.resources = slices.DeleteFunc(r.resources, func(uri string) bool { return uri == params.URI })
	}
	if got.id == "" {
		return ""
	}
	return "{}"
}

func (s *stateful) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	got := readRequest(r)
	if r.Method == http.MethodGet {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	id := r.Header.Get("Mcp-Session-Id")
	if got.method == "initialize" {
		id = s.begin()
		w.Header().Set("Mcp-Session-Id", id)
	}
	session := s.session(id)
	switch {
	case session == nil:
		rejects(400, "application/json", `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}`)(w, got)
	case got.method != "" && got.method == s.reject && s.begun > 1:
		rejects(200, "application/json", `{"jsonrpc":"2.0","id":$ID,"error":{"code":-32601,"message":"no"}}`)(w, got)
	default:
		response := s.tell(session, got)
		if response == "" {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		result(w, got.id, response)
	}
}

// overSSE is the server on HTTP+SSE. Its sessions end when it forgets them, and their
// streams stay open.
func (s *stateful) overSSE(reject func(w http.ResponseWriter, got request)) http.HandlerFunc {
	var mu sync.Mutex
	streams := make(map[string]chan string)
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			id := s.begin()
			events := make(chan string, 64)
			mu.Lock()
			streams[id] = events
			mu.Unlock()
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprintf(w, "event: endpoint\ndata: /message?sessionId=%s\n\n", id)
			_ = http.NewResponseController(w).Flush()
			for {
				select {
				case e := <-events:
					io.WriteString(w, e)
					_ = http.NewResponseController(w).Flush()
				case <-r.Context().Done():
					return
				}
			}
		}
		got := readRequest(r)
		id := r.URL.Query().Get("sessionId")
		session := s.session(id)
		if id == "" {
			w.WriteHeader(http.StatusMethodNotAllowed) // the stream's own address
			return
		}
		if session == nil {
			reject(w, got)
			return
		}
		w.WriteHeader(http.StatusAccepted)
		if response := s.tell(session, got); response != "" {
			mu.Lock()
			defer mu.Unlock()
			if ask := s.asks(); ask != "" {
				streams[id] <- "data: " + ask + "\n\n"
			}
			streams[id] <- fmt.Sprintf("event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":%s}\n\n", got.id, response)
		}
	}
}

// setUp makes the host of a test set a log level and subscriptions, and checks that the
// server has them.
func setUp(t *testing.T, h *host, s *stateful) {
	t.Helper()
	h.send(`{"jsonrpc":"2.0","id":"init","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"roots":{"listChanged":true}},"clientInfo":{"name":"test","version":"1"}}}`)
	h.response(`"init"`)
	h.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	for i, line := range []string{
		`"method":"logging/setLevel","params":{"level":"debug"}`,
		`"method":"logging/setLevel","params":{"level":"error","_meta":{"progressToken":1}}`,
		`"method":"resources/subscribe","params":{"uri":"file:///a"}`,
		`"method":"resources/subscribe","params":{"uri":"file:///b"}`,
		`"method":"resources/subscribe","params":{"uri":"file:///c"}`,
		`"method":"resources/unsubscribe","params":{"uri":"file:///b"}`,
	} {
		h.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":"set %d",%s}`, i, line))
		h.response(fmt.Sprintf(`"set %d"`, i))
	}
	if got := s.only(t); got.level != "error" || strings.Join(got.resources, " ") != "file:///a file:///c" {
		t.Fatalf("the server knows %+v", got)
	}
}

// TestReplacedSessionKnowsWhatTheHostSent replaces a session: the new one has the log level,
// the subscriptions and a reason to ask for the roots, before the next request comes; the
// host is notified that the lists of what the server offers may have changed, and of no other.
func TestReplacedSessionKnowsWhatTheHostSent(t *testing.T) {
	const offers = `{"tools":{},"resources":{"subscribe":true,"listChanged":true},"logging":{}}`
	for name, handler := range map[string]func(s *stateful) http.HandlerFunc{
		"Streamable HTTP": func(s *stateful) http.HandlerFunc { return s.ServeHTTP },
		"HTTP+SSE, 404 to the POST while the stream is open": func(s *stateful) http.HandlerFunc {
			return s.overSSE(rejects(404, "text/plain", "Could not find session"))
		},
		"HTTP+SSE, 503 as supergateway": func(s *stateful) http.HandlerFunc {
			return s.overSSE(rejects(503, "text/html", "No active SSE connection for session"))
		},
		"HTTP+SSE, 400": func(s *stateful) http.HandlerFunc { return s.overSSE(rejects(400, "", "")) },
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, func(t *testing.T) {
				s := &stateful{offers: offers}
				h := start(t, bubbleServer(t, handler(s)))
				setUp(t, h, s)
				for round := 1; round <= 2; round++ {
					synctest.Wait() // until the bridge knows, too, that the session works
					s.forget()
					for i := range 8 {
						h.send(toolCall(100*round + i))
					}
					for i := range 8 {
						if got := h.response(fmt.Sprint(100*round + i)); get(t, got, "result") != "{}" {
							t.Errorf("got %s", got)
						}
					}
					got := s.only(t)
					if got.level != "error" || strings.Join(got.resources, " ") != "file:///a file:///c" {
						t.Errorf("the new session knows %+v", got)
					}
					if got.initialized != 1 || got.roots != 1 || got.early != "" {
						t.Errorf("the new session began with %+v", got)
					}
					h.note("notifications/tools/list_changed")
					h.note("notifications/resources/list_changed")
					if s.begun != round+1 {
						t.Errorf("%d sessions were begun", s.begun)
					}
				}
				for _, line := range h.all() {
					if strings.Contains(line, "prompts") || strings.Contains(line, "handstamp-") {
						t.Errorf("the host got %s", line)
					}
				}
			})
		})
	}
}

// TestRestorationThatIsRejected does not keep a session from working.
func TestRestorationThatIsRejected(t *testing.T) {
	for _, method := range []string{"logging/setLevel", "resources/subscribe", "notifications/roots/list_changed"} {
		s := &stateful{offers: `{"tools":{}}`, reject: method}
		h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP), Logger: logger(t)})
		setUp(t, h, s)
		s.forget()
		h.send(toolCall(1))
		if got := h.response("1"); get(t, got, "result") != "{}" {
			t.Errorf("without %s: %s", method, got)
		}
	}
}

// TestBridgeOfModernHostRestoresSession: a host without sessions subscribes through the
// bridge, which has one.
func TestModernHostsSubscriptionIsRestored(t *testing.T) {
	s := &stateful{offers: `{"tools":{"listChanged":true},"resources":{"subscribe":true}}`}
	h := start(t, bridge.Options{Wire: bridge.WireHTTP, Logger: logger(t), URL: serve(t, ofBefore(s.ServeHTTP))})
	h.send(modernRequest("1", "server/discover", ""))
	h.response("1")
	h.send(modernRequest("2", "subscriptions/listen", `"notifications":{"toolsListChanged":true,"resourceSubscriptions":["file:///a"]}`))
	h.note("notifications/subscriptions/acknowledged")
	s.forget()
	h.send(modernRequest("3", "tools/call", `"name":"x"`))
	h.response("3")
	if got := h.note("notifications/tools/list_changed"); !strings.Contains(got, "subscriptionId") {
		t.Errorf("got %s", got)
	}
	if got := s.only(t); strings.Join(got.resources, " ") != "file:///a" {
		t.Errorf("the new session knows %+v", got)
	}
}

// TestServerGoesAwayInEachKindOfCall takes the server away while it carries out one request
// of each kind, and brings it back without its sessions. The request has one response, and so
// has each of those that follow, which work.
func TestServerGoesAwayInEachKindOfCall(t *testing.T) {
	for _, message := range []string{
		`{"jsonrpc":"2.0","id":"under way","method":"tools/list"}`,
		`{"jsonrpc":"2.0","id":"under way","method":"tools/call","params":{"name":"x"}}`,
		`{"jsonrpc":"2.0","id":"under way","method":"resources/subscribe","params":{"uri":"file:///a"}}`,
		`{"jsonrpc":"2.0","id":"under way","method":"logging/setLevel","params":{"level":"info"}}`,
		`[{"jsonrpc":"2.0","id":"under way","method":"ping"},{"jsonrpc":"2.0","id":"beside","method":"ping"}]`,
		`{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`,
		`{"jsonrpc":"2.0","id":"asked","result":{"roots":[]}}`,
		`{"jsonrpc":"2.0","id":"asked","error":{"code":-1,"message":"no"}}`,
	} {
		for _, how := range []string{"before the response", "in a stream"} {
			t.Run(how+" "+message, func(t *testing.T) {
				for range 10 {
					if goesAway(t, message, how == "in a stream") {
						return
					}
				}
				t.Fatal("another process else takes every port")
			})
		}
	}
}

func goesAway(t *testing.T, message string, streamed bool) bool {
	t.Helper()
	s := &stateful{offers: `{"tools":{}}`}
	arrived := make(chan struct{})
	var once sync.Once
	hanging := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) != message {
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			s.ServeHTTP(w, r)
			return
		}
		if streamed {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":1}}\n\n")
			_ = http.NewResponseController(w).Flush()
		}
		once.Do(func() { close(arrived) })
		<-r.Context().Done()
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	first := &http.Server{Handler: hanging}
	go first.Serve(listener)
	var made connections
	h := start(t, bridge.Options{URL: "http://" + address + "/mcp", HTTP: made.client(), Logger: logger(t)})
	h.hello()
	h.send(toolCall(1))
	h.response("1")
	h.send(message)
	<-arrived
	s.forget()
	first.Close()
	made.wantNone(t)
	if listener, err = net.Listen("tcp", address); err != nil {
		return false
	}
	second := &http.Server{Handler: s}
	go second.Serve(listener)
	defer second.Close()
	if strings.Contains(message, "under way") {
		h.response(`"under way"`)
	}
	if message[0] == '[' {
		h.response(`"beside"`)
	}
	for id := 2; id <= 4; id++ {
		h.send(toolCall(id))
		if got := h.response(fmt.Sprint(id)); get(t, got, "result") != "{}" {
			t.Errorf("got %s", got)
		}
	}
	seen := make(map[string]bool)
	for _, line := range h.all() {
		if id := get(t, line, "id"); id != "" {
			if seen[id] {
				t.Errorf("%s has two responses", id)
			}
			seen[id] = true
		}
	}
	return true
}
