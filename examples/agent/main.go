// Command agent is the loop of an agent: it lists the tools of a remote MCP server, has a
// planner choose one for each line that it reads, calls it and prints the result. It runs
// for hours: a token that expires meanwhile is refreshed without a word.
//
//	echo hello | go run ./agent https://mcp.example.com/mcp
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/store/filestore"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: agent URL")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, serverURL string, tasks io.Reader, results io.Writer) error {
	store, err := filestore.User(filestore.Options{})
	if err != nil {
		return err
	}
	// An agent without a user at its side signs in beforehand (handstamp login --store file URL),
	// and reports that instead of opening a browser that no user sees.
	auth := &handstamp.Client{Store: store, LoginPolicy: handstamp.LoginNever}
	defer auth.Close(context.Background())
	client := mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1"}, nil)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: serverURL, HTTPClient: auth.HTTPClient(serverURL),
	}, nil)
	if err != nil {
		return explain(serverURL, err)
	}
	defer session.Close()
	tools, err := session.ListTools(ctx, nil)
	if err != nil {
		return explain(serverURL, err)
	}
	lines := bufio.NewScanner(tasks)
	for lines.Scan() {
		call := plan(tools.Tools, lines.Text())
		if call == nil {
			fmt.Fprintln(results, "no tool fits")
			continue
		}
		result, err := session.CallTool(ctx, call)
		if err := explain(serverURL, err); err != nil {
			return err
		}
		outcome := call.Name
		if result.IsError { // for the planner to see; the login is good
			outcome += " failed"
		}
		for _, content := range result.Content {
			if text, ok := content.(*mcp.TextContent); ok {
				fmt.Fprintf(results, "%s: %s\n", outcome, text.Text)
			}
		}
	}
	return lines.Err()
}

// plan stands for a model: it chooses the tool for a task.
func plan(tools []*mcp.Tool, task string) *mcp.CallToolParams {
	for _, tool := range tools {
		if tool.Name == "echo" {
			return &mcp.CallToolParams{Name: tool.Name, Arguments: map[string]any{"text": task}}
		}
	}
	return nil
}

// explain separates what only a user can fix from what ends by itself.
func explain(serverURL string, err error) error {
	switch {
	case errors.Is(err, handstamp.ErrLoginRequired):
		return fmt.Errorf("sign in once with: handstamp login --store file %s (%w)", serverURL, err)
	case errors.Is(err, handstamp.ErrUnreachable):
		return fmt.Errorf("try again later; the login is kept: %w", err)
	}
	return err
}
