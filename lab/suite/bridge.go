package suite

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
)

// Bridge is a client that is a stdio MCP server in front of a remote one, such
// as an MCP host starts. The suite is the host.
type Bridge struct {
	// Command is as in Program.
	Command []string
	// Env is added to the environment, as os.Environ has it.
	Env []string
}

// String returns the command.
func (b *Bridge) String() string { return strings.Join(b.Command, " ") }

// repeatPause is how soon an MCP host repeats a call that a bridge rejected while the user must
// sign in.
const repeatPause = 50 * time.Millisecond

// Session starts the bridge, initializes, calls the tool, and closes its input.
func (b *Bridge) Session(outer context.Context, s Session) (err error) {
	ctx, cancel := context.WithCancel(outer)
	defer cancel()
	cmd := command(ctx, b.Command, b.Env, s)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	h := &host{in: in, out: bufio.NewReaderSize(out, 64<<10)}
	failed := h.session(ctx, s)
	// A host closes the input, and kills what does not go then.
	_ = in.Close()
	timer := time.AfterFunc(endTimeout, cancel)
	_, _ = io.Copy(io.Discard, h.out)
	ended := cmd.Wait()
	late := !timer.Stop()
	if ctx.Err() != nil {
		killGroup(cmd)
	}
	if late && failed == nil {
		failed = fmt.Errorf("it did not end within %v of its input: %w", endTimeout, ended)
	}
	if failed != nil {
		return withOutput(overdue(outer, failed), &stderr)
	}
	return nil
}

// host speaks JSON-RPC with a bridge, one request at a time.
type host struct {
	in   io.Writer
	out  *bufio.Reader
	last int
}

// session does what an MCP host does for one tool call.
func (h *host) session(ctx context.Context, s Session) error {
	_, err := h.request("initialize", map[string]any{
		"protocolVersion": "2025-06-18",
		"capabilities":    struct{}{},
		"clientInfo":      map[string]string{"name": "handstamp-lab", "version": "1"},
	})
	if err != nil {
		return fmt.Errorf("initialize: %w", err)
	}
	if err := h.send(map[string]any{"jsonrpc": "2.0", "method": "notifications/initialized"}); err != nil {
		return err
	}
	for {
		err := h.call()
		_, rejected := errtype.As[*rpcError](err)
		if !s.Retry || !rejected && !errors.Is(err, errNoResult) {
			return err
		}
		select {
		case <-time.After(repeatPause):
		case <-ctx.Done():
			return err
		}
	}
}

// call calls the tool.
func (h *host) call() error {
	result, err := h.request("tools/call",
		map[string]any{"name": "echo", "arguments": map[string]string{"text": "hello"}})
	if err != nil {
		return err
	}
	var tool struct {
		IsError bool
		Content []struct{ Text string }
	}
	if json.Unmarshal(result, &tool) != nil || tool.IsError || len(tool.Content) == 0 ||
		tool.Content[0].Text != "hello" {
		return errNoResult
	}
	return nil
}

// rpcError is what a JSON-RPC response has in place of a result.
type rpcError struct {
	Code    int
	Message string
}

func (e *rpcError) Error() string {
	return fmt.Sprintf("the bridge returned %d: %s", e.Code, e.Message)
}

func (h *host) send(message any) error {
	raw, err := json.Marshal(message)
	if err != nil {
		return err
	}
	_, err = h.in.Write(append(raw, '\n'))
	return err
}

// request sends a request and reads until its response has come.
func (h *host) request(method string, params any) (json.RawMessage, error) {
	h.last++
	if err := h.send(map[string]any{"jsonrpc": "2.0", "id": h.last, "method": method, "params": params}); err != nil {
		return nil, err
	}
	for {
		line, err := h.out.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("the bridge has ended: %w", err)
		}
		var response struct {
			ID     *int
			Method string
			Result json.RawMessage
			Error  *rpcError
		}
		if json.Unmarshal(line, &response) != nil || response.Method != "" ||
			response.ID == nil || *response.ID != h.last {
			continue
		}
		if response.Error != nil {
			return nil, response.Error
		}
		return response.Result, nil
	}
}
