package interop

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/handstamp/handstamp/bridge"
)

// The official Go SDK's client on one side of a bridge in this process and its server on the
// other, in every pair of protocol eras that the SDK has. Needs nothing installed.

// sdkServer is a server with a tool that responds and one that reports progress.
func sdkServer() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "sdk", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "say"}, func(
		_ context.Context, _ *mcp.CallToolRequest, in sayInput,
	) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: in.Text}}}, nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "progress"}, func(ctx context.Context, r *mcp.CallToolRequest, _ sayInput) (*mcp.CallToolResult, any, error) {
		for i := range 3 {
			if err := r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: float64(i)}); err != nil {
				return nil, nil, err
			}
		}
		return &mcp.CallToolResult{}, nil, nil
	})
	return s
}

func sdkHandler(s *mcp.Server, stateless bool) http.Handler {
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: stateless})
}

// connect runs a bridge with the SDK's client as its MCP host.
func connect(t *testing.T, o bridge.Options, client *mcp.Client, version string) *mcp.ClientSession {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	o.Stdin, o.Stdout = inR, outW
	ctx, cancel := context.WithTimeout(context.Background(), 2*timeout)
	done := make(chan error, 1)
	go func() { done <- bridge.Run(ctx, o) }()
	session, err := client.Connect(ctx, &mcp.IOTransport{Reader: outR, Writer: inW}, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		session.Close()
		inW.Close()
		cancel()
		select {
		case <-done:
		case <-time.After(timeout):
			t.Error("the bridge does not end")
		}
	})
	return session
}

func TestSDKPairs(t *testing.T) {
	for _, server := range []struct {
		name string
		http func() http.Handler
		wire bridge.Wire
	}{
		{"sessions", func() http.Handler { return sdkHandler(sdkServer(), false) }, bridge.WireAuto},
		{"stateless", func() http.Handler { return sdkHandler(sdkServer(), true) }, bridge.WireAuto},
		{"modern only", func() http.Handler { return modernOnly(sdkHandler(sdkServer(), true)) }, bridge.WireAuto},
		{"HTTP+SSE", func() http.Handler {
			s := sdkServer()
			return mcp.NewSSEHandler(func(*http.Request) *mcp.Server { return s }, nil)
		}, bridge.WireAuto},
		{"HTTP+SSE by name", func() http.Handler {
			s := sdkServer()
			return mcp.NewSSEHandler(func(*http.Request) *mcp.Server { return s }, nil)
		}, bridge.WireSSE},
	} {
		for _, version := range []string{"", "2025-11-25", "2025-06-18", "2025-03-26"} {
			t.Run(fmt.Sprintf("%s/%s", server.name, version), func(t *testing.T) {
				s := httptest.NewServer(server.http())
				t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
				progress := make(chan float64, 10)
				client := mcp.NewClient(&mcp.Implementation{Name: "host", Version: "1"}, &mcp.ClientOptions{
					ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { progress <- r.Params.Progress },
				})
				session := connect(t, bridge.Options{
					URL:  s.URL,
					Wire: server.wire,
					// On a busy machine the placeholder would respond.
					InitializeWait: -1,
					Logger:         slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
				}, client, version)
				ctx := t.Context()
				tools, err := session.ListTools(ctx, nil)
				if err != nil || len(tools.Tools) != 2 {
					t.Fatalf("%v, %v", tools, err)
				}
				got, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "say", Arguments: sayInput{"hällo\n"}})
				if err != nil || len(got.Content) != 1 || got.Content[0].(*mcp.TextContent).Text != "hällo\n" {
					t.Fatalf("%v, %v", got, err)
				}
				params := &mcp.CallToolParams{Name: "progress", Arguments: sayInput{}}
				params.SetProgressToken("p")
				if _, err := session.CallTool(ctx, params); err != nil {
					t.Fatal(err)
				}
				for range 3 {
					select {
					case <-progress:
					case <-time.After(timeout):
						t.Fatal("no progress")
					}
				}
			})
		}
	}
}
