package handstamp

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/sse"
)

const (
	lastSessionVersion = "2025-11-25" // of MCP, with sessions
	firstModernVersion = "2026-07-28" // without
)

// newInitialize returns the request that opens a session (MCP 2025-11-25, "Lifecycle").
func (in *inspector) newInitialize(ctx context.Context) (*http.Request, error) {
	return in.newMessage(ctx, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"`+lastSessionVersion+
		`","capabilities":{},"clientInfo":{"name":"handstamp","version":"1"}}}`)
}

// newDiscover returns the request that a server without sessions takes in its place (MCP
// 2026-07-28).
func (in *inspector) newDiscover(ctx context.Context) (*http.Request, error) {
	req, err := in.newMessage(ctx, `{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{`+
		`"io.modelcontextprotocol/protocolVersion":"`+firstModernVersion+`","io.modelcontextprotocol/clientCapabilities":{},`+
		`"io.modelcontextprotocol/clientInfo":{"name":"handstamp","version":"1"}}}}`)
	if err == nil {
		req.Header.Set("Mcp-Protocol-Version", firstModernVersion)
		req.Header.Set("Mcp-Method", "server/discover")
	}
	return req, err
}

func (in *inspector) newMessage(ctx context.Context, message string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, in.server.target, strings.NewReader(message))
	if err != nil {
		return nil, &Error{Kind: ErrInvalidConfig, Server: in.serverURL, Err: err}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	return req, nil
}

// read takes what a response shows, and closes it.
func (m *MCPTrial) read(resp *http.Response, challenge oauth.BearerChallenge) {
	defer resp.Body.Close()
	m.Status, m.Error, m.Scope = resp.StatusCode, challenge.Error, challenge.Scope
	m.Rejected = m.Status == http.StatusUnauthorized || m.Status == http.StatusForbidden && rejectsToken(challenge)
	if m.Status/100 != 2 {
		return
	}
	var message struct {
		Result struct {
			ProtocolVersion   string   `json:"protocolVersion"`
			SupportedVersions []string `json:"supportedVersions"`
			ServerInfo        serverInfo
			Meta              struct {
				ServerInfo serverInfo `json:"io.modelcontextprotocol/serverInfo"`
			} `json:"_meta"`
		}
	}
	if json.Unmarshal(firstMessage(resp), &message) != nil {
		return
	}
	r := message.Result
	m.Version = oauth.Sanitize(r.ProtocolVersion)
	for _, version := range r.SupportedVersions {
		m.Version = max(m.Version, oauth.Sanitize(version))
	}
	m.Modern = m.Version >= firstModernVersion
	m.Name = oauth.Sanitize(strings.TrimSpace(r.ServerInfo.Name + r.Meta.ServerInfo.Name))
}

type serverInfo struct {
	Name string `json:"name"`
}

// firstMessage returns the first message in a response, which is its body or an event.
func firstMessage(resp *http.Response) []byte {
	body := io.LimitReader(resp.Body, maxProbeBody)
	if !strings.HasPrefix(strings.ToLower(resp.Header.Get("Content-Type")), "text/event-stream") {
		b, _ := io.ReadAll(body)
		return b
	}
	events := sse.NewReader(body, maxProbeBody)
	for {
		event, err := events.Next()
		if err != nil {
			return nil
		}
		if len(event.Data) > 0 {
			return []byte(event.Data)
		}
	}
}
