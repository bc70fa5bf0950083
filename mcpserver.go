package handstamp

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
)

// mcpServer is one MCP server as this process knows it: its URL, and what its responses have
// shown. It is safe for concurrent use.
type mcpServer struct {
	config    *configuration
	secrets   *knownSecrets
	serverURL string // as the user gave it
	url       *url.URL
	target    string // the server URL as given, without a fragment: its bytes may be the resource

	named namedEndpoints

	// moved is where the server redirects to on its own origin; nil: nowhere.
	moved atomic.Pointer[string]

	// privateNetwork is set once a connection to the server led into a private network.
	privateNetwork atomic.Bool
}

// parseServerURL returns the URL of an MCP server, or an error that says what is
// wrong with it.
func parseServerURL(raw string, allowHTTP bool) (*url.URL, error) {
	usage := func(message, hint string) error {
		return &Error{Kind: ErrInvalidConfig, Server: raw, Message: message, Hint: hint}
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return nil, usage("the server URL is malformed", "write it as https://host/path")
	}
	switch strings.ToLower(u.Scheme) {
	case "https":
	case "http":
		if !oauth.IsLoopback(u.Hostname()) && !allowHTTP {
			return nil, usage("the server URL uses http, which sends tokens in the clear", "use https://"+u.Host+u.EscapedPath())
		}
	default:
		return nil, usage("the server URL must begin with https://", "")
	}
	if u.User != nil {
		return nil, usage("the server URL must not contain a user name or password", "")
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// covers reports whether the session's token may be sent to u: the server's own
// origin, at or below the server's path, or where the server named its endpoint (RFC 6750,
// section 5.3: a token goes to no other server).
func (m *mcpServer) covers(u *url.URL) bool {
	if u.Scheme == m.url.Scheme && u.Host == m.url.Host && u.Path == m.url.Path && u.RawPath == m.url.RawPath {
		return true // nearly always
	}
	return oauth.SameOrigin(m.url, u) &&
		(oauth.PathWithin(u.EscapedPath(), m.url.EscapedPath()) || m.named.has(u.EscapedPath()))
}

// coversRequest reports whether the session's token may be sent with req: to a URL that the
// session covers, or where the server redirects from there on its own origin.
func (m *mcpServer) coversRequest(req *http.Request) bool {
	for ; req != nil; req = redirectedFrom(req) {
		if m.covers(req.URL) {
			return true
		}
		if !oauth.SameOrigin(m.url, req.URL) {
			return false
		}
	}
	return false
}

// unreachableError returns the error for an MCP server's network error, or err
// itself if the request's own context ended it or it says already what it is.
func (m *mcpServer) unreachableError(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	if _, known := errtype.As[*Error](err); known {
		return err
	}
	return &Error{Kind: ErrServerUnreachable, Server: m.serverURL, Err: err,
		Message: "the MCP server cannot be reached", Hint: "try again"}
}
