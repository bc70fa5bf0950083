package interop

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"os/exec"
	"slices"
	"sync"
	"testing"

	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// application is an MCP host of another project.
type application struct {
	name  string
	from  string   // its package
	lacks []string // the trials that it has no means for
	once  bool     // each of its requests is a process and a session of its own

	modern bool // it speaks 2026-07-28 where the server does

	// open begins a session with the server that this command starts.
	open func(ctx context.Context, t *testing.T, bridge func() []string) (session, error)
}

// session is what the tests do with an application.
type session interface {
	tools(ctx context.Context) ([]string, error)
	call(ctx context.Context, tool string, args map[string]any) (*outcome, error)
	read(ctx context.Context, uri string) (string, error)
	prompt(ctx context.Context, name string, args map[string]string) (string, error)
	close(ctx context.Context) error
}

// outcome is what a tool has returned.
type outcome struct {
	Text       string
	Structured json.RawMessage
	IsError    bool
	Progress   []float64
}

// applications returns the hosts that are installed here; the Python ones are started.
func applications(t *testing.T, node string) []application {
	list := []application{{name: "Go SDK", from: "github.com/modelcontextprotocol/go-sdk",
		modern: true, open: openGo}}
	for _, p := range []struct{ name, environment, kind, from string }{
		{"Python SDK 1", "1", "sdk", "mcp"}, {"Python SDK 2", "2", "sdk", "mcp"},
		{"FastMCP 2", "1", "fastmcp", "fastmcp"}, {"FastMCP 4", "2", "fastmcp", "fastmcp"},
	} {
		if !hasPython(p.environment) {
			t.Logf("without %s, a package of PyPI: run make interop-sdk", p.name)
			continue
		}
		driver := startPython(t, p.environment, p.kind)
		list = append(list, application{name: p.name,
			from: "pypi:" + p.environment + ":" + p.from, modern: p.environment == "2", open: driver.open})
	}
	const inspectorPackage = "@modelcontextprotocol/inspector"
	return append(list, application{name: "Inspector", from: inspectorPackage, once: true,
		lacks: []string{"progress", "large", "elicitation", "sampling", "roots"},
		open: func(_ context.Context, t *testing.T, bridge func() []string) (session, error) {
			launcher := "peers/node_modules/" + inspectorPackage + "/clients/launcher/build/index.js"
			return &inspector{t: t, node: node, args: []string{launcher, "--cli"}, bridge: bridge}, nil
		}})
}

// goSession is a session of the Go SDK.
type goSession struct {
	*mcp.ClientSession
	mu       sync.Mutex
	progress []float64 // of the only call that reports any
}

func openGo(ctx context.Context, t *testing.T, bridge func() []string) (session, error) {
	s := new(goSession)
	client := mcp.NewClient(&mcp.Implementation{Name: "go-host", Version: "1"}, &mcp.ClientOptions{
		ElicitationHandler: func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			content := map[string]any{"colour": "blue"}
			if text, _ := json.Marshal(r.Params.RequestedSchema); bytes.Contains(text, []byte(`"name"`)) {
				content = map[string]any{"name": "Ada"}
			}
			return &mcp.ElicitResult{Action: "accept", Content: content}, nil
		},
		CreateMessageHandler: func(
			context.Context, *mcp.CreateMessageRequest,
		) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Role: "assistant", Model: "none",
				Content: &mcp.TextContent{Text: "sampled"}}, nil
		},
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.progress = append(s.progress, r.Params.Progress)
		},
	})
	client.AddRoots(&mcp.Root{URI: "file:///peers", Name: "peers"})
	command := bridge()
	var err error
	transport := &mcp.CommandTransport{Command: exec.Command(command[0], command[1:]...)}
	s.ClientSession, err = client.Connect(ctx, transport, nil)
	return s, err
}

func (s *goSession) tools(ctx context.Context) ([]string, error) {
	list, err := s.ListTools(ctx, nil)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
	}
	return names, nil
}

func (s *goSession) call(ctx context.Context, tool string, args map[string]any) (*outcome, error) {
	params := &mcp.CallToolParams{Name: tool, Arguments: args}
	if args == nil {
		params.Arguments = map[string]any{}
	}
	params.SetProgressToken(tool)
	result, err := s.CallTool(ctx, params)
	if err != nil {
		return nil, err
	}
	structured, err := json.Marshal(result.StructuredContent)
	text := said(&mcp.CallToolResult{Content: result.Content}, nil)
	return &outcome{text, structured, result.IsError, s.reported(args)}, err
}

// reported returns the progress of a call with as many steps as its arguments say: the
// SDK hands a result over before it has handled what came ahead of it.
func (s *goSession) reported(args map[string]any) (progress []float64) {
	steps, ok := cmp.Or(args["to"], args["steps"]).(int)
	if !ok {
		return nil
	}
	proctest.Holds(endTimeout, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		progress = slices.Clone(s.progress)
		return len(progress) >= steps
	})
	return progress
}

func (s *goSession) read(ctx context.Context, uri string) (string, error) {
	result, err := s.ReadResource(ctx, &mcp.ReadResourceParams{URI: uri})
	if err != nil || len(result.Contents) == 0 {
		return "", err
	}
	return result.Contents[0].Text, nil
}

func (s *goSession) prompt(ctx context.Context, name string, args map[string]string) (string, error) {
	result, err := s.GetPrompt(ctx, &mcp.GetPromptParams{Name: name, Arguments: args})
	if err != nil || len(result.Messages) == 0 {
		return "", err
	}
	return said(&mcp.CallToolResult{Content: []mcp.Content{result.Messages[0].Content}}, nil), nil
}

func (s *goSession) close(context.Context) error { return s.Close() }
