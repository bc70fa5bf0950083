package handstamp

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

// believedAfter returns how many equal rejections that give no reason, and how
// far apart, are believed to mean the grant.
func believedAfter(status int) (count int, apart time.Duration) {
	switch status {
	case 403, 409, 422: // a policy or a firewall may be behind these, for a while
		return 3, 30 * time.Second
	}
	return 2, 2 * time.Second
}

// onUnnamedRejection handles a rejection that names neither the grant nor the
// client: the grant ends when it has come often enough, and nothing but a new
// login would help anyway.
func (r *refreshAttempt) onUnnamedRejection(ctx, requesting context.Context, rec *record.Record, rejected *oauth.Error) (again bool, _ *cachedToken, err error) {
	count, apart := believedAfter(rejected.Status)
	updated, err := r.records.update(ctx, rec, func(rec *record.Record) error {
		if !r.stillCurrent(rec) {
			return errSuperseded
		}
		r.countRejection(rec, rejected, apart, time.Now())
		return nil
	})
	if err != nil {
		return false, nil, err
	}
	*rec = *updated
	if r.need.metBy(rec.Grant, time.Now()) {
		snap, err := r.onTransientError(ctx, rec, max(apart, backoff(maxTries)), rejected)
		return false, snap, err
	}
	wait := min(time.Until(rec.Rejection.At.Add(apart)), apart)
	switch {
	case rec.Rejection.Count >= count:
		snap, err := r.onInvalidGrant(ctx, rec, rejected)
		return false, snap, err
	case wait <= maxRetryWait && sleep(requesting, max(wait, 0)) == nil:
		return true, nil, nil
	}
	snap, err := r.onTransientError(ctx, rec, wait, rejected)
	return false, snap, err
}

// countRejection counts a rejection of the refresh token that gives no reason, if
// it is like the last one and far enough from it.
func (r *refreshAttempt) countRejection(rec *record.Record, rejected *oauth.Error, apart time.Duration, now time.Time) {
	why := reason(rejected)
	if rejected.Code != "" {
		why = fmt.Sprintf("%d %s", rejected.Status, rejected.Code)
	}
	last := rec.Rejection
	if last == nil || last.Reason != why || last.Fingerprint != fingerprint(last.ID, r.refreshToken) {
		id := rand.Text()
		rec.Rejection = &record.Rejection{ID: id, Fingerprint: fingerprint(id, r.refreshToken), Reason: why, Count: 1, At: now.UTC()}
		return
	}
	switch {
	case now.Before(last.At): // noted under a clock that ran ahead
		last.At = now.UTC()
	case now.Sub(last.At) >= apart:
		last.Count, last.At = last.Count+1, now.UTC()
	}
}
