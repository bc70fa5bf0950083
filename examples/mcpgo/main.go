// Command mcpgo calls a tool of a remote MCP server with mark3labs/mcp-go.
//
//	go run ./mcpgo https://mcp.example.com/mcp echo '{"text":"hello"}'
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/store/filestore"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: mcpgo URL TOOL ARGUMENTS")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, serverURL, tool, arguments string) error {
	store, err := filestore.User(filestore.Options{})
	if err != nil {
		return err
	}
	auth := &handstamp.Client{Store: store}
	defer auth.Close(context.Background())
	c, err := client.NewStreamableHttpClient(serverURL,
		transport.WithHTTPBasicClient(auth.HTTPClient(serverURL)))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Start(ctx); err != nil {
		return err
	}
	var initialize mcp.InitializeRequest
	// The newest version that begins with initialize.
	initialize.Params.ProtocolVersion = mcp.ProtocolVersion20251125
	initialize.Params.ClientInfo = mcp.Implementation{Name: "mcpgo", Version: "1"}
	if _, err := c.Initialize(ctx, initialize); err != nil {
		return err
	}
	var call mcp.CallToolRequest
	call.Params.Name, call.Params.Arguments = tool, json.RawMessage(arguments)
	result, err := c.CallTool(ctx, call)
	if err != nil {
		return err
	}
	for _, content := range result.Content {
		if text, ok := mcp.AsTextContent(content); ok {
			fmt.Println(text.Text)
		}
	}
	if result.IsError {
		return errors.New("the tool reports an error")
	}
	return nil
}
