package bridge_test

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// forgetful is a server with sessions that shows in its own way that it does not know one.
type forgetful struct {
	unknown func(w http.ResponseWriter, got request)      // a session that it has forgotten
	odd     func(w http.ResponseWriter, got request) bool // handles what it reports true for; nil: nothing
	bare    bool                                          // sessions have no id

	mu      sync.Mutex // guards what follows
	session string
	lost    bool // the session without an id
	all     []request
	carried map[string]int // tools/call by id
	deleted []string
}

func (s *forgetful) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	got := readRequest(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, got)
	id := r.Header.Get("Mcp-Session-Id")
	known := id == s.session && !s.lost
	switch {
	case r.Method == http.MethodDelete:
		s.deleted = append(s.deleted, id)
		w.WriteHeader(http.StatusNoContent)
	case got.method == "initialize":
		s.lost = false
		if s.session = ""; !s.bare {
			s.session = "session-" + strconv.Itoa(s.sent("initialize"))
			w.Header().Set("Mcp-Session-Id", s.session)
		}
		result(w, got.id, initialized)
	case r.Method == http.MethodGet:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case s.odd != nil && s.odd(w, got):
	case !known:
		s.unknown(w, got)
	case got.id == "":
		w.WriteHeader(http.StatusAccepted)
	case got.method == "tools/call":
		if s.carried == nil {
			s.carried = make(map[string]int)
		}
		s.carried[got.id]++
		result(w, got.id, `{"content":[]}`)
	default:
		result(w, got.id, `{}`)
	}
}

// sent counts the messages of a method. The caller holds mu.
func (s *forgetful) sent(method string) int {
	n := 0
	for _, got := range s.all {
		if got.method == method {
			n++
		}
	}
	return n
}

// count counts the messages of a method.
func (s *forgetful) count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent(method)
}

// wantCounts checks how many calls and pings came, and how many sessions were begun.
func (s *forgetful) wantCounts(t *testing.T, calls, pings, begun int) {
	t.Helper()
	if c, p, b := s.count("tools/call"), s.count("ping"), s.count("initialize"); c != calls || p != pings || b != begun {
		t.Errorf("%d requests, %d pings, %d sessions, want %d, %d, %d", c, p, b, calls, pings, begun)
	}
}

// forget ends the session at the server.
func (s *forgetful) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session, s.lost = "forgotten", true
}

// rejects returns a handler that responds with a status, a content type and a body, in which $ID is the
// id of the request.
func rejects(status int, kind, body string) func(w http.ResponseWriter, got request) {
	return func(w http.ResponseWriter, got request) {
		if kind != "" {
			w.Header().Set("Content-Type", kind)
		}
		w.WriteHeader(status)
		io.WriteString(w, strings.ReplaceAll(body, "$ID", got.id))
	}
}

// otherWord is the response of a server that has forgotten a session.
type otherWord struct {
	name  string
	words func(w http.ResponseWriter, got request)
	pings int
}

var otherWords = []otherWord{
	{"the official server-everything", rejects(400, "application/json; charset=utf-8", `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}`), 1},
	{"supergateway", rejects(400, "application/json; charset=utf-8", `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}`), 1},
	{"the Python SDK", rejects(404, "application/json", `{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Session not found"}}`), 0},
	{"the Python SDK before", rejects(400, "application/json", `{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Bad Request: No valid session ID provided"}}`), 1},
	{"the TypeScript SDK", rejects(404, "application/json", `{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"},"id":null}`), 0},
	{"404 without a body", rejects(404, "", ""), 0},
	{"410", rejects(410, "text/plain", "gone"), 0},
	{"400 with a text", rejects(400, "text/plain", "Invalid or missing session ID"), 1},
	{"400 with a page", rejects(400, "text/html", "<html><title>Bad Request</title>"), 1},
	{"503 of another instance", rejects(503, "text/plain", "unknown on this instance"), 1},
	{"409", rejects(409, "application/json", `{"error":"no such session"}`), 1},
	{"422", rejects(422, "application/json", `{"detail":[{"msg":"session"}]}`), 1},
	{"405", rejects(405, "", ""), 1},
	{"418", rejects(418, "", ""), 1},
	{"421", rejects(421, "", ""), 1},
	{"200 with -32600", rejects(200, "application/json", `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Session not found"}}`), 1},
	{"200 with -32001 and no id", rejects(200, "application/json", `{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"}}`), 1},
	{"200 with a foreign id", rejects(200, "application/json", `{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Session not found"}}`), 1},
	{"200 with an array of one error", rejects(200, "application/json", `[{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Session not found"}}]`), 1},
	{"200 with an array of one error without id", rejects(200, "application/json", ` [ {"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"}} ]`), 1},
	{"200 with an array of errors", rejects(200, "application/json", `[{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Session not found"}},{"jsonrpc":"2.0","method":"notifications/message"},{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Session not found"}}]`), 1},
	{"200 with an array on a stream", rejects(200, "text/event-stream", "data: [{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32001,\"message\":\"no session\"}}]\n\n"), 1},
	{"400 with an array of one error", rejects(400, "application/json", `[{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Session not found"}}]`), 1},
	{"200 with -32001 on a stream", rejects(200, "text/event-stream", "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32001,\"message\":\"no session\"}}\n\n"), 1},
}

// last returns the last message of a method.
func (s *forgetful) last(t *testing.T, _ string, method string) request {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, got := range slices.Backward(s.all) {
		if got.method == method {
			return got
		}
	}
	t.Fatalf("no %s came", method)
	return request{}
}
