// Command gosdk calls a tool of a remote MCP server with the official Go SDK.
//
//	go run ./gosdk https://mcp.example.com/mcp echo '{"text":"hello"}'
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/store/filestore"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: gosdk URL TOOL ARGUMENTS")
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
	transport := &mcp.StreamableClientTransport{
		Endpoint:   serverURL,
		HTTPClient: auth.HTTPClient(serverURL),
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "gosdk", Version: "1"}, nil)
	session, err := client.Connect(ctx, transport, nil)
	if err != nil {
		return err
	}
	defer session.Close()
	result, err := session.CallTool(ctx, &mcp.CallToolParams{
		Name: tool, Arguments: json.RawMessage(arguments),
	})
	if err != nil {
		return err
	}
	for _, content := range result.Content {
		if text, ok := content.(*mcp.TextContent); ok {
			fmt.Println(text.Text)
		}
	}
	if result.IsError {
		return errors.New("the tool reports an error")
	}
	return nil
}
