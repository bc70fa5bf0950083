package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// An sdkClient is the official Go SDK's client, called in this process: what a
// Go program has that needs no bridge.
type sdkClient struct{ session *mcp.ClientSession }

// connectSDK connects it with a token that it need not know how to get.
func connectSDK(ctx context.Context, target, token string) (*sdkClient, error) {
	base := http.DefaultTransport.(*http.Transport).Clone()
	// With the default of two, a burst of calls opens connections all the time.
	base.MaxIdleConnsPerHost = 64
	client := mcp.NewClient(&mcp.Implementation{Name: "bench", Version: "1"}, nil)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint:   target,
		HTTPClient: &http.Client{Transport: &fixedToken{"Bearer " + token, base}},
	}, nil)
	if err != nil {
		return nil, err
	}
	return &sdkClient{session}, nil
}

// fixedToken puts one header on every request.
type fixedToken struct {
	header string
	base   http.RoundTripper
}

func (t *fixedToken) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", t.header)
	return t.base.RoundTrip(r)
}

func (c *sdkClient) echo(ctx context.Context, p payload) (*mcp.CallToolResult, error) {
	return c.session.CallTool(ctx, &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"text": p.text}})
}

func (c *sdkClient) call(ctx context.Context, p payload) error {
	result, err := c.echo(ctx, p)
	if err != nil {
		return err
	}
	text, ok := result.Content[0].(*mcp.TextContent)
	if !ok || len(text.Text) < len(p.text) {
		return fmt.Errorf("%d bytes do not come back", len(p.text))
	}
	return nil
}

func (c *sdkClient) check(ctx context.Context, p payload) error {
	result, err := c.echo(ctx, p)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(result)
	if err != nil {
		return err
	}
	return p.compare(raw)
}

func (c *sdkClient) close() error { return c.session.Close() }
