package cli

import (
	"cmp"
	"context"
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

// try makes one authorized request to the MCP server: the one that opens a
// session, which every server supports.
func (s *statusCommand) try(ctx context.Context, t *target) error {
	t.local = false
	c, err := s.client(t, &loginOptions{}, handstamp.LoginNever)
	if err != nil {
		return err
	}
	const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize",` +
		`"params":{"protocolVersion":"2025-11-25","capabilities":{},` +
		`"clientInfo":{"name":"handstamp","version":"1"}}}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, strings.NewReader(initialize))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	httpClient := c.HTTPClient(t.url)
	resp, err := httpClient.Do(req)
	switch {
	case err != nil && kindOf(err) != kindOther: // the library's
		return err
	case err != nil:
		return &failure{kind: kindUnreachable,
			message: "the MCP server cannot be reached; the credential is kept", err: err}
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
	if id := resp.Header.Get("Mcp-Session-Id"); id != "" {
		defer endSession(ctx, httpClient, t.url, id)
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
	}
	return nil
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
