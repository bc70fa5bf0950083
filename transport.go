package handstamp

import (
	"fmt"
	"io"
	"maps"
	"net/http"
)

// Transport puts the access token of one server on requests to it, renews the
// token, signs in where that is needed and allowed, and sends a refused request
// again. It is safe for concurrent use.
//
// A request gets the token only if its URL is the server's or below it, and only
// if it carries no Authorization header already; every other request passes
// through untouched, redirects to other hosts included. Each request is sent
// again only after a complete refusal (401, or 403 with insufficient_scope),
// which a server gives before it does any work (RFC 6750, section 3.1).
//
// A body is sent again through GetBody; without it, a body of up to 1 MiB is
// remembered as it goes out. A refusal of a request whose body is gone is
// returned as it came, after the token was renewed for the next one.
type Transport struct {
	session *session
	base    http.RoundTripper
	err     error // what is wrong with the server URL
}

// Transport returns the RoundTripper for a server. A malformed URL is reported
// by the first request.
func (c *Client) Transport(serverURL string) *Transport {
	s, err := c.session(serverURL)
	return &Transport{session: s, base: c.HTTP, err: err}
}

// Format implements fmt.Formatter, as the Handler's does.
func (t *Transport) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[transport]") }

// HTTPClient returns an *http.Client for a server, which is all that an MCP
// client library needs to be given.
func (c *Client) HTTPClient(serverURL string) *http.Client {
	return &http.Client{Transport: c.Transport(serverURL)}
}

// RoundTrip implements http.RoundTripper. Its errors are of the kinds of this
// package: [ErrLoginRequired], [ErrServerUnreachable] for the network errors of the
// server itself (errors.As still finds them), and so on; or that of the request's
// context.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.err != nil || !t.session.covers(req.URL) || req.Header["Authorization"] != nil {
		return t.pass(req)
	}
	s := t.session
	snap, err := s.freshToken(req.Context())
	if err != nil {
		closeBody(req)
		return nil, err
	}
	body := newReplayBody(req)
	resp, err := t.base.RoundTrip(withAuthorization(req, body.first(), snap))
	for recovery := (retryState{}); err == nil && isAuthFailure(resp); {
		next, rerr := s.reauthorize(req.Context(), &recovery, snap, resp)
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
			s.history.recordAccepted(snap.token)
		}
	}
	return resp, s.serverUnreachableError(req.Context(), err)
}

// pass sends a request that is none of ours.
func (t *Transport) pass(req *http.Request) (*http.Response, error) {
	if t.err != nil {
		closeBody(req)
		return nil, t.err
	}
	resp, err := t.base.RoundTrip(req)
	if t.session.covers(req.URL) {
		err = t.session.serverUnreachableError(req.Context(), err)
	}
	return resp, err
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
