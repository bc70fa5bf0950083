package handstamp

import (
	"context"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/store"
)

const (
	// maxReplay is the most of a request body that is kept to be sent again, in
	// bytes, where the request has no GetBody.
	maxReplay = 1 << 20

	// futilePause is how long nothing is tried after a server has refused a
	// token fresh from a login, nor a renewal after it has refused a token fresh
	// from one.
	futilePause = 30 * time.Second

	// maxStepUps bounds the logins for a scope that the server never grants.
	maxStepUps = 2
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

// recovery is how far one request has come on the ladder: another stored token,
// a renewal, a login.
type recovery struct {
	renewals int
	logins   int
}

// recover finds the token with which a refused request is to be sent again. It
// returns nil if there is none and the response is the answer.
func (s *session) recover(ctx context.Context, r *recovery, used *snapshot, resp *http.Response) (*snapshot, error) {
	challenge := oauth.Bearer(resp.Header)
	if resp.StatusCode == http.StatusForbidden {
		if challenge.Error != "insufficient_scope" || s.c.LoginPolicy == LoginNever {
			return nil, nil
		}
		return s.stepUp(ctx, r, used, challenge)
	}
	if s.resigned(r) {
		return nil, nil
	}
	var refused store.Secret
	if used != nil {
		refused = used.token
	}
	if current := s.current.Load(); current != nil && current.token != refused && current.valid(time.Now()) {
		// Another request was here before.
		return current, nil
	}
	if r.logins == 0 && r.renewals < 2 && !s.renewedInVain(refused) {
		r.renewals++
		snap, err := s.renew(ctx, renewal{refused: refused})
		if err != nil || snap != nil {
			return snap, err
		}
	}
	rec, err := s.load(ctx)
	switch {
	case err != nil:
		return nil, err
	case usable(rec.Grant, refused, time.Now()):
		return s.publish(rec), nil // another process was here before
	case s.c.LoginPolicy == LoginNever:
		return nil, s.loginRequired(rec)
	case (refused != "" || rec.Grant != nil && rec.Grant.Refused) && rec.Refusal == nil && s.signedInJustNow():
		return nil, nil
	}
	if r.logins++; r.logins > 1 {
		return nil, nil
	}
	return s.login(ctx, loginRequest{challenge: challenge, refused: refused})
}

// resigned reports whether to leave a 401 as it is: the server has refused a
// token that it was given fresh from a login, so that another one would be
// refused as well.
func (s *session) resigned(r *recovery) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if r.logins > 0 {
		s.futile = now
		return true
	}
	return now.Sub(s.futile) < futilePause
}

// stepUp signs in for the scope that a request needs beside those that the
// login has (MCP authorization, "Step-Up Authorization Flow"). What the server
// keeps refusing is not asked for for ever.
func (s *session) stepUp(ctx context.Context, r *recovery, used *snapshot, challenge oauth.BearerChallenge) (*snapshot, error) {
	needed := strings.Fields(challenge.Scope)
	if len(needed) == 0 || used == nil {
		return nil, nil
	}
	slices.Sort(needed)
	key := strings.Join(needed, " ")
	s.mu.Lock()
	tried := s.stepUps[key]
	s.mu.Unlock()
	if r.logins++; r.logins > maxStepUps || tried >= maxStepUps {
		return nil, nil
	}
	rec, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	scopes := needed
	if rec.Grant != nil {
		scopes = append(strings.Fields(rec.Grant.ScopeRequested), needed...)
	}
	return s.login(ctx, loginRequest{challenge: challenge, scopes: scopes, needed: needed, refused: used.token})
}

// signedInNow notes how a login of this process ended. Of a step-up that many
// requests wait for, it counts one.
func (s *session) signedInNow(rec *store.Record, req loginRequest, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.signedInAt = time.Now()
	}
	if len(req.needed) == 0 {
		return
	}
	key := strings.Join(req.needed, " ")
	if err == nil && containsAll(strings.Fields(rec.Grant.ScopeGranted), req.needed) {
		delete(s.stepUps, key)
		return
	}
	if s.stepUps == nil {
		s.stepUps = make(map[string]int)
	}
	s.stepUps[key]++
}

// signedInJustNow reports whether this process has signed in so lately that a
// token refused now is one that the server refuses fresh from a login. A caller
// that is given a new recovery for each refusal is not to open a tab each time.
func (s *session) signedInJustNow() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.signedInAt) < futilePause
}

// replacedNow notes the token that a refused one was renewed to.
func (s *session) replacedNow(token store.Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replaced, s.replacedAt = token, time.Now()
}

// renewedInVain reports whether the refused token is the fresh replacement of
// another refused one: each further renewal would spend a refresh token for
// nothing.
func (s *session) renewedInVain(refused store.Secret) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return refused != "" && refused == s.replaced && time.Since(s.replacedAt) < futilePause
}

func containsAll(have, want []string) bool {
	for _, w := range want {
		if !slices.Contains(have, w) {
			return false
		}
	}
	return true
}

// discard reads a response that nobody will, so that its connection can be used
// again.
func discard(resp *http.Response) {
	io.CopyN(io.Discard, resp.Body, 16<<10)
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
