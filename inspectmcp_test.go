package handstamp_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// A server that takes a nonce once, and names the next one only in a rejection, ends the session of
// an inspection like any other.
func TestInspectionWithANonceForEachRequest(t *testing.T) {
	w := testenv.New(t, lab.Habits{DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPRequired, ResourceNonce: 1, QuietNonce: true}})
	w.MustLogin(w.Session())
	in, err := w.Session().Inspect(t.Context(), w.Lab.MCPURL())
	if err != nil || in.MCP == nil || in.MCP.Rejected || in.MCP.Version == "" {
		t.Fatalf("%+v, %v", in.MCP, err)
	}
	var ends []int
	for _, r := range w.Lab.Requests() {
		if r.Method == http.MethodDelete {
			ends = append(ends, r.Status)
		}
	}
	if len(ends) != 2 || ends[0] != http.StatusUnauthorized || ends[1] != http.StatusNoContent {
		t.Errorf("the session was ended with %d\n%s", ends, w.Diary())
	}
}

// TestInspectionOfAServerThatLogs has a server send log messages and a ping before its response to
// initialize, or an error after them.
func TestInspectionOfAServerThatLogs(t *testing.T) {
	for response, version := range map[string]string{
		`"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}}`: "2025-11-25",
		`"error":{"code":-32603,"message":"no"}`: "",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var m struct {
				ID     json.RawMessage
				Method string
			}
			body, _ := io.ReadAll(r.Body)
			switch {
			case r.Method != http.MethodPost:
				w.WriteHeader(http.StatusMethodNotAllowed)
			case json.Unmarshal(body, &m) != nil || m.Method == "server/discover":
				w.WriteHeader(http.StatusBadRequest)
			case m.Method != "initialize":
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{}}`, m.ID)
			default:
				w.Header().Set("Content-Type", "text/event-stream")
				io.WriteString(w, "id: 1\ndata:\n\n"+`data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"hello"}}`+"\n\n"+
					`data: {"jsonrpc":"2.0","id":1,"method":"ping"}`+"\n\n")
				fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"id\":%s,%s}\n\n", m.ID, response)
			}
		}))
		defer server.Close()
		c := &handstamp.Client{LoginPolicy: handstamp.LoginNever}
		defer c.Close(t.Context())
		in, err := c.Inspect(t.Context(), server.URL+"/mcp")
		switch {
		case err != nil:
			t.Error(err)
		case in.MCP == nil || in.MCP.Version != version:
			t.Errorf("%s: %+v", response, in.MCP)
		}
	}
}
