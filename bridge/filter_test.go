package bridge_test

import (
	"net/http"
	"testing"

	"github.com/handstamp/handstamp/bridge"
)

func TestToolFilter(t *testing.T) {
	s := &sessions{serve: func(w http.ResponseWriter, _ *http.Request, got request) {
		if got.method == "tools/list" {
			result(w, got.id, `{"tools":[{"name":"read","x":1.0},{"name":"delete"} , {"name":"write"}],"nextCursor":"n"}`)
			return
		}
		result(w, got.id, `{}`)
	}}
	h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP), Tool: func(name string) bool { return name != "delete" }})
	h.hello()
	h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	if got := h.answer("1"); get(t, got, "result") != `{"tools":[{"name":"read","x":1.0},{"name":"write"}],"nextCursor":"n"}` {
		t.Errorf("got %s", got)
	}
	h.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"delete"}}`)
	if got := h.answer("2"); get(t, got, "error", "code") != "-32602" {
		t.Errorf("got %s", got)
	}
	if s.last("tools/call").method != "" {
		t.Error("the call went through")
	}
}
