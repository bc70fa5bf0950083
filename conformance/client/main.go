// Command client is what the official MCP conformance suite drives: the official
// Go SDK's MCP client over Handstamp's transport. It connects, lists the tools
// and calls each once, as any host would, and leaves every question of
// authorization to the library. A scenario is a configuration, at most: how the
// client is known to the authorization server, and which grant it has there.
//
//	client [--handler] SERVER_URL
//
// With --handler it signs in through the SDK's OAuthHandler instead of the
// transport.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/conformance/given"
)

func main() {
	handler := flag.Bool("handler", false, "sign in through the SDK's OAuthHandler")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: client [--handler] SERVER_URL")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	if err := run(ctx, flag.Arg(0), *handler); err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, serverURL string, handler bool) error {
	g, err := given.Read()
	if err != nil {
		return err
	}
	client, err := configured(g)
	if err != nil {
		return err
	}
	defer client.Close(ctx)

	transport := &mcp.StreamableClientTransport{Endpoint: serverURL}
	if handler {
		transport.OAuthHandler = client.Handler(serverURL)
	} else {
		transport.HTTPClient = client.HTTPClient(serverURL)
	}
	mcpClient := mcp.NewClient(&mcp.Implementation{Name: "handstamp-conformance", Version: "1.0.0"}, nil)
	session, err := mcpClient.Connect(ctx, transport, &mcp.ClientSessionOptions{
		ProtocolVersion: g.Revision,
	})
	if err != nil {
		return err
	}
	defer session.Close()
	tools, err := session.ListTools(ctx, nil)
	if err != nil {
		return err
	}
	for _, tool := range tools.Tools {
		if _, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool.Name, Arguments: map[string]any{}}); err != nil {
			return err
		}
	}
	return nil
}

// authorize is the user: the suite's authorization server consents at once, so
// that one request yields the redirect to the callback.
func authorize(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	location, err := resp.Location()
	if err != nil {
		return nil, fmt.Errorf("the authorization endpoint responded with %s and no redirect", resp.Status)
	}
	return location.Query(), nil
}
