package handstamp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
)

const (
	// maxProbeBody is how much of a response is read to find out what sent it, in
	// bytes.
	maxProbeBody = 64 << 10

	probeTimeout   = 5 * time.Second  // of one request beside the first
	suggestTimeout = 10 * time.Second // of the search for the URL that was meant
)

// serverReply describes how a URL responds to a request without a token: whether
// there is an MCP server, and whether it wants a login.
type serverReply struct {
	status    int
	challenge oauth.BearerChallenge
	scheme    string // of a challenge, if none is Bearer: "Basic"
	mcp       bool   // the body is a message of MCP
	page      bool   // the body is a page for a browser

	clockAhead time.Duration // by how much the server's clock is ahead of this machine's
}

// readServerReply reads as much of a response as it takes to describe it, and
// closes it.
func readServerReply(resp *http.Response) *serverReply {
	defer resp.Body.Close()
	r := &serverReply{status: resp.StatusCode}
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		r.clockAhead = time.Until(at).Round(time.Second)
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		r.challenge = oauth.ParseBearerChallenge(resp.Header)
		if found := oauth.ParseChallenges(resp.Header.Values("WWW-Authenticate")); len(found) > 0 && !r.challenge.Found {
			r.scheme = found[0].Scheme
		}
	}
	contentType, _, _ := strings.Cut(strings.ToLower(resp.Header.Get("Content-Type")), ";")
	if strings.TrimSpace(contentType) == "text/event-stream" {
		r.mcp = resp.StatusCode/100 == 2 // which may never end: it is not read
		return r
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxProbeBody))
	var message struct {
		JSONRPC string `json:"jsonrpc"`
	}
	r.mcp = json.Unmarshal(body, &message) == nil && message.JSONRPC == "2.0"
	r.page = !r.mcp && (strings.Contains(contentType, "html") || bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")))
	return r
}

// wantsLogin reports whether the reply is that of a server that wants a token,
// even if nothing else at its host shows it.
func (r *serverReply) wantsLogin() bool {
	return r.challenge.Found || r.status == http.StatusUnauthorized && !r.page && r.scheme == ""
}

// nothingThere reports whether the reply is that of a host that has no MCP server
// at the URL.
func (r *serverReply) nothingThere() bool {
	switch {
	case r.mcp, r.challenge.Found, r.trouble(), r.status == http.StatusUnauthorized, r.status == http.StatusForbidden:
		return false
	}
	return r.page || r.status == http.StatusNotFound || r.status == http.StatusGone
}

// trouble reports whether the reply is that of a server, or of the gateway before it,
// which may respond otherwise later.
func (r *serverReply) trouble() bool {
	switch r.status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented:
		return false
	}
	return r.status >= 500
}

// unclear reports whether a GET may bring out more than the POST did: servers of
// the HTTP+SSE transport know nothing else at their URL.
func (r *serverReply) unclear() bool {
	return !r.mcp && !r.wantsLogin() && !r.trouble()
}

// closerReply returns the reply to a GET where that says more.
func (m *mcpServer) closerReply(ctx context.Context, r *serverReply) *serverReply {
	if r.unclear() {
		if got := m.probeURL(ctx, http.MethodGet, m.target); got != nil && (got.mcp || got.wantsLogin()) {
			return got
		}
	}
	return r
}

// checkTarget returns an error, before a client is registered anywhere, if the
// user's URL is not that of an MCP server. The resource metadata (nil: none) and
// the error of its discovery are what is known beside the reply.
func (d *discovery) checkTarget(ctx context.Context, r *serverReply, rm *oauth.ResourceMetadata, rmErr error) error {
	broken, _ := errtype.As[*oauth.ProtocolError](rmErr)
	switch {
	case d.config.Registration != nil && d.config.Registration.Issuer != "":
		return nil // the user knows this server
	case broken != nil && broken.Resource != "":
		if meant := d.server.meantURL(ctx, broken.Resource); meant != "" {
			e := protocolError(d.serverURL, rmErr)
			e.Hint = "did you mean " + meant + "?"
			return e
		}
	case r.nothingThere() && (rm == nil || !oauth.SameButSlash(rm.Resource, d.server.target)):
		if meant := d.server.meantURL(ctx, ""); meant != "" {
			e := d.server.noServerError(r)
			e.Hint = "did you mean " + meant + "?"
			return e
		}
		if rm == nil && rmErr == nil || errors.Is(rmErr, oauth.ErrNoMetadata) {
			// A host may have authorization server metadata for quite another
			// purpose: many websites are OpenID providers.
			return d.server.noServerError(r)
		}
	}
	return nil
}

// noLoginError returns why there is nothing to sign in to at a server that has no
// metadata of any kind, or nil where the reply alone is reason enough to try the
// default endpoints of MCP 2025-03-26.
func (m *mcpServer) noLoginError(r *serverReply) error {
	e := &Error{Kind: ErrProtocol, Server: m.serverURL}
	switch {
	case r == nil || r.wantsLogin():
		return nil
	case r.mcp && r.status != http.StatusUnauthorized && r.status != http.StatusForbidden:
		e.Kind, e.Message, e.Hint = ErrNoLoginNeeded, "this server needs no login: it responds without a token", "use it as it is"
	case r.trouble():
		e.Kind, e.Message, e.Hint = ErrServerUnreachable, "the MCP server cannot be reached: it responds with "+statusText(r.status), "try again"
	case r.scheme != "":
		e.Message = fmt.Sprintf("this server wants another kind of login: %s, and not OAuth", oauth.Sanitize(r.scheme))
	case r.status == http.StatusForbidden:
		e.Message = "the server rejects requests without a token, and names no authorization server"
	default:
		return m.noServerError(r)
	}
	return e
}

// noServerError returns the error of a URL that is not that of an MCP server.
func (m *mcpServer) noServerError(r *serverReply) *Error {
	what := statusText(r.status)
	switch {
	case r.page && r.status/100 == 2:
		what = "it is a web page"
	case r.status/100 == 3:
		what = "it redirects elsewhere, " + what
	}
	return &Error{Kind: ErrInvalidConfig, Server: m.serverURL, Hint: "check the URL",
		Message: fmt.Sprintf("there is no MCP server at %s (%s)", addressOf(m.serverURL), what)}
}

func statusText(status int) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status)))
}

// probeURL sends one request without a token to a URL of the server's origin and
// describes the response; nil if there is none. Redirects are not followed.
func (m *mcpServer) probeURL(ctx context.Context, method, target string) *serverReply {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := newProbe(ctx, method, target)
	if err != nil {
		return nil
	}
	watched := m.events.sent(purposeServer, req, nil)
	resp, err := m.config.serverTransport().RoundTrip(req)
	watched(resp, err)
	if err != nil {
		return nil
	}
	return readServerReply(resp)
}

// newProbe returns a request that means nothing, and that every server may be sent: a ping, or a
// GET for a stream.
func newProbe(ctx context.Context, method, target string) (*http.Request, error) {
	body, accept := "", "text/event-stream"
	if method == http.MethodPost {
		body, accept = `{"jsonrpc":"2.0","id":1,"method":"ping"}`, "application/json, text/event-stream"
	}
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// meantURL returns the URL at the same origin where there is an MCP server, or "".
// The resource that the host's metadata names (may be "") is looked at first, then
// the places where MCP servers usually are.
func (m *mcpServer) meantURL(ctx context.Context, named string) string {
	ctx, cancel := context.WithTimeout(ctx, suggestTimeout)
	defer cancel()
	for _, candidate := range m.usualURLs(named) {
		method := http.MethodPost
		if strings.HasSuffix(candidate, "/sse") {
			method = http.MethodGet
		}
		if r := m.probeURL(ctx, method, candidate); r != nil && (r.mcp || r.wantsLogin()) {
			return candidate
		}
	}
	return ""
}

// usualURLs returns where else the MCP server at an origin may be.
func (m *mcpServer) usualURLs(named string) []string {
	origin := m.url.Scheme + "://" + m.url.Host
	path := strings.TrimSuffix(m.url.EscapedPath(), "/")
	all := []string{origin + path + "/mcp", origin + "/mcp", origin + path + "/sse", origin + "/sse", origin + path, origin + path + "/"}
	if u, err := url.Parse(named); err == nil && oauth.CheckEndpoint(named) == nil && oauth.SameOrigin(u, m.url) {
		all = append([]string{named}, all...)
	}
	tried := []string{m.target}
	for _, candidate := range all {
		if !slices.Contains(tried, candidate) && candidate != origin {
			tried = append(tried, candidate)
		}
	}
	return tried[1:]
}
