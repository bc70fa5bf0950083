package handstamp

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/handstamp/handstamp/secret"
)

// Handler signs an MCP client of the official Go SDK in. It is an
// auth.OAuthHandler by shape: this package does not import the SDK.
//
//	transport := &mcp.StreamableClientTransport{
//		Endpoint:     serverURL,
//		OAuthHandler: client.Handler(serverURL),
//	}
//
// A Transport (Client.HTTPClient in the SDK transport's HTTPClient field) does
// the same and more: it also recovers requests that the SDK does not hand to its
// handler, and it follows redirects on the server's origin only, where the SDK's own client
// takes the token to another port or scheme of the same host. Use the one or the other, not
// both.
//
// The SDK takes a token from its handler and puts no proof on a request, so that a Handler cannot
// serve tokens that are bound to a key (DPoP, RFC 9449): TokenSource then returns an error. Where the
// server takes bearer tokens too, set [Client.DPoP] to [DPoPNever].
type Handler struct {
	session *session
	err     error
}

// Handler returns the handler for a server. A malformed URL is reported by the
// first call.
func (c *Client) Handler(serverURL string) *Handler {
	s, err := c.session(serverURL)
	return &Handler{session: s, err: err}
}

// check returns why the Handler cannot be used.
func (h *Handler) check() error {
	if h.session == nil && h.err == nil {
		return &Error{Kind: ErrInvalidConfig, Message: "the Handler is not one of Client.Handler"}
	}
	return h.err
}

// Format implements fmt.Formatter: the session behind the Handler is not printed,
// for other goroutines change it.
func (h *Handler) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[handler]") }

// TokenSource returns the source of the token for the next request, or nil if
// there is none yet: then the request goes out without one, and the server's
// rejection leads to Authorize. While the stored token is fresh it takes no lock
// and does no I/O.
func (h *Handler) TokenSource(ctx context.Context) (oauth2.TokenSource, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	snap, err := h.session.freshToken(ctx)
	if err != nil || snap == nil {
		return nil, err
	}
	return snap, nil
}

// Authorize makes a rejected request worth repeating: with a token that another
// process stored, a refreshed one, or one from a login. It closes the body of
// resp. If it returns nil, the request can be sent again: TokenSource has another token, or the
// server accepts the same one by now.
func (h *Handler) Authorize(ctx context.Context, req *http.Request, resp *http.Response) error {
	defer resp.Body.Close()
	if err := h.check(); err != nil {
		return err
	}
	if final := resp.Request; final != nil && redirectedFrom(final) != nil {
		// The SDK's client follows redirects; what another origin rejects is not ours.
		if err := h.session.server.checkRedirect(h.session.server.url, final.URL, req.Header); err != nil {
			return err
		}
	}
	used := h.used(req)
	var r retryState
	if used.needsAMoment(time.Now()) && rejectsWholly(resp) {
		// The SDK sends the request again only once.
		if p, err := (tokenProver{&h.session.credential}).prove(ctx, used, new(int)); err == nil && !p.rejected {
			return nil
		}
		r.waits = len(freshTokenWaits)
	}
	snap, err := h.session.reauthorizer.reauthorize(ctx, &r, used, resp)
	if err != nil {
		return err
	}
	if snap == nil {
		return &Error{Kind: ErrDenied, Server: h.session.serverURL,
			Message: fmt.Sprintf("the server rejects the request with status %d, and a new login would not change that", resp.StatusCode)}
	}
	return nil
}

// used returns the token that the request was sent with.
func (h *Handler) used(req *http.Request) *cachedToken {
	scheme, token, ok := strings.Cut(req.Header.Get("Authorization"), " ")
	if !ok {
		return nil
	}
	if current := h.session.tokens.current.Load(); current != nil && current.token == secret.String(token) {
		return current
	}
	return &cachedToken{token: secret.String(token), tokenType: scheme}
}
