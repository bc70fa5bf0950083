package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// requestLog is a server that notes the JSON-RPC methods, or HTTP methods, of its requests.
type requestLog struct {
	http.Handler
	mu  sync.Mutex
	got []string // guarded by mu
}

func (l *requestLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	var m struct{ Method string }
	_ = json.Unmarshal(body, &m)
	l.mu.Lock()
	l.got = append(l.got, cmp.Or(m.Method, r.Method))
	l.mu.Unlock()
	l.Handler.ServeHTTP(w, r)
}

// sdkServer is a server on the official SDK with a tool that repeats a text and one
// that repeats a number.
func sdkServer(o *mcp.StreamableHTTPOptions) http.Handler {
	type text struct {
		Text string `json:"text"`
	}
	type number struct {
		N int `json:"n"`
	}
	s := mcp.NewServer(&mcp.Implementation{Name: "sdk", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "echo"}, func(_ context.Context, _ *mcp.CallToolRequest, in text) (*mcp.CallToolResult, text, error) {
		return nil, in, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "count"}, func(_ context.Context, _ *mcp.CallToolRequest, in number) (*mcp.CallToolResult, number, error) {
		return nil, in, nil
	})
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, o)
}

// sessionless handles initialize and tools/call without a session; strict wants notifications/initialized
// that the session has begun.
func sessionless(strict bool) http.Handler {
	var mu sync.Mutex
	begun := false
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			ID     json.RawMessage
			Method string
		}
		if r.Method != http.MethodPost || json.NewDecoder(r.Body).Decode(&m) != nil {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		result := `"result":{"content":[{"type":"text","text":"done"}]}`
		switch {
		case m.Method == "initialize":
			result = `"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}`
		case m.ID == nil:
			begun = true
			w.WriteHeader(http.StatusAccepted)
			return
		case strict && !begun:
			result = `"error":{"code":-32600,"message":"the session is not initialized"}`
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(m.ID)+`,`+result+`}`)
	})
}

// modernOnly is a server of 2026-07-28 that knows no initialize.
func modernOnly() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			ID     json.RawMessage
			Method string
		}
		_ = json.NewDecoder(r.Body).Decode(&m)
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Mcp-Protocol-Version") != "2026-07-28" || m.Method != "tools/call" {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"error":{"code":-32022,"message":"unsupported","data":{"supported":["2026-07-28"]}}}`)
			return
		}
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"result":{"resultType":"complete","content":[]}}`)
	})
}

// A call makes no request that the server does not need.
func TestCallMakesFewRequests(t *testing.T) {
	stateless := &mcp.StreamableHTTPOptions{Stateless: true}
	for _, test := range []struct {
		name   string
		server http.Handler
		args   []string
		want   string
	}{
		{"stateless", sdkServer(stateless), []string{"echo", "text=hello"}, "initialize tools/call"},
		{"stateless, JSON", sdkServer(&mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true}), []string{"echo", `{"text":"hello"}`}, "initialize tools/call"},
		{"a value that may be a number", sdkServer(stateless), []string{"count", "n=5"}, "initialize tools/list tools/call"},
		{"modern only", modernOnly(), []string{"do"}, "initialize tools/call"},
		{"no session", sessionless(false), []string{"do"}, "initialize tools/call"},
		{"no session, but it wants notifications/initialized", sessionless(true), []string{"do"}, "initialize tools/call tools/list notifications/initialized GET tools/call"},
		{"session", sdkServer(nil), []string{"echo", "text=hello"}, "initialize notifications/initialized GET tools/call DELETE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := &requestLog{Handler: test.server}
			server := httptest.NewServer(log)
			defer server.Close()
			var out, problems bytes.Buffer
			code := Run(t.Context(), append([]string{"call", server.URL}, test.args...), Process{
				Environ: []string{"HANDSTAMP_STORE=file", "HANDSTAMP_HOME=" + t.TempDir(), "HANDSTAMP_ACCESS_TOKEN=token"},
				Stdout:  &out, Stderr: &problems,
			})
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, problems.String())
			}
			log.mu.Lock()
			defer log.mu.Unlock()
			// The stream and the notification go side by side.
			want, got := strings.Fields(test.want), slices.Clone(log.got)
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("requests: %v, want %v", log.got, test.want)
			}
		})
	}
}

// A text where the tool wants a number is an error of the command line, however the server
// rejects it.
func TestCallWithAWrongArgument(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			ID     json.RawMessage
			Method string
		}
		_ = json.NewDecoder(r.Body).Decode(&m)
		if m.Method == "tools/call" {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"error":{"code":-32602,"message":"invalid"}}`)
			return
		}
		r.Body = io.NopCloser(strings.NewReader(`{"jsonrpc":"2.0","id":` + string(m.ID) + `,"method":"` + m.Method +
			`","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`))
		sdkServer(&mcp.StreamableHTTPOptions{Stateless: true}).ServeHTTP(w, r)
	}))
	defer server.Close()
	var problems bytes.Buffer
	code := Run(t.Context(), []string{"call", server.URL, "count", "n=five"}, Process{
		Environ: []string{"HANDSTAMP_STORE=file", "HANDSTAMP_HOME=" + t.TempDir(), "HANDSTAMP_ACCESS_TOKEN=token"}, Stderr: &problems,
	})
	if code != exitUsage || !strings.Contains(problems.String(), "argument n of count is of type integer") {
		t.Errorf("exit code %d: %s", code, problems.String())
	}
}
