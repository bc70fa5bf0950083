package bridge_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
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
	if got := h.response("1"); get(t, got, "result") != `{"tools":[{"name":"read","x":1.0},{"name":"write"}],"nextCursor":"n"}` {
		t.Errorf("got %s", got)
	}
	h.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"delete"}}`)
	if got := h.response("2"); get(t, got, "error", "code") != "-32602" {
		t.Errorf("got %s", got)
	}
	if s.last("tools/call").method != "" {
		t.Error("the call went through")
	}
}

// TestToolFilterByAnySpelling calls a tool that the filter denies in all ways that
// some server may understand.
func TestToolFilterByAnySpelling(t *testing.T) {
	var carried atomic.Int32
	s := &sessions{}
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, batch := batchBody(r)
		if strings.Contains(body, "elete") || strings.Contains(body, `\u0064`) {
			carried.Add(1)
		}
		if batch {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `[{"jsonrpc":"2.0","id":2,"result":{"read":1}},{"jsonrpc":"2.0","id":3,"result":{"tools":[{"name":"read"},{"name":"delete"}]}}]`)
			return
		}
		s.ServeHTTP(w, r)
	})
	for i, line := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools\/call","params":{"name":"delete"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/c\u0061ll","params":{"name":"d\u0065lete"}}`,
		`{"jsonrpc":"2.0","id":1,"m\u0065thod":"tools/call","p\u0061rams":{"n\u0061me":"delete"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","params":{"name":"delete"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","Name":"delete"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read"},"Params":{"name":"delete"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read"},"param` + "\u017F" + `":{"name":"delete"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","name":"delete"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete","name":"read"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"delete"}}`,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"delete\xff\"}}",
		"\uFEFF" + `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete"}}`,
		`{"jsonrpc":"2.0","method":"tools/call","params":{"name":"delete"}}`,
		`{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"delete"}}`,
		`[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete"}}]`,
		`[[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete"}}]]`,
		`[{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"read"}},{"jsonrpc":"2.0","id":1,"method":"tools\/call","params":{"name":"delete"}},{"jsonrpc":"2.0","id":3,"method":"tools\/list"}]`,
	} {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			carried.Store(0)
			h := start(t, bridge.Options{URL: url, Tool: func(name string) bool { return name == "read" }})
			h.hello()
			h.send(line)
			switch {
			case strings.HasPrefix(line, "[["):
				h.response("null")
			case strings.Contains(line, `"id":1`):
				if got := h.response("1"); get(t, got, "error") == "" {
					t.Errorf("got %s", got)
				}
			}
			if strings.Contains(line, `"id":3`) {
				if got := h.response("2"); get(t, got, "result") != `{"read":1}` {
					t.Errorf("got %s", got)
				}
				if got := h.response("3"); get(t, got, "result") != `{"tools":[{"name":"read"}]}` {
					t.Errorf("got %s", got)
				}
			}
			h.send(`{"jsonrpc":"2.0","id":9,"method":"ping"}`)
			h.response("9")
			_ = h.end()
			if carried.Load() != 0 {
				t.Error("the call went through")
			}
		})
	}
}

// TestToolFilterDeniesCallsWithoutAName: a filter that denies one tool lets no call
// through that may name it in a way of a server's own.
func TestToolFilterDeniesCallsWithoutAName(t *testing.T) {
	s := &sessions{}
	h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP), Tool: func(name string) bool { return name != "delete" }})
	h.hello()
	for i, params := range []string{
		`["delete"]`, `"delete"`, `[{"name":"delete"}]`, `{"name":["delete"]}`, `{"name":{"name":"delete"}}`,
		`{"name":null,"tool":"delete"}`, `{"name":""}`, `{"tool":"delete"}`, `{}`, `null`,
	} {
		id := strconv.Itoa(i)
		h.send(`{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":` + params + `}`)
		if got := h.response(id); get(t, got, "error", "code") != "-32602" {
			t.Errorf("%s: got %s", params, got)
		}
	}
	if s.last("tools/call").method != "" {
		t.Error("a call went through")
	}
}

// TestToolFilterReadsLikeTheHost: of several lists of tools none stays that the
// filter has not seen.
func TestToolFilterReadsLikeTheHost(t *testing.T) {
	for _, response := range []string{
		`"result":{"tools":[{"name":"read"},{"name":"delete"}],"x":1.0,"tools":[{"name":"read"}]}`,
		`"result":{"tools":[{"name":"delete"}],"x":1.0,"\u0074ools":[{"name":"read"},{"name":"d\u0065lete"}]}`,
		`"result":{"tools":[{"name":"delete"}]},"re\u0073ult":{"tools":[{"name":"read"},{"name":"delete"}]}`,
	} {
		s := &sessions{serve: func(w http.ResponseWriter, _ *http.Request, got request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"jsonrpc":"2.0","id":`+got.id+`,`+response+`}`)
		}}
		h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP), Tool: func(name string) bool { return name == "read" }})
		h.hello()
		h.send(`{"jsonrpc":"2.0","id":1,"method":"tools\/list"}`)
		if got := h.response("1"); strings.Contains(got, "lete") || !strings.Contains(got, `[{"name":"read"}]`) {
			t.Errorf("%s became %s", response, got)
		}
	}
}

// TestSignInPassesTheFilter: the sign-in placeholder is no tool of the server's, which may have a
// denied one of that name.
func TestSignInPassesTheFilter(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := &sessions{serve: func(w http.ResponseWriter, _ *http.Request, got request) { result(w, got.id, `{"tools":[]}`) }}
		user := new(bridge.User)
		d := newDoor(user)
		d.next = memory(s.ServeHTTP)
		h := startInMemory(t, d, func(o *bridge.Options) {
			o.User, o.Explain, o.Tool = user, explainDoor, func(name string) bool { return name == "read" }
		})
		signIn := func(id string) string {
			h.send(`{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"name":"sign_in"}}`)
			return h.response(id)
		}
		h.hello()
		if got := signIn("1"); !strings.Contains(get(t, got, "result"), "https://as.example/authorize") {
			t.Errorf("sign_in returns %s", got)
		}
		h.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"delete"}}`,
			`[{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"sign_in"}}]`,
			`{"jsonrpc":"2.0","method":"tools/call","params":{"name":"sign_in"}}`)
		for _, id := range []string{"2", "3"} {
			if got := h.response(id); get(t, got, "error", "code") != "-32602" {
				t.Errorf("got %s", got)
			}
		}
		close(d.opened)
		h.note("notifications/tools/list_changed")
		if got := signIn("4"); !strings.Contains(get(t, got, "result"), "You are signed in") {
			t.Errorf("sign_in returns %s", got)
		}
		h.send(`{"jsonrpc":"2.0","method":"tools/call","params":{"name":"sign_in"}}`,
			`{"jsonrpc":"2.0","id":5,"method":"tools/list"}`)
		h.response("5")
		if got := signIn("6"); get(t, got, "error", "code") != "-32602" {
			t.Errorf("sign_in returns %s", got)
		}
		if s.last("tools/call").method != "" {
			t.Error("a call went through")
		}
	})
}

// TestEscapedMethodsOfTheSession: a host that escapes its slashes, as PHP does, gets
// its stream and its notifications.
func TestEscapedMethodsOfTheSession(t *testing.T) {
	s := &sessions{stream: make(chan string)}
	h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP)})
	h.send(`{"jsonrpc":"2.0","\u0069d":"hello","method":"initi\u0061lize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`)
	h.response(`"hello"`)
	h.send(`{"jsonrpc":"2.0","method":"notifications\/initialized"}`)
	s.stream <- event(`{"jsonrpc":"2.0","method":"notifications\/tools\/list_changed"}`)
	if got := h.note("notifications/tools/list_changed"); got != `{"jsonrpc":"2.0","method":"notifications\/tools\/list_changed"}` {
		t.Errorf("got %s", got)
	}
}
