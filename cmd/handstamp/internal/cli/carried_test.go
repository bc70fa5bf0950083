//go:build unix

package cli

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// An MCP server that repeats the token, or a header that the user gave, in an error
// does not get it onto the terminal.
func TestCallDoesNotShowRepeatedCredentials(t *testing.T) {
	const token, key = "tok-9fK2mQx7Vb4Tz6Hc1", "key/3Gf6Hj9Kl2Zx5Cv8"
	for name, c := range map[string]struct {
		status int
		tool   bool // the tool reports it
	}{
		"an error": {status: 200}, "a rejection": {status: 403}, "a bad request": {status: 400}, "a tool's error": {status: 200, tool: true},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var m struct {
					ID     json.RawMessage
					Method string
				}
				json.NewDecoder(r.Body).Decode(&m)
				said := r.Header.Get("Authorization") + ", " + base64.StdEncoding.EncodeToString([]byte(r.Header.Get("Authorization"))) + ", " + r.Header.Get("X-Key")
				w.Header().Set("Content-Type", "application/json")
				switch {
				case m.Method == "initialize":
					fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}}`, m.ID)
				case m.ID == nil:
					w.WriteHeader(http.StatusAccepted)
				case c.tool && m.Method == "tools/call":
					fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"isError":true,"content":[{"type":"text","text":%q}]}}`, m.ID, "bad "+said)
				default:
					w.WriteHeader(c.status)
					fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32001,"message":%q}}`, m.ID, "bad "+said)
				}
			}))
			t.Cleanup(server.Close)
			t.Setenv("HANDSTAMP_ACCESS_TOKEN", token)
			t.Setenv("CANARY_ONE", key)
			cmd := newCommand(t)
			stdout, stderr, code := cmd.run("call", server.URL, "t", "--header", "X-Key: ${CANARY_ONE}")
			if code == exitOK || !strings.Contains(stderr, "bad ") {
				t.Fatalf("code %d: %s", code, stderr)
			}
			encoded := base64.StdEncoding.EncodeToString([]byte("Bearer " + token))
			for _, hidden := range []string{token[:8], token[len(token)-8:], key[:8], key[len(key)-8:], encoded[12:20], encoded[len(encoded)-8:]} {
				if strings.Contains(stdout+stderr, hidden) {
					t.Errorf("%q is shown: %s", hidden, stdout+stderr)
				}
			}
		})
	}
}

// A server may repeat what is inside a header of the user's: the password of Basic.
func TestCallDoesNotShowTheRepeatedPassword(t *testing.T) {
	const password = "pw-9fK2mQx7Vb4Tz6Hc1"
	for name, header := range map[string]string{"Authorization": "Basic ", "Proxy-Authorization": "Basic ", "X-Login": ""} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var m struct{ ID json.RawMessage }
			json.NewDecoder(r.Body).Decode(&m)
			credentials := strings.TrimPrefix(r.Header.Get(name), "Basic ")
			pair, _ := base64.StdEncoding.DecodeString(credentials)
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32001,"message":%q}}`, m.ID, "bad "+string(pair))
		}))
		t.Cleanup(server.Close)
		t.Setenv("CANARY_ONE", header+base64.StdEncoding.EncodeToString([]byte("user:"+password)))
		cmd := newCommand(t)
		stdout, stderr, code := cmd.run("call", server.URL, "t", "--header", name+": ${CANARY_ONE}")
		if code == exitOK || !strings.Contains(stderr, "bad user:") {
			t.Fatalf("%s: code %d: %s", name, code, stderr)
		}
		if strings.Contains(stdout+stderr, password[:8]) || strings.Contains(stdout+stderr, password[12:]) {
			t.Errorf("%s: the password is shown: %s", name, stdout+stderr)
		}
	}
}
