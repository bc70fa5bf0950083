package bridge_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/handstamp/handstamp/bridge"
)

// A rejection may have a body of another protocol, with an error member that is
// none of JSON-RPC's. It goes to no host, and means nothing for the server's era.
func TestRejectionOfAnotherProtocol(t *testing.T) {
	for _, body := range []string{
		`{"error":"insufficient_scope","error_description":"no"}`,
		`{"error":{"code":403,"message":"no","status":"PERMISSION_DENIED"}}`,
		`{"jsonrpc":"2.0","id":1,"error":"no"}`,
	} {
		h := start(t, bridge.Options{URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
			got := readRequest(r)
			if got.method == "initialize" {
				result(w, got.id, initialized)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, body)
		})})
		h.send(`{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`)
		if got := h.response("1"); get(t, got, "jsonrpc") != `"2.0"` || get(t, got, "error", "data", "reason") != `"rejected"` {
			t.Errorf("%s reaches the host as %s", body, got)
		}
		// Were the server taken for a modern one, this would be translated for it.
		if got := h.hello(); get(t, got, "result") != initialized {
			t.Errorf("after %s, initialize has the response %s", body, got)
		}
	}
}
