package mcpserver_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/lab/mcpserver"
)

// bearer adds one access token to every request.
type bearer struct{ token string }

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	r.Header.Set("Lab-Caller", "an impostor")
	return http.DefaultTransport.RoundTrip(r)
}

// TestTools calls both tools with the official SDK's client, through the bearer
// check.
func TestTools(t *testing.T) {
	server, err := lab.StartWith(lab.Habits{}, lab.Options{MCP: mcpserver.Handler()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	server.RegisterClient(lab.ConfiguredClient{ID: "ana"})
	token := server.Issue("ana", "", "").Access

	ctx := context.Background()
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint:   server.MCPURL(),
		HTTPClient: &http.Client{Transport: bearer{token}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()

	for _, test := range []struct {
		tool      string
		arguments map[string]any
		want      string
	}{
		{"echo", map[string]any{"text": "hello"}, "hello"},
		{"whoami", map[string]any{}, "ana"},
	} {
		result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: test.tool, Arguments: test.arguments})
		if err != nil {
			t.Fatalf("%s: %v", test.tool, err)
		}
		if got := result.Content[0].(*mcp.TextContent).Text; got != test.want {
			t.Errorf("%s says %q, want %q", test.tool, got, test.want)
		}
	}
}
