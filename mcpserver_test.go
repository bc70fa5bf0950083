package handstamp_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/handstamp/handstamp/internal/testenv"
)

// beside is an HTTP+SSE server with the endpoint that the stream names, wherever that is, and
// what it was sent.
type beside struct {
	*httptest.Server
	mu     sync.Mutex
	event  string   // what the stream begins with; set before it is opened
	posted []string // guarded by mu: "path authorization"
}

func newBeside(t *testing.T) *beside {
	t.Helper()
	b := new(beside)
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if r.Method == http.MethodPost {
			b.posted = append(b.posted, r.URL.Path+" "+r.Header.Get("Authorization"))
			w.WriteHeader(http.StatusAccepted)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		// Byte by byte, as a network may have it.
		for i := range len(b.event) {
			io.WriteString(w, b.event[i:i+1])
			http.NewResponseController(w).Flush()
		}
	}))
	t.Cleanup(b.Close)
	return b
}

// The endpoint that the server names on its stream gets the token, if it is on its own origin.
func TestEndpointBesideTheStreamGetsTheToken(t *testing.T) {
	for _, test := range []struct {
		event, post string
		attached    bool
	}{
		{"event: endpoint\ndata: /messages/?session_id=1\n\n", "BASE/messages/?session_id=1", true},
		{"event: endpoint\r\ndata: /messages/?session_id=1\r\n\r\n", "BASE/messages/?session_id=2", true},
		{"event:endpoint\rdata:/messages/\r\r", "BASE/messages/", true},
		{"\ufeffevent: endpoint\ndata: BASE/v1/messages\n\n", "BASE/v1/messages", true},
		{": hello\n\nevent: ping\ndata: x\n\nid: 1\nevent: endpoint\ndata: messages\n\n", "BASE/messages", true},
		{"data: /messages/\nevent: endpoint\n\n", "BASE/messages/", true},
		{"event: endpoint\ndata: /messages/\n\n", "BASE/messages/more", false},
		{"event: endpoint\ndata: /messages/\n\n", "BASE/other", false},
		{"event: endpoint\ndata: /messages/\n", "BASE/messages/", false}, // not ended
		{"event: message\ndata: /messages/\n\n", "BASE/messages/", false},
		{"event: endpoint\ndata: /first\n\nevent: endpoint\ndata: /messages/\n\n", "BASE/messages/", false},
		{"event: endpoint\ndata: http://127.0.0.1:1/messages/\n\n", "BASE/messages/", false},
		{"event: endpoint\ndata: /a/%2e%2e/messages\n\n", "BASE/a/%2e%2e/messages", false},
		{"", "BASE/messages/", false},
	} {
		t.Run(fmt.Sprintf("%q", test.event), func(t *testing.T) {
			b := newBeside(t)
			c, _ := signedIn(t, b.URL+"/sse")
			c.BaseTransport = http.DefaultTransport
			b.event = strings.ReplaceAll(test.event, "BASE", b.URL)
			client := c.HTTPClient(b.URL + "/sse")
			resp, err := client.Get(b.URL + "/sse")
			if err != nil {
				t.Fatal(err)
			}
			if got := testenv.Body(t, resp); got != b.event {
				t.Errorf("the stream was changed: %q", got)
			}
			resp, err = client.Post(strings.ReplaceAll(test.post, "BASE", b.URL), "application/json", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := strings.HasSuffix(b.posted[0], " Bearer the-access-token"); got != test.attached {
				t.Errorf("posted %q, want the token: %t", b.posted, test.attached)
			}
		})
	}
}

// The token may be needed before the stream has ended: it never does.
func TestEndpointIsKnownWhileTheStreamIsOpen(t *testing.T) {
	posted := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			posted <- r.Header.Get("Authorization")
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "event: endpoint\ndata: /messages/\n\n")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	c, _ := signedIn(t, server.URL+"/sse")
	c.BaseTransport = http.DefaultTransport
	client := c.HTTPClient(server.URL + "/sse")
	resp, err := client.Get(server.URL + "/sse")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for range 3 {
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	response, err := client.Post(server.URL+"/messages/", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if got := <-posted; got != "Bearer the-access-token" {
		t.Errorf("sent %q", got)
	}
}
