package handstamp

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
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

// awaitFresh waits before a token that needs a moment is sent again, and reports
// false if it does not need one, or has had it. waits counts the waits so far.
func (v *prover) awaitFresh(ctx context.Context, t *cachedToken, waits *int) bool {
	if *waits == len(freshTokenWaits) || !t.needsAMoment(time.Now()) {
		return false
	}
	rec, err := v.records.load(ctx)
	if err != nil || rec.Grant == nil || rec.Grant.AccessToken != t.token || rec.Grant.Accepted || rec.Grant.Rejected {
		return false
	}
	wait := freshTokenWaits[*waits]
	*waits++
	v.log.Debug("the server rejects a token that was just issued, sending it again", "wait", wait)
	return sleep(ctx, wait) == nil
}

// prover sends tokens to the MCP server to find out whether they work.
type prover struct{ *credential }

// proof is what the MCP server makes of an access token.
type proof struct {
	rejected  bool // the token does not work there
	status    int
	challenge oauth.BearerChallenge
}

// prove sends one request that does nothing (ping) to the MCP server, with the
// token. It sends a token that needs a moment again. The error is of kind
// [ErrUnreachable] if the server does not respond, or with a 429 or 5xx.
func (v *prover) prove(ctx context.Context, t *cachedToken, waits *int) (*proof, error) {
	for {
		p, err := v.proveOnce(ctx, t)
		if err != nil {
			return nil, err
		}
		if !p.rejected {
			v.tokens.recordAcceptance(ctx, t)
			v.history.recordAccepted(t.token)
			return p, nil
		}
		if !v.awaitFresh(ctx, t, waits) {
			return p, ctx.Err()
		}
	}
}

func (v *prover) proveOnce(ctx context.Context, t *cachedToken) (*proof, error) {
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	resp, err := v.server.probe(ctx, http.MethodPost, probeMessage, t)
	for state := (retryState{}); err == nil && state.sendsNonce(t, resp); {
		resp.Body.Close()
		resp, err = v.server.probe(ctx, http.MethodPost, probeMessage, t)
	}
	if err == nil && resp.StatusCode == http.StatusMethodNotAllowed {
		// HTTP+SSE (MCP 2024-11-05) knows nothing but GET at this URL.
		resp.Body.Close()
		resp, err = v.server.probe(ctx, http.MethodGet, "", t)
	}
	if err != nil {
		if ctx.Err() == context.Canceled {
			return nil, ctx.Err()
		}
		return nil, err
	}
	resp.Body.Close() // a stream may never end
	p := &proof{status: resp.StatusCode, challenge: v.secrets.challengeOf(resp, t)}
	switch {
	case p.status == http.StatusTooManyRequests || p.status >= http.StatusInternalServerError:
		return nil, &Error{Kind: ErrServerUnreachable, Server: v.serverURL, Hint: "try again later",
			Message: fmt.Sprintf("the MCP server responds with %d; the credential is kept", p.status)}
	case p.status/100 == 3:
		return nil, &Error{Kind: ErrProtocol, Server: v.serverURL,
			Message: fmt.Sprintf("the MCP server responds with %d, and does not say where it is", p.status)}
	}
	p.rejected = p.status == http.StatusUnauthorized || p.status == http.StatusForbidden && rejectsToken(p.challenge)
	return p, nil
}
