package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/awake"
)

// checkTimeout bounds the trial of one login.
const checkTimeout = 30 * time.Second

// checkEntry tries a stored login: it refreshes the token if needed, and makes one
// request with it. The result replaces what was stored.
func (s *statusCommand) checkEntry(ctx context.Context, e *entry) {
	if e.State == handstamp.StateNone || e.unreadable() {
		return
	}
	bounded, cancel := awake.WithTimeout(ctx, cmp.Or(s.global.Timeout, checkTimeout), nil)
	defer cancel()
	err := s.try(bounded, e.target)
	if ctx.Err() == nil {
		e.Check = explain(ctx, advise(err, e.target))
	}
	e.checked = true
	if now, err := s.entry(ctx, e.target); err == nil {
		e.Status = now.Status
	}
}

// try makes one authorized request to the MCP server: the one that opens a session, or, where no POST is
// taken, the one that opens a stream of the HTTP+SSE transport.
func (s *statusCommand) try(ctx context.Context, t *target) error {
	t.local = false
	c, err := s.client(t, &loginOptions{}, handstamp.LoginNever)
	if err != nil {
		return err
	}
	httpClient := c.HTTPClient(t.url)
	const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize",` +
		`"params":{"protocolVersion":"2025-11-25","capabilities":{},` +
		`"clientInfo":{"name":"handstamp","version":"1"}}}`
	resp, isMCP, err := send(ctx, httpClient, http.MethodPost, t.url, initialize)
	if err != nil {
		return err
	}
	if id := resp.Header.Get("Mcp-Session-Id"); id != "" {
		defer endSession(ctx, httpClient, t.url, id)
	}
	if noServer(resp, isMCP) || resp.StatusCode == http.StatusMethodNotAllowed {
		got, isStream, err := send(ctx, httpClient, http.MethodGet, t.url, "")
		if err != nil {
			return err
		}
		if isStream || got.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusMethodNotAllowed {
			resp, isMCP = got, isStream
		}
	}
	switch {
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
		return &failure{kind: kindUnreachable,
			message: fmt.Sprintf("the MCP server returned %d; the credential is kept", resp.StatusCode)}
	case resp.StatusCode == http.StatusUnauthorized:
		return &failure{kind: kindLogin, message: "the MCP server rejects the token (401)"}
	case resp.StatusCode == http.StatusForbidden:
		return &failure{kind: kind{"denied", exitDenied},
			message: "the MCP server accepts the token, but denies access (403)"}
	case noServer(resp, isMCP):
		return &failure{kind: kindUsage, hint: "check the URL",
			message: fmt.Sprintf("there is no MCP server at this URL (%d)", resp.StatusCode)}
	}
	return nil
}

// noServer reports whether a response is that of a host without an MCP server at the URL.
func noServer(resp *http.Response, isMCP bool) bool {
	switch code := resp.StatusCode; {
	case isMCP, code >= 500, code == http.StatusUnauthorized, code == http.StatusForbidden,
		code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests:
		return false
	case code == http.StatusNotFound, code == http.StatusGone:
		return true
	}
	return strings.Contains(strings.ToLower(resp.Header.Get("Content-Type")), "html")
}

// send sends a request and closes the response. isMCP reports whether that is a message of MCP, or a stream of them.
func send(ctx context.Context, c *http.Client, method, url, body string) (resp *http.Response, isMCP bool, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, false, err
	}
	req.Header.Set("Accept", "text/event-stream")
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
	}
	resp, err = c.Do(req)
	switch {
	case err != nil && kindOf(err) != kindOther: // the library's
		return nil, false, err
	case err != nil:
		return nil, false, &failure{kind: kindUnreachable,
			message: "the MCP server cannot be reached; the credential is kept", err: err}
	}
	defer resp.Body.Close()
	if strings.HasPrefix(strings.ToLower(resp.Header.Get("Content-Type")), "text/event-stream") {
		return resp, resp.StatusCode/100 == 2, nil // it may never end
	}
	var message struct {
		JSONRPC string `json:"jsonrpc"`
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	isMCP = json.Unmarshal(text, &message) == nil && message.JSONRPC == "2.0"
	return resp, isMCP, nil
}

// endSession closes the session that the trial opened.
func endSession(ctx context.Context, c *http.Client, url, id string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, url, nil)
	if err != nil {
		return
	}
	req.Header.Set("Mcp-Session-Id", id)
	if resp, err := c.Do(req); err == nil {
		resp.Body.Close()
	}
}
