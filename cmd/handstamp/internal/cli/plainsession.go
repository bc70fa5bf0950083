package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// plainSession is an MCP session of the demo and the lab: the least that is a client of
// Streamable HTTP, without the bridge, so that what a server sees is what the library does.
type plainSession struct {
	client *http.Client
	url    string
	id     string // that the server gave it
	count  int    // of its requests
}

// request sends a request and returns the result of the response.
func (s *plainSession) request(
	ctx context.Context, method string, params map[string]any,
) (json.RawMessage, error) {
	s.count++
	body, err := s.send(ctx, map[string]any{"id": s.count, "method": method, "params": params})
	if err != nil {
		return nil, err
	}
	var message struct {
		Result json.RawMessage `json:"result"`
		Error  json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(body, &message); err != nil {
		return nil, fmt.Errorf("the response to %s cannot be read", method)
	}
	if message.Error != nil {
		return nil, errorOf(message.Error)
	}
	return message.Result, nil
}

// send sends a message and returns the body of the response.
func (s *plainSession) send(ctx context.Context, message map[string]any) ([]byte, error) {
	message["jsonrpc"] = "2.0"
	body, err := json.Marshal(message)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	return s.do(req)
}

// maxPlainResponse bounds a response, in bytes.
const maxPlainResponse = 1 << 20

func (s *plainSession) do(req *http.Request) ([]byte, error) {
	if s.id != "" {
		req.Header.Set("Mcp-Session-Id", s.id)
		req.Header.Set("Mcp-Protocol-Version", "2025-11-25")
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		return nil, fmt.Errorf("the server returned %s", resp.Status)
	}
	if id := resp.Header.Get("Mcp-Session-Id"); id != "" {
		s.id = id
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxPlainResponse))
}

// close ends the session at the server, which forgets it by itself where that fails.
func (s *plainSession) close() {
	if s.id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, s.url, nil)
	if err == nil {
		_, _ = s.do(req)
	}
}
