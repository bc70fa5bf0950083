package bridge_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/bridge"
)

// A server that accepts a notification and then does not end its response holds
// nothing up.
func TestAcceptanceWithoutEnd(t *testing.T) {
	s := &sessions{}
	h := start(t, bridge.Options{Logger: logger(t), URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		if !strings.Contains(string(body), "notifications/initialized") {
			s.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, " ")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})})
	h.hello()
	h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	if got := h.response("1"); get(t, got, "result") != "{}" {
		t.Errorf("got %s", got)
	}
}
