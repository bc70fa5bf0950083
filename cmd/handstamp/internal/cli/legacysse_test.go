//go:build unix

package cli

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/handstamp/handstamp/lab"
)

// pythonSSE is an HTTP+SSE server with the layout of the Python SDK: a stream at /sse, which
// takes no POST, and messages beside it, both with a token of the lab's.
type pythonSSE struct {
	lab     *lab.Server
	denied  chan string
	streams sync.Map // by session, the chan []byte of its messages
}

func (p *pythonSSE) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	known := false
	for _, secret := range p.lab.Secrets() {
		known = known || r.Header.Get("Authorization") == "Bearer "+secret
	}
	switch {
	case r.URL.Path == "/about.json": // only the stream's challenge names it
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"resource":%q,"authorization_servers":[%q]}`, "http://"+r.Host+"/sse", p.lab.Issuer())
	case r.URL.Path == "/sse" && r.Method != http.MethodGet:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case !known && (r.URL.Path == "/sse" || r.URL.Path == "/messages/"):
		if r.Header.Get("Authorization") != "" || r.URL.Path != "/sse" {
			select {
			case p.denied <- r.Method + " " + r.URL.Path:
			default:
			}
		}
		w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="/about.json"`)
		w.WriteHeader(http.StatusUnauthorized)
	case r.URL.Path == "/sse":
		session, outgoing := rand.Text(), make(chan []byte, 8)
		p.streams.Store(session, outgoing)
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "event: endpoint\r\ndata: /messages/?session_id=%s\r\n\r\n", session)
		http.NewResponseController(w).Flush()
		for {
			select {
			case message := <-outgoing:
				fmt.Fprintf(w, "event: message\r\ndata: %s\r\n\r\n", message)
				http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	case r.URL.Path == "/messages/":
		outgoing, known := p.streams.Load(r.URL.Query().Get("session_id"))
		if !known {
			http.NotFound(w, r)
			return
		}
		var m struct {
			ID     json.RawMessage
			Method string
		}
		json.NewDecoder(r.Body).Decode(&m)
		w.WriteHeader(http.StatusAccepted)
		result := map[string]string{
			"initialize": `{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"python","version":"1"}}`,
			"tools/list": `{"tools":[{"name":"echo","description":"says it again","inputSchema":{"type":"object"}}]}`,
		}[m.Method]
		if m.ID != nil && result != "" {
			outgoing.(chan []byte) <- fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
		}
	default:
		http.NotFound(w, r)
	}
}

// A server of the Python SDK's that speaks HTTP+SSE is signed in to and used like any other.
func TestLegacySSEWithMessagesBeside(t *testing.T) {
	c := newCommand(t)
	server := &pythonSSE{lab: c.server, denied: make(chan string, 8)}
	sse := httptest.NewServer(server)
	t.Cleanup(sse.Close)
	for _, args := range [][]string{
		{"login", sse.URL + "/sse", "--no-resource"},
		{"tools", sse.URL + "/sse", "--no-resource"},
		{"tools", sse.URL + "/sse", "--no-resource", "--transport", "sse"},
	} {
		stdout, stderr, code := c.run(args...)
		if code != 0 || args[0] == "tools" && !strings.Contains(stdout, "says it again") {
			t.Fatalf("%q: exit code %d\n%s%s", args, code, stdout, stderr)
		}
	}
	select {
	case at := <-server.denied:
		t.Errorf("%s came without the token", at)
	default:
	}
}
