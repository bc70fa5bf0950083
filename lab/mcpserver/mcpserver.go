// Package mcpserver is an MCP server made with the official Go SDK, to stand
// behind the lab's bearer check:
//
//	lab.StartWith(habits, lab.Options{MCP: mcpserver.Handler()})
//
// It is a package of its own so that package lab stays free of other modules.
package mcpserver

import (
	"context"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/handstamp/handstamp/lab"
)

// callerHeader carries who is calling to the tools, which see the headers of
// their request but not its context.
const callerHeader = "Lab-Caller"

// EchoInput is what the echo tool takes.
type EchoInput struct {
	Text string `json:"text" jsonschema:"what to return"`
}

// Handler returns an MCP server over Streamable HTTP with sessions and two tools: echo
// returns its text, whoami the ID of the client that calls. It checks no tokens itself.
func Handler() http.Handler {
	server := mcp.NewServer(&mcp.Implementation{Name: "handstamp-lab", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "echo", Description: "Returns its text."}, echo)
	mcp.AddTool(server, &mcp.Tool{Name: "whoami", Description: "Returns the ID of the client that calls."}, whoami)
	inner := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		r.Header.Del(callerHeader)
		if caller, ok := lab.CallerFrom(r.Context()); ok {
			r.Header.Set(callerHeader, caller.ClientID)
		}
		inner.ServeHTTP(w, r)
	})
}

func echo(_ context.Context, _ *mcp.CallToolRequest, in EchoInput) (*mcp.CallToolResult, any, error) {
	return text(in.Text), nil, nil
}

func whoami(_ context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
	if caller := r.Extra.Header.Get(callerHeader); caller != "" {
		return text(caller), nil, nil
	}
	return text("anonymous"), nil, nil
}

func text(s string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s}}}
}
