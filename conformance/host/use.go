package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/handstamp/handstamp/conformance/given"
)

const (
	// signInTool is what the bridge offers while the user has to sign in. A model
	// would see what it is for.
	signInTool = "sign_in"

	// schemaTool and schemaEcho are the suite's tool with a rich schema, and the one
	// that the schema is to be sent to, as it arrived.
	schemaTool = "json_schema_2020_12_tool"
	schemaEcho = "json_schema_echo"

	// signInTimeout is how long the server's own tools are waited for: most of the host's time.
	signInTimeout = 20 * time.Second
	pollInterval  = 500 * time.Millisecond
)

// use does what a host does with a server: it looks at all that the server
// offers and makes use of it. calls are the calls to make; nil: each tool once.
func use(ctx context.Context, session *mcp.ClientSession, changed <-chan struct{}, calls []given.Call) error {
	tools, err := serverTools(ctx, session, changed)
	if err != nil {
		return err
	}
	if calls == nil {
		for _, tool := range tools {
			calls = append(calls, given.Call{Name: tool.Name, Arguments: arguments(tool, tools)})
		}
	}
	for _, c := range calls {
		// A server may list tools that it does not mean to have called.
		_, err := session.CallTool(ctx, &mcp.CallToolParams{Name: c.Name, Arguments: c.Arguments})
		if wire, ok := errors.AsType[*jsonrpc.Error](err); err != nil && (!ok || wire.Code != jsonrpc.CodeMethodNotFound) {
			return err
		}
	}
	can := session.InitializeResult().Capabilities
	if can.Resources != nil {
		if err := readAll(ctx, session); err != nil {
			return err
		}
	}
	if can.Prompts != nil {
		return getAll(ctx, session)
	}
	return nil
}

// readAll reads each resource.
func readAll(ctx context.Context, session *mcp.ClientSession) error {
	list, err := session.ListResources(ctx, nil)
	if err != nil {
		return err
	}
	for _, resource := range list.Resources {
		if _, err := session.ReadResource(ctx, &mcp.ReadResourceParams{URI: resource.URI}); err != nil {
			return err
		}
	}
	return nil
}

// getAll gets each prompt.
func getAll(ctx context.Context, session *mcp.ClientSession) error {
	list, err := session.ListPrompts(ctx, nil)
	if err != nil {
		return err
	}
	for _, prompt := range list.Prompts {
		arguments := make(map[string]string)
		for _, a := range prompt.Arguments {
			arguments[a.Name] = "text"
		}
		params := &mcp.GetPromptParams{Name: prompt.Name, Arguments: arguments}
		if _, err := session.GetPrompt(ctx, params); err != nil {
			return err
		}
	}
	return nil
}

// serverTools lists the tools. While the bridge offers the sign-in placeholder, it waits
// for the user to sign in.
func serverTools(ctx context.Context, session *mcp.ClientSession, changed <-chan struct{}) ([]*mcp.Tool, error) {
	late := time.After(signInTimeout)
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		list, err := session.ListTools(ctx, nil)
		if err != nil {
			return nil, err
		}
		if len(list.Tools) != 1 || list.Tools[0].Name != signInTool {
			return list.Tools, nil
		}
		select {
		case <-changed:
		case <-poll.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-late:
			return nil, stuck(ctx, session)
		}
	}
}

// stuck says why the user has not signed in.
func stuck(ctx context.Context, session *mcp.ClientSession) error {
	said, err := session.CallTool(ctx, &mcp.CallToolParams{Name: signInTool})
	if err != nil {
		return err
	}
	var words []string
	for _, content := range said.Content {
		if text, ok := content.(*mcp.TextContent); ok {
			words = append(words, text.Text)
		}
	}
	return errors.New("the user has not signed in. The bridge's message: " + strings.Join(words, " "))
}

// consent responds to a server's elicitation: yes, with the required fields.
func consent(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
	return &mcp.ElicitResult{Action: "accept", Content: example(r.Params.RequestedSchema)}, nil
}

// arguments returns the arguments to call a tool with: what its schema requires.
// The suite's tool for a schema is to be sent the one of another tool.
func arguments(tool *mcp.Tool, all []*mcp.Tool) map[string]any {
	if tool.Name == schemaEcho {
		for _, other := range all {
			if other.Name == schemaTool {
				return map[string]any{"schema": other.InputSchema}
			}
		}
	}
	return example(tool.InputSchema)
}

// example returns an object with the members that a schema requires.
func example(schema any) map[string]any {
	made := make(map[string]any)
	object, _ := schema.(map[string]any)
	properties, _ := object["properties"].(map[string]any)
	required, _ := object["required"].([]any)
	for _, name := range required {
		if name, ok := name.(string); ok {
			property, _ := properties[name].(map[string]any)
			made[name] = value(property)
		}
	}
	return made
}

// value returns a value that a simple schema accepts.
func value(schema map[string]any) any {
	if v, ok := schema["default"]; ok {
		return v
	}
	if choices, ok := schema["enum"].([]any); ok && len(choices) > 0 {
		return choices[0]
	}
	switch schema["type"] {
	case "integer", "number":
		return 3
	case "boolean":
		return true
	case "array":
		return []any{}
	case "object":
		return example(schema)
	default:
		return "text"
	}
}
