package handstamp

import (
	"fmt"
	"io"
	"maps"
	"net/http"
)

// Transport puts the access token of one server on requests to it, refreshes the
// token, signs in where that is needed and allowed, and sends a rejected request
// again. It is safe for concurrent use.
//
// A request gets the token only if it carries no Authorization header already and its URL is
// the server's, below it, or one on the server's own origin that the server itself named: by a
// redirect, or as the endpoint of its HTTP+SSE stream (MCP 2024-11-05). Every other request
// passes through untouched. An [http.Client] that follows a redirect from the server to another
// origin gets an error that matches [ErrProtocol], and nothing is sent there: such a request has
// the headers that were meant for the server.
//
// Each request is sent again only after a complete rejection (401, or 403 with
// insufficient_scope), which a server gives before it does any work (RFC 6750, section 3.1).
//
// A body is sent again through GetBody; without it, a body of up to 1 MiB is
// remembered as it goes out. A rejection of a request whose body is gone is
// returned as it came, after the token was refreshed for the next one.
type Transport struct {
	session *session
	base    http.RoundTripper
	err     error // what is wrong with the server URL
}

// Transport returns the RoundTripper for a server. A malformed URL is reported
// by the first request.
func (c *Client) Transport(serverURL string) *Transport {
	s, err := c.session(serverURL)
	return &Transport{session: s, base: c.BaseTransport, err: err}
}

// Format implements fmt.Formatter, as the Handler's does.
func (t *Transport) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[transport]") }

// HTTPClient returns an *http.Client for a server, which is all that an MCP
// client library needs to be given.
//
// It follows redirects on the same origin (scheme, host and port) only, five for a request at
// most. Every other redirect is an error that matches [ErrProtocol] and names the new address, and
// nothing is sent to the other one: neither the token nor the headers of the request.
func (c *Client) HTTPClient(serverURL string) *http.Client {
	t := c.Transport(serverURL)
	if t.err != nil {
		return &http.Client{Transport: t}
	}
	return &http.Client{
		Transport:     sameOriginTransport{server: t.session.server, base: t},
		CheckRedirect: t.session.server.followRedirect,
	}
}

// RoundTrip implements http.RoundTripper. Its errors are of the kinds of this
// package: [ErrLoginRequired], [ErrServerUnreachable] for the network errors of the
// server itself (errors.As still finds them), and so on; or that of the request's
// context.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.err != nil {
		closeBody(req)
		return nil, t.err
	}
	s := t.session
	if err := s.server.checkRedirectedRequest(req); err != nil {
		closeBody(req)
		return nil, err
	}
	if req.Header["Authorization"] != nil || !s.server.coversRequest(req) {
		resp, err := t.base.RoundTrip(req)
		if err == nil {
			nameRequest(resp, req)
		} else if s.server.covers(req.URL) {
			err = s.errs.serverUnreachable(req.Context(), err)
		}
		return resp, err
	}
	s.server.noteMoved(req)
	snap, err := s.freshToken(req.Context())
	if err != nil {
		closeBody(req)
		return nil, err
	}
	body := newReplayBody(req)
	resp, err := t.base.RoundTrip(withAuthorization(req, body.first(), snap))
	if err == nil && snap != nil && resp.StatusCode < 400 && !snap.accepted.Load() {
		s.tokens.recordAcceptance(req.Context(), snap)
	}
	for recovery := (retryState{}); err == nil && isAuthFailure(resp); {
		next, rerr := s.reauthorizer.reauthorize(req.Context(), &recovery, snap, resp)
		if rerr != nil {
			drainAndClose(resp)
			return nil, rerr
		}
		if next == nil {
			return resp, nil
		}
		again, ok := body.again()
		if !ok {
			return resp, nil
		}
		drainAndClose(resp)
		snap = next
		resp, err = t.base.RoundTrip(withAuthorization(req, again, snap))
		if err == nil && !isAuthFailure(resp) {
			s.tokens.recordAcceptance(req.Context(), snap)
			s.history.recordAccepted(snap.token)
		}
	}
	if err != nil {
		return nil, s.errs.serverUnreachable(req.Context(), err)
	}
	nameRequest(resp, req)
	s.server.watchForEndpoint(req, resp)
	return resp, nil
}

// withAuthorization returns a copy of req with the token and the body; a RoundTripper
// must not change the request it was given.
func withAuthorization(req *http.Request, body io.ReadCloser, snap *cachedToken) *http.Request {
	r := new(http.Request)
	*r = *req
	r.Body = body
	if snap == nil {
		return r
	}
	if r.Header = maps.Clone(req.Header); r.Header == nil {
		r.Header = make(http.Header, 1)
	}
	r.Header["Authorization"] = snap.header
	return r
}

// isAuthFailure reports whether a response may be about the token. A 403 is only if
// it says so.
func isAuthFailure(resp *http.Response) bool {
	return resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden
}
