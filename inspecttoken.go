package handstamp

import (
	"context"
	"net/http"
	"strings"
	"time"
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
		if again.Body, err = req.GetBody(); err == nil {
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
