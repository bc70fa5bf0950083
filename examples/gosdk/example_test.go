package main

import (
	"context"
	"fmt"
	"log"
	"net/url"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/lab/mcpserver"
)

// The official Go SDK calls a protected server through the http.Client of a Client. The first
// request without a login leads to one; later requests, and later processes with the same
// Store, use what is stored.
func Example_officialSDK() {
	server := startServer()
	defer server.Close()

	client := &handstamp.Client{Prompt: handstamp.Prompt{Authorize: consent}}
	transport := &mcp.StreamableClientTransport{
		Endpoint:   server.MCPURL(),
		HTTPClient: client.HTTPClient(server.MCPURL()),
	}
	fmt.Println(echo(transport, "hello"))
	// Output: hello
}

// The SDK's own field for authorization takes the handler of a Client. Use the handler or the
// http.Client, not both.
func Example_officialSDKHandler() {
	server := startServer()
	defer server.Close()

	client := &handstamp.Client{Prompt: handstamp.Prompt{Authorize: consent}}
	transport := &mcp.StreamableClientTransport{
		Endpoint:     server.MCPURL(),
		OAuthHandler: client.Handler(server.MCPURL()),
	}
	fmt.Println(echo(transport, "hello"))
	// Output: hello
}

// echo calls the tool of the lab's server that returns the text it gets.
func echo(transport mcp.Transport, text string) string {
	ctx := context.Background()
	client := mcp.NewClient(&mcp.Implementation{Name: "example", Version: "1"}, nil)
	session, err := client.Connect(ctx, transport, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	result, err := session.CallTool(ctx, &mcp.CallToolParams{
		Name: "echo", Arguments: map[string]any{"text": text},
	})
	if err != nil || result.IsError {
		log.Fatal(err, result)
	}
	return result.Content[0].(*mcp.TextContent).Text
}

// startServer stands for a protected MCP server somewhere.
func startServer() *lab.Server {
	server, err := lab.StartWith(lab.NoneFirst(), lab.Options{MCP: mcpserver.Handler()})
	if err != nil {
		log.Fatal(err)
	}
	return server
}

// consent stands for an application that shows the authorization URL to its user and receives
// the callback at its redirect URI. Without it the system's browser opens.
func consent(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
	return lab.Consent(ctx, r.URL)
}
