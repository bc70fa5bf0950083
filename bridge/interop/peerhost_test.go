package interop

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// application is an MCP host that nobody here wrote.
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
	list := []application{{name: "Go SDK", from: "github.com/modelcontextprotocol/go-sdk", modern: true, open: openGo}}
	for _, p := range []struct{ name, environment, kind, from string }{
		{"Python SDK 1", "1", "sdk", "mcp"}, {"Python SDK 2", "2", "sdk", "mcp"},
		{"FastMCP 2", "1", "fastmcp", "fastmcp"}, {"FastMCP 4", "2", "fastmcp", "fastmcp"},
	} {
		if !hasPython(t, p.environment) {
			t.Logf("without %s, a package of PyPI: run make interop-sdk", p.name)
			continue
		}
		driver := startPython(t, p.environment, p.kind)
		list = append(list, application{name: p.name, from: "pypi:" + p.environment + ":" + p.from,
			modern: p.environment == "2", open: driver.open})
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
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Role: "assistant", Model: "none", Content: &mcp.TextContent{Text: "sampled"}}, nil
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
	s.ClientSession, err = client.Connect(ctx, &mcp.CommandTransport{Command: exec.Command(command[0], command[1:]...)}, nil)
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
	return &outcome{said(&mcp.CallToolResult{Content: result.Content}, nil), structured, result.IsError, s.reported(args)}, err
}

// reported returns the progress of a call with as many steps as its arguments say: the
// SDK hands a result over before it has handled what came ahead of it.
func (s *goSession) reported(args map[string]any) (progress []float64) {
	steps, ok := cmp.Or(args["to"], args["steps"]).(int)
	if !ok {
		return nil
	}
	eventually(endPatience, func() bool {
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

// pythonHost is host.py, which has many sessions.
type pythonHost struct {
	t     *testing.T
	stdin io.WriteCloser
	log   lockedBuffer
	gone  chan struct{} // closed when it has said its last

	mu       sync.Mutex // guards what follows, and writing to stdin
	last     int
	waits    map[int]chan pythonReply
	sessions int
}

type pythonReply struct {
	ID     int
	Result json.RawMessage
	Error  string
}

func startPython(t *testing.T, environment, kind string) *pythonHost {
	t.Helper()
	p := &pythonHost{t: t, waits: make(map[int]chan pythonReply), gone: make(chan struct{})}
	cmd := exec.Command(python(environment), "-W", "ignore", "host.py", kind)
	ownGroup(cmd)
	cmd.Stderr = &p.log
	var err error
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.hear(stdout)
	t.Cleanup(func() {
		p.stdin.Close()
		ended := eventually(endPatience, func() bool {
			select {
			case <-p.gone:
				return true
			default:
				return false
			}
		})
		if !ended {
			t.Errorf("host.py %s does not end", kind)
		}
		killGroup(cmd)
		if err := cmd.Wait(); err != nil && ended {
			t.Errorf("host.py %s: %v\n%s", kind, err, tail(p.log.String()))
		}
	})
	return p
}

func (p *pythonHost) hear(stdout io.Reader) {
	defer close(p.gone)
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var reply pythonReply
		if err := json.Unmarshal(lines.Bytes(), &reply); err != nil {
			p.t.Errorf("host.py: %v", err)
			return
		}
		p.mu.Lock()
		waiting := p.waits[reply.ID]
		delete(p.waits, reply.ID)
		p.mu.Unlock()
		if waiting != nil {
			waiting <- reply
		}
	}
}

// order gives an order and returns the result.
func (p *pythonHost) order(ctx context.Context, order map[string]any, into any) error {
	reply := make(chan pythonReply, 1)
	p.mu.Lock()
	p.last++
	p.waits[p.last] = reply
	order["id"] = p.last
	line, err := json.Marshal(order)
	if err == nil {
		_, err = p.stdin.Write(append(line, '\n'))
	}
	p.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case got := <-reply:
		if got.Error != "" {
			return errors.New(got.Error)
		}
		if into == nil {
			return nil
		}
		return json.Unmarshal(got.Result, into)
	case <-p.gone:
		return errors.New("host.py has ended")
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pythonHost) open(ctx context.Context, _ *testing.T, bridge func() []string) (session, error) {
	p.mu.Lock()
	p.sessions++
	s := &pythonSession{p, p.sessions}
	p.mu.Unlock()
	return s, p.order(ctx, map[string]any{"session": s.number, "do": "open", "command": bridge()}, nil)
}

type pythonSession struct {
	host   *pythonHost
	number int
}

func (s *pythonSession) do(ctx context.Context, do string, with map[string]any, into any) error {
	order := map[string]any{"session": s.number, "do": do}
	for key, value := range with {
		order[key] = value
	}
	return s.host.order(ctx, order, into)
}

func (s *pythonSession) tools(ctx context.Context) (names []string, err error) {
	return names, s.do(ctx, "tools", nil, &names)
}

func (s *pythonSession) call(ctx context.Context, tool string, args map[string]any) (*outcome, error) {
	if args == nil {
		args = map[string]any{}
	}
	got := new(outcome)
	err := s.do(ctx, "call", map[string]any{"name": tool, "arguments": args}, got)
	return got, err
}

func (s *pythonSession) read(ctx context.Context, uri string) (text string, err error) {
	return text, s.do(ctx, "read", map[string]any{"uri": uri}, &text)
}

func (s *pythonSession) prompt(ctx context.Context, name string, args map[string]string) (text string, err error) {
	return text, s.do(ctx, "prompt", map[string]any{"name": name, "arguments": args}, &text)
}

func (s *pythonSession) close(ctx context.Context) error { return s.do(ctx, "close", nil, nil) }

// inspector is the CLI of MCP Inspector, which begins a session for each request.
type inspector struct {
	t      *testing.T
	node   string
	args   []string
	bridge func() []string
}

func (i *inspector) run(ctx context.Context, into any, method string, args ...string) error {
	all := append(slices.Clone(i.args), i.bridge()...)
	cmd := exec.CommandContext(ctx, i.node, append(append(all, "--method", method), args...)...)
	cmd.Env = append(cmd.Environ(), "HOME="+i.t.TempDir(), "NODE_NO_WARNINGS=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	// The exit code tells of a tool's error; the result is there all the same.
	if err != nil && cmd.ProcessState.ExitCode() != inspectorToolError {
		return fmt.Errorf("inspector: %w\n%s%s", err, tail(stderr.String()), tail(string(out)))
	}
	return json.Unmarshal(out, into)
}

// inspectorToolError is its exit code where a tool has returned an error.
const inspectorToolError = 5

type inspectorContent struct{ Text string }

func (i *inspector) tools(ctx context.Context) ([]string, error) {
	var list struct{ Tools []struct{ Name string } }
	err := i.run(ctx, &list, "tools/list")
	var names []string
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
	}
	return names, err
}

func (i *inspector) call(ctx context.Context, tool string, args map[string]any) (*outcome, error) {
	line := []string{"--tool-name", tool}
	for name, value := range args {
		line = append(line, "--tool-arg", fmt.Sprintf("%s=%v", name, value))
	}
	var result struct {
		Content           []inspectorContent
		StructuredContent json.RawMessage
		IsError           bool
	}
	err := i.run(ctx, &result, "tools/call", line...)
	got := &outcome{Structured: result.StructuredContent, IsError: result.IsError}
	for _, c := range result.Content {
		got.Text += c.Text
	}
	return got, err
}

func (i *inspector) read(ctx context.Context, uri string) (string, error) {
	var result struct{ Contents []inspectorContent }
	if err := i.run(ctx, &result, "resources/read", "--uri", uri); err != nil || len(result.Contents) == 0 {
		return "", err
	}
	return result.Contents[0].Text, nil
}

func (i *inspector) prompt(ctx context.Context, name string, args map[string]string) (string, error) {
	line := []string{"--prompt-name", name}
	for name, value := range args {
		line = append(line, "--prompt-args", name+"="+value)
	}
	var result struct {
		Messages []struct{ Content inspectorContent }
	}
	if err := i.run(ctx, &result, "prompts/get", line...); err != nil || len(result.Messages) == 0 {
		return "", err
	}
	return result.Messages[0].Content.Text, nil
}

func (i *inspector) close(context.Context) error { return nil }
