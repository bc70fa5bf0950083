package interop

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// host is one side of a pair.
type host struct {
	name   string
	modern bool // it speaks 2026-07-28 where the server does
	only   bool // and nothing of before
	use    func(ctx context.Context, t *testing.T, handstamp, url string) (*report, error)
}

// server is the other.
type server struct {
	name   string
	start  func(t *testing.T, see func(*http.Request)) string
	modern bool                   // it speaks 2026-07-28
	only   bool                   // and nothing of before
	asks   func(modern bool) bool // it can ask the host, spoken to like this
}

func hosts(node string) []host {
	inGo := func(version string) func(context.Context, *testing.T, string, string) (*report, error) {
		return func(ctx context.Context, t *testing.T, handstamp, url string) (*report, error) {
			return useGo(ctx, t, version, handstamp, url)
		}
	}
	inTypeScript := func(mode string) func(context.Context, *testing.T, string, string) (*report, error) {
		return func(ctx context.Context, t *testing.T, handstamp, url string) (*report, error) {
			return useNode(ctx, t, node, mode, handstamp, url)
		}
	}
	return []host{
		{"Go, 2025-11-25", false, false, inGo("2025-11-25")},
		{"Go, 2026-07-28", true, false, inGo("2026-07-28")},
		{"TypeScript 1", false, false, inTypeScript("v1")},
		{"TypeScript 2, legacy", false, false, inTypeScript("legacy")},
		{"TypeScript 2, auto", true, false, inTypeScript("auto")},
		{"TypeScript 2, 2026-07-28 only", true, true, inTypeScript("2026-07-28")},
	}
}

// servers returns the servers. Each of the TypeScript SDK is started once, and ends with
// the test; a pair has a proxy of its own before it, which shows its requests.
func servers(t *testing.T, node string) []server {
	inGo := func(handler func() http.Handler) func(*testing.T, func(*http.Request)) string {
		return func(t *testing.T, see func(*http.Request)) string {
			inner := handler()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				see(r)
				inner.ServeHTTP(w, r)
			}))
			t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
			return s.URL + "/mcp"
		}
	}
	inTypeScript := func(kind string) func(*testing.T, func(*http.Request)) string {
		started := sync.OnceValues(func() (string, error) { return startNode(t, node, kind) })
		return func(t *testing.T, see func(*http.Request)) string {
			url, err := started()
			if err != nil {
				t.Fatal(err)
			}
			return watch(t, url, see)
		}
	}
	always := func(bool) bool { return true }
	onlyModern := func(modern bool) bool { return modern }
	return []server{
		{"Go, sessions", inGo(func() http.Handler { return streamable(false) }), false, false, always},
		{"Go, stateless", inGo(func() http.Handler { return streamable(true) }), true, false, onlyModern},
		{"Go, 2026-07-28 only", inGo(func() http.Handler { return modernOnly(streamable(true)) }), true, true, always},
		{"TypeScript 1, sessions", inTypeScript("v1-sessions"), false, false, always},
		{"TypeScript 1, stateless", inTypeScript("v1-stateless"), false, false, onlyModern},
		{"TypeScript 1, HTTP+SSE", inTypeScript("v1-sse"), false, false, always},
		{"TypeScript 2", inTypeScript("v2"), true, false, onlyModern},
		{"TypeScript 2, 2026-07-28 only", inTypeScript("v2-modern"), true, true, always},
	}
}

func streamable(stateless bool) http.Handler {
	s := goServer()
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: stateless})
}

type sayInput struct {
	Text string `json:"text"`
}

func goServer() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "go", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "say"}, func(_ context.Context, _ *mcp.CallToolRequest, in sayInput) (*mcp.CallToolResult, any, error) {
		return textResult(in.Text), nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "progress"}, func(ctx context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		for i := range 3 {
			if err := r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: float64(i)}); err != nil {
				return nil, nil, err
			}
		}
		return textResult(""), nil, nil
	})
	// The SDK asks by a request or by a result, as the client's era wants it.
	s.AddTool(&mcp.Tool{Name: "ask", InputSchema: map[string]any{"type": "object"}}, func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if input, ok := r.Params.InputResponses["input"].(*mcp.ElicitResult); ok {
			return textResult(fmt.Sprint(input.Content["colour"])), nil
		}
		return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"input": &mcp.ElicitParams{
			Message: "Which colour?",
			RequestedSchema: map[string]any{
				"type": "object", "properties": map[string]any{"colour": map[string]any{"type": "string"}}, "required": []string{"colour"},
			},
		}}}, nil
	})
	return s
}

func textResult(text string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}
}

// useGo lets a host of the Go SDK use a server.
func useGo(ctx context.Context, t *testing.T, version, handstamp, url string) (*report, error) {
	var mu sync.Mutex
	var progress []string
	done := make(chan struct{})
	client := mcp.NewClient(&mcp.Implementation{Name: "go-host", Version: "1"}, &mcp.ClientOptions{
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"colour": "blue"}}, nil
		},
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
			mu.Lock()
			defer mu.Unlock()
			if progress = append(progress, strconv.Itoa(int(r.Params.Progress))); len(progress) == 3 {
				close(done)
			}
		},
	})
	cmd := exec.CommandContext(ctx, handstamp, "bridge", url)
	cmd.Env = environment(t)
	cmd.Stderr = os.Stderr
	session, err := client.Connect(ctx, &mcp.CommandTransport{Command: cmd}, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		return nil, err
	}
	defer session.Close()
	began := session.InitializeResult()
	got := &report{Version: began.ProtocolVersion}
	if began.ServerInfo != nil {
		got.Server = began.ServerInfo.Name
	}
	if list, err := session.ListTools(ctx, nil); err != nil {
		got.Tools = said(nil, err)
	} else {
		var names []string
		for _, tool := range list.Tools {
			names = append(names, tool.Name)
		}
		slices.Sort(names)
		got.Tools = strings.Join(names, " ")
	}
	got.Say = said(session.CallTool(ctx, &mcp.CallToolParams{Name: "say", Arguments: sayInput{"hällo\n"}}))
	params := &mcp.CallToolParams{Name: "progress", Arguments: map[string]any{}}
	params.SetProgressToken("p")
	if result, err := session.CallTool(ctx, params); err != nil {
		got.Progress = said(result, err)
	} else {
		select {
		case <-done:
		case <-ctx.Done():
		}
		mu.Lock()
		got.Progress = strings.Join(progress, " ")
		mu.Unlock()
	}
	got.Ask = said(session.CallTool(ctx, &mcp.CallToolParams{Name: "ask", Arguments: map[string]any{}}))
	return got, nil
}

// said returns what a tool has said, or why it has not.
func said(result *mcp.CallToolResult, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	var words strings.Builder
	if result.IsError {
		words.WriteString("error: ")
	}
	for _, content := range result.Content {
		if text, ok := content.(*mcp.TextContent); ok {
			words.WriteString(text.Text)
		}
	}
	return words.String()
}
