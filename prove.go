package handstamp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
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

// awaitFresh waits before a token that needs a moment is sent again, and reports
// false if it does not need one, or has had it. waits counts the waits so far.
func (s *session) awaitFresh(ctx context.Context, t *cachedToken, waits *int) bool {
	if *waits == len(freshTokenWaits) || !t.needsAMoment(time.Now()) {
		return false
	}
	rec, err := s.records.load(ctx)
	if err != nil || rec.Grant == nil || rec.Grant.AccessToken != t.token || rec.Grant.Accepted || rec.Grant.Rejected {
		return false
	}
	wait := freshTokenWaits[*waits]
	*waits++
	s.log.Debug("the server rejects a token that was just issued, sending it again", "wait", wait)
	return sleep(ctx, wait) == nil
}

// recordAcceptance notes that the MCP server has accepted a token. For one that was
// just issued to this process the record says so too: without that, each process
// would wait before it believes that the token was revoked.
func (s *session) recordAcceptance(ctx context.Context, t *cachedToken) {
	if t.accepted.Swap(true) || !t.issuedHere.Load() || time.Since(t.obtainedAt).Abs() >= freshTokenAge {
		return
	}
	ctx, cancel := awake.WithTimeout(context.WithoutCancel(ctx), storeTimeout, errStoreBusy)
	defer cancel()
	rec, err := s.records.load(ctx)
	if err == nil {
		_, err = s.records.update(ctx, rec, func(rec *record.Record) error {
			if rec.Grant == nil || rec.Grant.AccessToken != t.token || rec.Grant.Accepted {
				return errSuperseded
			}
			rec.Grant.Accepted = true
			return nil
		})
	}
	if err != nil && !errors.Is(err, errSuperseded) {
		s.log.Debug("the acceptance of the access token could not be recorded", "error", err)
	}
}

// proof is what the MCP server makes of an access token.
type proof struct {
	rejected  bool // the token does not work there
	status    int
	challenge oauth.BearerChallenge
}

// prove sends one request that does nothing (ping) to the MCP server, with the
// token. It sends a token that needs a moment again. The error is of kind
// [ErrUnreachable] if the server does not respond, or with a 429 or 5xx.
func (s *session) prove(ctx context.Context, t *cachedToken, waits *int) (*proof, error) {
	for {
		p, err := s.proveOnce(ctx, t)
		if err != nil {
			return nil, err
		}
		if !p.rejected {
			s.recordAcceptance(ctx, t)
			s.history.recordAccepted(t.token)
			return p, nil
		}
		if !s.awaitFresh(ctx, t, waits) {
			return p, ctx.Err()
		}
	}
}

func (s *session) proveOnce(ctx context.Context, t *cachedToken) (*proof, error) {
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	resp, err := s.probe(ctx, http.MethodPost, probeMessage, t)
	if err == nil && resp.StatusCode == http.StatusMethodNotAllowed {
		// HTTP+SSE (MCP 2024-11-05) knows nothing but GET at this URL.
		resp.Body.Close()
		resp, err = s.probe(ctx, http.MethodGet, "", t)
	}
	if err != nil {
		if ctx.Err() == context.Canceled {
			return nil, ctx.Err()
		}
		return nil, err
	}
	resp.Body.Close() // a stream may never end
	p := &proof{status: resp.StatusCode, challenge: s.secrets.challengeOf(resp, t)}
	switch {
	case p.status == http.StatusTooManyRequests || p.status >= http.StatusInternalServerError:
		return nil, &Error{Kind: ErrServerUnreachable, Server: s.serverURL, Hint: "try again later",
			Message: fmt.Sprintf("the MCP server responds with %d; the credential is kept", p.status)}
	case p.status/100 == 3:
		return nil, &Error{Kind: ErrProtocol, Server: s.serverURL,
			Message: fmt.Sprintf("the MCP server responds with %d, and does not say where it is", p.status)}
	}
	p.rejected = p.status == http.StatusUnauthorized || p.status == http.StatusForbidden && rejectsToken(p.challenge)
	return p, nil
}
