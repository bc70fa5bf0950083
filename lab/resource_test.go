package lab_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/lab"
)

// TestBearer sends access tokens in every place and shape.
func TestBearer(t *testing.T) {
	c := start(t, lab.Habits{})
	token := c.server.Issue("ana", "", "").Access
	for name, test := range map[string]struct {
		header, query string
		status        int
		code          string
	}{
		"right":      {"Bearer " + token, "", 200, ""},
		"lower case": {"bearer " + token, "", 200, ""},
		"nothing":    {"", "", 401, ""},
		"in the URL": {"", "?access_token=" + token, 401, ""},
		"wrong":      {"Bearer x", "", 401, `error="invalid_token"`},
		"wrong kind": {"Basic " + token, "", 401, ""},
		"naked":      {token, "", 401, ""},
		"no token":   {"Bearer", "", 401, ""},
	} {
		r := c.request(http.MethodPost, c.server.MCPURL()+test.query, `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
		if test.header != "" {
			r.Header.Set("Authorization", test.header)
		}
		response := c.do(r)
		challenge := response.header.Get("WWW-Authenticate")
		if response.status != test.status || !strings.Contains(challenge, test.code) || test.code == "" && strings.Contains(challenge, "error=") {
			t.Errorf("%s: %d %s", name, response.status, challenge)
		}
	}
}

// TestLazyAuth wants a token at the call only.
func TestLazyAuth(t *testing.T) {
	c := start(t, lab.Habits{LazyAuth: true})
	for method, status := range map[string]int{"initialize": 200, "ping": 200, "tools/list": 200, "tools/call": 401} {
		if got := c.call("", method, "").status; got != status {
			t.Errorf("%s: %d", method, got)
		}
	}
	if got := c.call("wrong", "ping", "").status; got != http.StatusUnauthorized {
		t.Errorf("a wrong token: %d", got)
	}
}

// TestBuiltin speaks with the built-in MCP server.
func TestBuiltin(t *testing.T) {
	c := start(t, lab.Habits{})
	token := c.server.Issue("ana", "", "").Access
	send := func(method, session, body string) reply {
		r := c.request(method, c.server.MCPURL(), body)
		r.Header.Set("Authorization", "Bearer "+token)
		if session != "" {
			r.Header.Set("Mcp-Session-Id", session)
		}
		return c.do(r)
	}
	rpc := func(session, body string) reply { return send(http.MethodPost, session, body) }

	hello := rpc("", `{"jsonrpc":"2.0","id":"a","method":"initialize","params":{"protocolVersion":"2025-06-18"}}`)
	session := hello.header.Get("Mcp-Session-Id")
	if session == "" || !strings.Contains(hello.raw, `"protocolVersion":"2025-06-18"`) || !strings.Contains(hello.raw, `"id":"a"`) {
		t.Fatalf("initialize: %s", hello.raw)
	}
	for _, test := range []struct {
		body   string
		status int
		want   string
	}{
		{`{"jsonrpc":"2.0","method":"notifications/initialized"}`, 202, ""},
		{`{"jsonrpc":"2.0","id":2,"method":"ping"}`, 200, `"result":{}`},
		{`{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}`, 200, `"id":9007199254740993`},
		{`{"jsonrpc":"2.0","id":3,"method":"tools/list"}`, 200, `"name":"echo"`},
		{`{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"whoami"}}`, 200, `"text":"ana"`},
		{`{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"x"}}`, 200, `"code":-32602`},
		{`{"jsonrpc":"2.0","id":6,"method":"x"}`, 200, `"code":-32601`},
		{`not JSON`, 400, ""},
	} {
		if response := rpc(session, test.body); response.status != test.status || !strings.Contains(response.raw, test.want) {
			t.Errorf("%s: %d %s", test.body, response.status, response.raw)
		}
	}
	if got := send(http.MethodPut, session, "").status; got != http.StatusMethodNotAllowed {
		t.Errorf("PUT: %d", got)
	}
	if got := send(http.MethodDelete, session, "").status; got != http.StatusNoContent {
		t.Errorf("DELETE: %d", got)
	}
	if got := rpc(session, `{"jsonrpc":"2.0","id":7,"method":"ping"}`).status; got != http.StatusNotFound {
		t.Errorf("after DELETE: %d", got)
	}
}

// TestOwnMCP puts a handler of one's own behind the check.
func TestOwnMCP(t *testing.T) {
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, ok := lab.CallerFrom(r.Context())
		body, err := io.ReadAll(r.Body)
		if !ok || err != nil {
			t.Errorf("%v %v", ok, err)
		}
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, caller.ClientID+" "+caller.Scope+" "+string(body))
	})
	c := startWith(t, lab.Habits{}, lab.Options{MCP: inner})
	if got := c.call("", "ping", "").status; got != http.StatusUnauthorized {
		t.Errorf("without a token: %d", got)
	}
	response := c.call(c.server.Issue("ana", "", "read").Access, "ping", "")
	if response.status != http.StatusTeapot || !strings.HasPrefix(response.raw, `ana read {"jsonrpc"`) {
		t.Errorf("%d %s", response.status, response.raw)
	}
}
