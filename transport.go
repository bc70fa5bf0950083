package handstamp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"
	"time"
)

// Transport returns the RoundTripper for a server: it puts the access token on requests to the
// server, refreshes the token, signs in where that is needed and allowed ([Client.LoginPolicy]),
// and sends a rejected request again. It is safe for concurrent use. A malformed URL is reported
// by the first request.
//
// A request gets the token only if it carries no Authorization header already and its URL is
// the server's, below it, or one on the server's own origin that the server itself named: by a
// redirect, or as the endpoint of its HTTP+SSE stream (MCP 2024-11-05). Every other request
// passes through untouched. An [http.Client] that follows a redirect from the server to another
// origin gets an error that matches [ErrProtocol], and nothing is sent there: such a request has
// the headers that were meant for the server.
//
// A request is sent again only after a complete rejection (401, or 403 with
// insufficient_scope), which a server gives before it does any work (RFC 6750, section 3.1).
// A body is sent again through GetBody; without it, a body of up to 1 MiB is
// remembered as it goes out. A rejection of a request whose body is gone is
// returned as it came, after the token was refreshed for the next one.
//
// Its errors are of the kinds of this package: [ErrLoginRequired], [ErrServerUnreachable] for the
// network errors of the server itself ([errors.As] still finds them), and so on; or that of the
// request's context.
func (c *Client) Transport(serverURL string) http.RoundTripper { return c.transport(serverURL) }

func (c *Client) transport(serverURL string) *transport {
	s, err := c.session(serverURL)
	if err != nil {
		return &transport{err: err}
	}
	return &transport{session: s, server: s.server, tokens: s.tokens, base: (*configuration)(c).serverTransport()}
}

// HTTPClient returns an [http.Client] for a server, which is all that an MCP
// client library needs. Its Transport is [Client.Transport].
//
// It follows redirects on the same origin (scheme, host and port) only, at most five for one
// request. Every other redirect is an error that matches [ErrProtocol] and names the new address, and
// nothing is sent to the other one: neither the token nor the headers of the request.
func (c *Client) HTTPClient(serverURL string) *http.Client {
	t := c.transport(serverURL)
	if t.err != nil {
		return &http.Client{Transport: t}
	}
	return &http.Client{
		Transport:     sameOriginTransport{server: t.server, base: t},
		CheckRedirect: t.server.followRedirect,
	}
}

// transport is the RoundTripper of [Client.Transport].
type transport struct {
	session *session
	server  *mcpServer    // of the session
	tokens  *accessTokens // of the session
	base    http.RoundTripper
	err     error // what is wrong with the server URL
}

// Format implements fmt.Formatter, as the Handler's does.
func (t *transport) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[transport]") }

// RoundTrip implements http.RoundTripper. With a fresh token it does little but copy
// the request that a RoundTripper has to make to add a header.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.err != nil {
		closeBody(req)
		return nil, t.err
	}
	if req.Response != nil {
		if err := t.server.checkRedirectedRequest(req); err != nil {
			closeBody(req)
			return nil, err
		}
	}
	if !t.server.isAt(req.URL) && !t.server.coversRequest(req) {
		return t.passThrough(req)
	}
	if req.Response != nil {
		t.server.noteMoved(req)
	}
	token := t.tokens.current.Load()
	if !token.fresh() {
		if req.Header["Authorization"] != nil {
			return t.passThrough(req)
		}
		var err error
		if token, err = t.session.freshToken(req.Context()); err != nil {
			closeBody(req)
			return nil, err
		}
	}
	body := newReplayBody(req)
	sent, err := withAuthorization(req, body.first(), token)
	switch {
	case err != nil:
		closeBody(req)
		return nil, err
	case sent == nil:
		return t.passThrough(req)
	}
	resp, err := t.roundTrip(sent, token)
	switch {
	case err != nil:
		return nil, t.server.unreachableError(req.Context(), err)
	case isAuthFailure(resp):
		return t.retry(req, body, token, resp)
	case token != nil && resp.StatusCode < 400 && !token.accepted.Load():
		t.tokens.recordAcceptance(req.Context(), token)
	}
	return t.received(req, resp), nil
}

// roundTrip sends a request with a token, and keeps the nonce for the next proof.
func (t *transport) roundTrip(req *http.Request, token *cachedToken) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err == nil {
		token.noteNonce(req, resp)
	}
	return resp, err
}

// passThrough sends a request that does not get the token.
func (t *transport) passThrough(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err == nil {
		nameRequest(resp, req)
	} else if t.server.covers(req.URL) {
		err = t.server.unreachableError(req.Context(), err)
	}
	return resp, err
}

// retry sends a rejected request again, as often as there is another token to send it with.
func (t *transport) retry(req *http.Request, body replayBody, token *cachedToken, resp *http.Response) (*http.Response, error) {
	var state retryState
	for isAuthFailure(resp) {
		t.session.events.rejectedRequest(token, resp)
		next, err := t.session.reauthorizer.reauthorize(req.Context(), &state, token, resp)
		if err != nil {
			drainAndClose(resp)
			return nil, err
		}
		if next == nil {
			return resp, nil
		}
		again, ok := body.again()
		if !ok {
			return resp, nil
		}
		drainAndClose(resp)
		token = next
		sent, err := withAuthorization(req, again, token)
		if err == nil {
			err = state.proveAgain(sent, token)
		}
		if err != nil {
			return nil, err
		}
		if resp, err = t.roundTrip(sent, token); err != nil {
			return nil, t.server.unreachableError(req.Context(), err)
		}
	}
	t.tokens.recordAcceptance(req.Context(), token)
	t.session.history.recordAccepted(token.token)
	t.session.history.recordContent(state.signedInFor)
	return t.received(req, resp), nil
}

// received completes a response that the caller gets.
func (t *transport) received(req *http.Request, resp *http.Response) *http.Response {
	nameRequest(resp, req)
	if req.Method == http.MethodGet {
		t.server.watchForEndpoint(req, resp)
	}
	return resp
}

// withAuthorization returns a copy of req with the token and the body; a RoundTripper
// must not change the request it was given. It returns nil if req has an Authorization header
// of its own.
func withAuthorization(req *http.Request, body io.ReadCloser, token *cachedToken) (*http.Request, error) {
	r := new(http.Request)
	*r = *req
	r.Body = body
	if token == nil {
		if req.Header["Authorization"] != nil {
			return nil, nil
		}
		return r, nil
	}
	if r.Header = maps.Clone(req.Header); r.Header == nil {
		r.Header = make(http.Header, 1)
	}
	// One access of the map for both: each costs as much as all other checks of a request.
	before := len(r.Header)
	r.Header["Authorization"] = token.header
	if len(r.Header) == before && req.Header["Authorization"] != nil {
		return nil, nil
	}
	return r, token.prove(r)
}

// isAuthFailure reports whether a response may be about the token. A 403 is only if
// it says so.
func isAuthFailure(resp *http.Response) bool {
	return resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden
}

// replayBuffer remembers a request body as it goes out, so that it can be sent again. It
// never reads ahead: a body may be a pipe that is still written to.
type replayBuffer struct {
	io.ReadCloser

	mu   sync.Mutex // a transport may read on after it has returned
	sent bytes.Buffer
	done bool // the whole body went out
	gone bool // too large to be remembered
}

func (t *replayBuffer) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.gone {
		if t.sent.Len()+n > maxReplay {
			t.gone = true
			t.sent = bytes.Buffer{}
		} else {
			t.sent.Write(p[:n])
		}
	}
	t.done = t.done || errors.Is(err, io.EOF)
	return n, err
}

// again returns what was sent, if it was everything.
func (t *replayBuffer) again() (io.ReadCloser, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone || !t.done {
		return nil, false
	}
	return io.NopCloser(bytes.NewReader(t.sent.Bytes())), true
}

// maxReplay is the most of a request body that is kept to be sent again, in
// bytes, where the request has no GetBody.
const maxReplay = 1 << 20

// drainTime bounds the wait for the rest of a response that is not used.
const drainTime = 200 * time.Millisecond

// drainAndClose reads a response that is not used, so that its connection can be used
// again; one whose end is long in coming loses its connection instead.
func drainAndClose(resp *http.Response) {
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

// replayBody is a request body that can be sent again.
type replayBody struct {
	req *http.Request
	tee *replayBuffer // what went out, where the request has no GetBody
}

func newReplayBody(req *http.Request) replayBody {
	if req.Body == nil || req.Body == http.NoBody || req.GetBody != nil {
		return replayBody{req: req}
	}
	return replayBody{req: req, tee: &replayBuffer{ReadCloser: req.Body}}
}

// first returns the body to send the first time.
func (r replayBody) first() io.ReadCloser {
	if r.tee != nil {
		return r.tee
	}
	return r.req.Body
}

// again returns the body to send another time, if there is one.
func (r replayBody) again() (io.ReadCloser, bool) {
	switch {
	case r.tee != nil:
		return r.tee.again()
	case r.req.GetBody != nil:
		body, err := r.req.GetBody()
		return body, err == nil
	}
	return r.req.Body, true
}
