package handstamp

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/sse"
)

const (
	lastSessionVersion = "2025-11-25" // of MCP, with sessions
	firstModernVersion = "2026-07-28" // without
)

// tryToken sends initialize.
func (in *inspector) tryToken(ctx context.Context) {
	var token *cachedToken
	switch r := in.found.reply; {
	case in.out.Status.Problem != "" || r == nil:
		return
	case in.rec.Grant.Usable("", time.Now()):
		token = in.tokens.use(in.rec)
	case r.mcp && r.status/100 == 2:
	default:
		return
	}
	waits := 0
	for {
		m := in.initialize(ctx, token)
		in.out.MCP = m
		if !m.Rejected || !(tokenProver{in.credential}).awaitFresh(ctx, token, &waits) {
			return
		}
	}
}

// initialize opens a session at the MCP server and ends it.
func (in *inspector) initialize(ctx context.Context, token *cachedToken) *MCPTrial {
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	m, resp := &MCPTrial{Token: token != nil}, (*http.Response)(nil)
	for _, try := range []func(context.Context) (*http.Request, error){in.newInitialize, in.newDiscover} {
		req, err := try(ctx)
		if err == nil {
			resp, err = in.sendProved(req, token)
		}
		if err != nil {
			m.Err = in.server.unreachableError(ctx, err)
			return m
		}
		m.read(resp, in.secrets.challengeOf(resp, token))
		m.Name, m.Version = in.secrets.shown(m.Name), in.secrets.shown(m.Version)
		in.endSession(ctx, resp, token)
		if m.Version != "" || m.Rejected || m.Status == http.StatusForbidden || m.Status >= 500 {
			return m
		}
	}
	if m.Status == http.StatusMethodNotAllowed {
		in.openStream(ctx, token, m)
	}
	return m
}

// openStream begins the stream of a server of the HTTP+SSE transport, and ends it.
func (in *inspector) openStream(ctx context.Context, token *cachedToken, m *MCPTrial) {
	req, err := newProbe(ctx, http.MethodGet, in.server.target)
	if err != nil {
		return
	}
	resp, err := in.sendProved(req, token)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	challenge := in.secrets.challengeOf(resp, token)
	m.Status, m.Error = resp.StatusCode, challenge.Error
	m.Rejected = m.Status == http.StatusUnauthorized || m.Status == http.StatusForbidden && rejectsToken(challenge)
	if m.SSE = m.Status/100 == 2 && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream"); m.SSE {
		m.Version = "2024-11-05"
	}
}

// sendProved sends a request with the token, and once more for each nonce that the server wants.
func (in *inspector) sendProved(req *http.Request, token *cachedToken) (*http.Response, error) {
	resp, err := in.server.send(req, token)
	for state := (retryState{}); err == nil && token.wantsNonce(resp) && state.forNonce(token, resp) != nil; {
		resp.Body.Close()
		again := req.Clone(req.Context())
		if req.GetBody != nil { // nil: the request has no body
			again.Body, err = req.GetBody()
		}
		if err == nil {
			resp, err = in.server.send(again, token)
		}
	}
	return resp, err
}

// endSession ends the session that a response began.
func (in *inspector) endSession(ctx context.Context, resp *http.Response, token *cachedToken) {
	id := resp.Header.Get("Mcp-Session-Id")
	if id == "" {
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, in.server.target, nil)
	if err != nil {
		return
	}
	req.Header.Set("Mcp-Session-Id", id)
	if resp, err := in.sendProved(req, token); err == nil {
		resp.Body.Close()
	}
}

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
	if json.Unmarshal(responseIn(resp), &message) != nil {
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

// responseIn returns the JSON-RPC response in an HTTP response, which is its body or an event: a
// server may send pings and log messages before it (MCP 2025-11-25, "Lifecycle").
func responseIn(resp *http.Response) []byte {
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
		var m struct{ Result, Error json.RawMessage }
		if json.Unmarshal(event.Data, &m) == nil && (m.Result != nil || m.Error != nil) {
			return event.Data
		}
	}
}
