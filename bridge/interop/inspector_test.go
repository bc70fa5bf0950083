package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"testing"
)

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
