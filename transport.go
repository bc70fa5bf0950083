package handstamp

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"time"
)

// maxReplay is the most of a request body that is kept to be sent again, in
// bytes, where the request has no GetBody.
const maxReplay = 1 << 20

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
// package: ErrLoginRequired, ErrUnreachable and so on.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.err != nil || !t.session.covers(req.URL) || req.Header["Authorization"] != nil {
		return t.pass(req)
	}
	s := t.session
	snap, err := s.authorization(req.Context())
	if err != nil {
		closeBody(req)
		return nil, err
	}
	body := newReplay(req)
	resp, err := t.base.RoundTrip(authorized(req, body.first(), snap))
	for recovery := (recovery{}); err == nil && refusal(resp); {
		next, rerr := s.recover(req.Context(), &recovery, snap, resp)
		if rerr != nil {
			discard(resp)
			return nil, rerr
		}
		if next == nil {
			return resp, nil
		}
		again, ok := body.again()
		if !ok {
			return resp, nil
		}
		discard(resp)
		snap = next
		resp, err = t.base.RoundTrip(authorized(req, again, snap))
		if err == nil && !refusal(resp) {
			s.accepted(snap.token)
		}
	}
	return resp, err
}

// pass sends a request that is none of ours.
func (t *Transport) pass(req *http.Request) (*http.Response, error) {
	if t.err != nil {
		closeBody(req)
		return nil, t.err
	}
	return t.base.RoundTrip(req)
}

// authorized returns a copy of req with the token and the body; a RoundTripper
// must not change the request it was given.
func authorized(req *http.Request, body io.ReadCloser, snap *snapshot) *http.Request {
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

// refusal reports whether a response may be about the token. A 403 is only if
// it says so.
func refusal(resp *http.Response) bool {
	return resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden
}

// drainTime bounds the wait for the rest of a response that nobody reads.
const drainTime = 200 * time.Millisecond

// discard reads a response that nobody will, so that its connection can be used
// again; one whose end is long in coming loses its connection instead.
func discard(resp *http.Response) {
	read := make(chan struct{})
	go func() {
		io.CopyN(io.Discard, resp.Body, 16<<10)
		close(read)
	}()
	timer := time.NewTimer(drainTime)
	defer timer.Stop()
	select {
	case <-read:
	case <-timer.C:
	}
	resp.Body.Close()
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// replay is a request body that can be sent again.
type replay struct {
	req *http.Request
	tee *tee // what went out, where the request has no GetBody
}

func newReplay(req *http.Request) replay {
	if req.Body == nil || req.Body == http.NoBody || req.GetBody != nil {
		return replay{req: req}
	}
	return replay{req: req, tee: &tee{ReadCloser: req.Body}}
}

// first returns the body to send the first time.
func (r replay) first() io.ReadCloser {
	if r.tee != nil {
		return r.tee
	}
	return r.req.Body
}

// again returns the body to send another time, if there is one.
func (r replay) again() (io.ReadCloser, bool) {
	switch {
	case r.tee != nil:
		return r.tee.again()
	case r.req.GetBody != nil:
		body, err := r.req.GetBody()
		return body, err == nil
	}
	return r.req.Body, true
}
