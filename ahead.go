package handstamp

import (
	"context"
	"time"

	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
)

const (
	// aheadMost is how long before its expiry a token is refreshed ahead, at most. It is earlier
	// than a request would refresh it.
	aheadMost = 5 * time.Minute

	// After its second failure, or the first one of this machine, a refresh is left alone for
	// firstAheadPause, and for twice as long after each further one, up to maxAheadPause.
	firstAheadPause = 30 * time.Second
	maxAheadPause   = time.Hour
)

// RefreshAhead refreshes the token of a server if it will expire soon, so that no request has to
// wait for that. It is for workers: package hosted has one. Soon is a quarter of the token's life,
// and 5 minutes at most.
//
// The error is nil if the stored token is good for longer, or if it still works and the store fails:
// [Hooks.Event] has the reason. An error does not affect requests: they
// use the current token, or refresh it. It is of kind [ErrUnreachable], also during the pause after a
// failed refresh; [ErrLoginRequired] if a user has to sign in; [ErrClientRejected], [ErrProtocol],
// [ErrStore], [ErrInvalidConfig] or [ErrClosed]; or it is ctx's.
//
// retryAt is set if the authorization server is overloaded or did not respond; do not refresh there
// before that time, for any user.
func (c *Client) RefreshAhead(ctx context.Context, serverURL string) (retryAt time.Time, err error) {
	s, err := c.session(serverURL)
	if err != nil {
		return time.Time{}, err
	}
	snap, err := s.refresher.refresh(ctx, tokenNeed{ahead: true})
	now := time.Now()
	if err == nil && snap != nil && !snap.aheadDue(now) {
		return time.Time{}, nil
	}
	rec, errLoad := s.records.load(ctx)
	switch {
	case err == nil && errLoad != nil:
		return time.Time{}, errLoad
	case errLoad == nil && (retryPending(rec.Retry, now) || neverRequested(rec.Retry)):
		if err == nil {
			err = s.errs.unreachable(rec, nil)
		}
		if !rejectedEarly(rec) && rec.Rejection == nil { // which are about this credential
			retryAt = rec.Retry.NotBefore
		}
	case err == nil && snap == nil:
		err = s.errs.loginRequired(rec)
	}
	return retryAt, err
}

// aheadTime returns when a worker refreshes the grant: earlier than any request does, of whatever
// jitter. It is zero for a grant that is not refreshed.
func aheadTime(refreshToken bool, obtained, expires time.Time) time.Time {
	if !refreshToken || expires.IsZero() {
		return time.Time{}
	}
	return expires.Add(-min(aheadMost, expires.Sub(obtained)/4))
}

// aheadDue reports whether it is time to refresh a grant that a worker looks at.
func aheadDue(g *record.Grant, now time.Time) bool {
	at := aheadTime(g.RefreshToken != "", g.ObtainedAt, g.ExpiresAt)
	return !at.IsZero() && !now.Before(at)
}

// aheadDue is aheadDue of the grant that the token is of.
func (s *cachedToken) aheadDue(now time.Time) bool {
	at := aheadTime(true, s.obtainedAt, s.expiresAt)
	return !at.IsZero() && !now.Before(at)
}

// schedule returns when a worker is to look at a record. What was rejected is left to the next
// request, which can report it.
func (cfg *configuration) schedule(rec *record.Record) store.Schedule {
	g, now := rec.Grant, time.Now()
	if g == nil || g.RefreshToken == "" || rec.GrantError != nil || !cfg.refreshable(rec, now) ||
		refreshPause(rec, tokenNeed{}, cfg, now).action == awaitCooldown {
		return store.Schedule{}
	}
	due := aheadTime(true, g.ObtainedAt, g.ExpiresAt)
	switch {
	case refreshInterrupted(rec) && !rec.Intent.Sent:
		// Under way, or cut off: then the sooner it is finished, the better. Its process has the
		// lock as long as it lives.
		due = rec.Intent.At.Add(requestTimeout)
		if neverRequested(rec.Retry) && !due.After(now) { // it was tried since
			due = now.Add(aheadPause(rec.Retry.Failures))
		}
	case due.IsZero():
		return store.Schedule{}
	case retryPending(rec.Retry, now):
		due = latest(due, rec.Retry.NotBefore, now.Add(aheadPause(rec.Retry.Failures-1)))
	case neverRequested(rec.Retry): // or it would be due again at once
		due = latest(due, now.Add(aheadPause(rec.Retry.Failures)))
	}
	return store.Schedule{Due: due, Group: g.Issuer}
}

// neverRequested reports whether the last refresh failed because no request could be made.
func neverRequested(r *record.Retry) bool { return r != nil && r.NotBefore.IsZero() }

// aheadPause returns how long a refresh is left alone that has failed so often.
func aheadPause(failures int) time.Duration {
	if failures <= 0 {
		return 0
	}
	return min(firstAheadPause<<min(failures-1, 10), maxAheadPause)
}

// latest returns the latest of some times.
func latest(times ...time.Time) (last time.Time) {
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}
