package handstamp

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

const (
	// freshTokenAge is how long after its issue a token may be unknown to the
	// MCP server, where that learns of it later than we do.
	freshTokenAge = 5 * time.Second

	// proofTimeout bounds one request that proves a token.
	proofTimeout = 15 * time.Second
)

// freshTokenWaits are the waits before a token that was rejected right after its
// issue is sent again, three seconds together.
var freshTokenWaits = [...]time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second, 1250 * time.Millisecond}

// needsAMoment reports whether a token that the MCP server rejects was issued so
// lately that the server may not know it yet. The time of issue may come from
// another machine's clock: one in the future counts no longer than one in the past.
func (s *cachedToken) needsAMoment(now time.Time) bool {
	return s != nil && !s.obtainedAt.IsZero() && !s.accepted.Load() && !s.rejected.Load() &&
		now.Sub(s.obtainedAt).Abs() < freshTokenAge
}

// tokenProver finds out what the MCP server makes of an access token.
type tokenProver struct{ *credential }

// awaitFresh waits before a token that needs a moment is sent again, and reports
// false if it does not need one, or has had it. waits counts the waits so far.
func (tp tokenProver) awaitFresh(ctx context.Context, t *cachedToken, waits *int) bool {
	if *waits == len(freshTokenWaits) || !t.needsAMoment(time.Now()) {
		return false
	}
	rec, err := tp.records.load(ctx)
	if err != nil || rec.Grant == nil || rec.Grant.AccessToken != t.token || rec.Grant.Accepted || rec.Grant.Rejected {
		return false
	}
	wait := freshTokenWaits[*waits]
	*waits++
	tp.events.report(StepReauthorization,
		"the server rejects a token that was just issued; it is sent again in %v", wait)
	return sleep(ctx, wait) == nil
}

// proof is what the MCP server makes of an access token.
type proof struct {
	*serverReply
	rejected  bool                  // the token does not work there
	challenge oauth.BearerChallenge // without secrets
}

// prove sends one request that does nothing (ping) to the MCP server, with the
// token. It sends a token that needs a moment again. The error is of kind
// [ErrUnreachable] if the server does not respond, or with a 429 or 5xx.
func (tp tokenProver) prove(ctx context.Context, t *cachedToken, waits *int) (*proof, error) {
	for {
		p, err := tp.proveOnce(ctx, t)
		if err != nil {
			return nil, err
		}
		if !p.rejected {
			tp.tokens.recordAcceptance(ctx, t)
			tp.history.recordAccepted(t.token)
			return p, nil
		}
		if !tp.awaitFresh(ctx, t, waits) {
			return p, ctx.Err()
		}
	}
}

func (tp tokenProver) proveOnce(ctx context.Context, t *cachedToken) (*proof, error) {
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	p, err := tp.send(ctx, http.MethodPost, t)
	if err == nil && (p.status == http.StatusMethodNotAllowed || p.nothingThere()) {
		// HTTP+SSE (MCP 2024-11-05) knows nothing but GET at this URL.
		got, errGet := tp.send(ctx, http.MethodGet, t)
		if p.status == http.StatusMethodNotAllowed || errGet == nil && (got.mcp || got.wantsLogin()) {
			p, err = got, errGet
		}
	}
	if err != nil {
		if ctx.Err() == context.Canceled {
			return nil, ctx.Err()
		}
		return nil, err
	}
	switch {
	case p.status == http.StatusTooManyRequests || p.status >= http.StatusInternalServerError:
		return nil, &Error{Kind: ErrServerUnreachable, Server: tp.serverURL, Hint: "try again later",
			Message: fmt.Sprintf("the MCP server responds with %d; the credential is kept", p.status)}
	case p.status/100 == 3:
		return nil, &Error{Kind: ErrProtocol, Server: tp.serverURL,
			Message: fmt.Sprintf("the MCP server responds with %d, and does not say where it is", p.status)}
	}
	p.rejected = p.status == http.StatusUnauthorized || p.status == http.StatusForbidden && rejectsToken(p.challenge)
	return p, nil
}

// send sends a probe with the token, and once more for each nonce that the server wants.
func (tp tokenProver) send(ctx context.Context, method string, t *cachedToken) (*proof, error) {
	resp, err := tp.server.probe(ctx, method, t)
	for state := (retryState{}); err == nil && t.wantsNonce(resp) && state.forNonce(t, resp) != nil; {
		resp.Body.Close()
		resp, err = tp.server.probe(ctx, method, t)
	}
	if err != nil {
		return nil, err
	}
	return &proof{serverReply: readServerReply(resp), challenge: tp.secrets.challengeOf(resp, t)}, nil
}

// resume makes the stored login work without the user, if it can: it proves the
// access token at the MCP server, and refreshes one that has expired or is
// rejected. It reports whether the server accepts the result. If not, req has what
// the login that must follow has to know. An error means that there is no reason
// for a login: something cannot be reached, or stored.
func (s *session) resume(ctx context.Context, rec *record.Record, req *loginRequest, waits *int) (bool, error) {
	if !s.config.resumable(rec, time.Now()) {
		return false, nil
	}
	need := tokenNeed{user: true}
	if rec.Grant.Usable("", time.Now()) {
		current := s.tokens.use(rec)
		accepted, err := s.proveFor(ctx, rec, current, req, waits)
		if err != nil || accepted || req.rejectedToken == "" {
			return accepted, err
		}
		if len(req.needed) > 0 {
			return false, nil // a refresh does not widen the scope
		}
		need.rejected = current.token
	}
	snap, err := s.refresher.refresh(ctx, need)
	if err != nil {
		return false, keepsLogin(ctx, err)
	}
	if snap == nil {
		return false, nil
	}
	if rec, err = s.records.load(ctx); err != nil {
		return false, err
	}
	return s.proveFor(ctx, rec, snap, req, waits)
}

// checkServer returns an error if there is no MCP server at the URL, as before a first login. It requests
// without the token: to a request with one, a server may respond that the session was not found.
func (s *session) checkServer(ctx context.Context, challenge oauth.BearerChallenge) error {
	reply, err := s.server.probeChallenge(ctx)
	if err != nil || !reply.nothingThere() {
		return nil // which the login has no reason to fail for
	}
	d := &discovery{credential: &s.credential}
	rm, err := d.resourceMetadata(ctx, challenge)
	return d.checkTarget(ctx, reply, rm, err)
}

// proveFor proves a token. If the MCP server does not accept it, req says why.
func (s *session) proveFor(ctx context.Context, rec *record.Record, t *cachedToken, req *loginRequest, waits *int) (bool, error) {
	p, err := tokenProver{&s.credential}.prove(ctx, t, waits)
	if err != nil {
		return false, err
	}
	if p.rejected {
		s.tokens.recordRejection(ctx, t)
		req.rejectedToken, req.challenge = t.token, p.challenge
		return false, nil
	}
	if p.nothingThere() {
		if err := s.checkServer(ctx, p.challenge); err != nil {
			return false, err
		}
	}
	if p.status != http.StatusForbidden {
		return true, nil
	}
	if needed := strings.Fields(p.challenge.Scope); p.challenge.Error == "insufficient_scope" && len(needed) > 0 &&
		rec.Grant != nil && !containsAll(strings.Fields(rec.Grant.ScopeRequested), needed) {
		slices.Sort(needed)
		req.rejectedToken, req.challenge, req.needed = t.token, p.challenge, needed
		req.scopes = append(strings.Fields(rec.Grant.ScopeRequested), needed...)
		return false, nil
	}
	s.notice("the MCP server accepts the token and denies access (403)")
	return true, nil
}

// keepsLogin returns the error of a refresh if a login of the user's would not help,
// or not now. It returns nil where the authorization server responded and did not
// refresh: that user then signs in, whatever the response means.
func keepsLogin(ctx context.Context, err error) error {
	e, ok := errtype.As[*Error](err)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !ok || e.Kind == ErrStore:
		return err
	case e.Kind == ErrUnreachable && !e.unrefreshed:
		return err
	}
	return nil
}
