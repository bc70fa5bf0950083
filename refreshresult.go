package handstamp

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
)

// refreshedGrant is the grant that is refreshed, as it is stored. Another process may replace it
// meanwhile.
type refreshedGrant struct {
	records *records
	token   secret.String // the refresh token that is sent
	intent  string        // the ID of the intent to send it
}

// updateCurrent changes the record while it holds the grant that is refreshed. Otherwise the error
// is errSuperseded.
func (g *refreshedGrant) updateCurrent(ctx context.Context, rec *record.Record, change func(*record.Record)) (*record.Record, error) {
	return g.records.update(ctx, rec, func(rec *record.Record) error {
		if rec.Grant == nil || rec.Grant.RefreshToken != g.token {
			return errSuperseded
		}
		change(rec)
		return nil
	})
}

// update is updateCurrent for where it is no error that the grant was replaced meanwhile: the
// record that it returns then has the replacement.
func (g *refreshedGrant) update(ctx context.Context, rec *record.Record, change func(*record.Record)) (*record.Record, error) {
	rec, err := g.updateCurrent(ctx, rec, change)
	if errors.Is(err, errSuperseded) {
		err = nil
	}
	return rec, err
}

// overtaken reports whether another process has used the same refresh token after this one began
// to: the lock was lost, as that of a lease is whose holder was suspended for too long.
func (g *refreshedGrant) overtaken(rec *record.Record) bool {
	return rec.GrantError != nil && rec.GrantError.Interrupted ||
		rec.Intent != nil && rec.Intent.ID != g.intent
}

// countRejection counts a rejection of the refresh token that gives no reason, if
// it is like the last one and far enough from it.
func (g *refreshedGrant) countRejection(rec *record.Record, rejected *oauth.Error, apart time.Duration, now time.Time) {
	why := reason(rejected)
	if rejected.Code != "" {
		why = fmt.Sprintf("%d %s", rejected.Status, rejected.Code)
	}
	last := rec.Rejection
	if last == nil || last.Reason != why || last.Fingerprint != fingerprint(last.ID, g.token) {
		id := rand.Text()
		rec.Rejection = &record.Rejection{ID: id, Fingerprint: fingerprint(id, g.token), Reason: why, Count: 1, At: now.UTC()}
		return
	}
	switch {
	case now.Before(last.At): // noted under a clock that ran ahead
		last.At = now.UTC()
	case now.Sub(last.At) >= apart:
		last.Count, last.At = last.Count+1, now.UTC()
	}
}

// storeToken stores what the authorization server issued, with what was learned on
// the way.
func (r *refreshAttempt) storeToken(ctx context.Context, rec *record.Record, at time.Time, t *oauth.TokenResponse, learned func(*record.Record)) (*cachedToken, error) {
	r.issued = true
	rec, err := r.grant.updateCurrent(ctx, rec, func(rec *record.Record) {
		r.rotated = t.RefreshToken != "" && t.RefreshToken != r.grant.token
		applyToken(rec.Grant, t, at)
		if r.interrupted || r.request.inDoubt || r.grant.overtaken(rec) {
			rec.Grant.RepeatedAt = at.UTC()
		}
		rec.Intent, rec.Retry, rec.GrantError, rec.Rejection = nil, nil, nil, nil
		if learned != nil {
			learned(rec)
		}
	})
	switch {
	case errors.Is(err, errSuperseded):
		return r.resultAfterReplacement(ctx, rec, t)
	case err != nil:
		if !r.records.keepUnsaved(rec, t.AccessToken, r.grant) {
			return nil, err
		}
		r.notice("the refreshed login could not be stored and lives in this process only, which goes on trying: %v", err)
	case r.rotated:
		r.records.keepSaved(rec, r.grant)
	}
	if r.need.rejected != "" {
		r.history.recordReplacement(t.AccessToken)
	}
	return r.tokens.useIssued(rec), nil
}

// resultAfterReplacement handles a grant that was replaced or removed while
// it was being refreshed: a login that came meanwhile is used, and a token that is not
// wanted any more is revoked.
func (r *refreshAttempt) resultAfterReplacement(ctx context.Context, rec *record.Record, t *oauth.TokenResponse) (*cachedToken, error) {
	if rec.Grant == nil && t.RefreshToken != "" {
		ctx, cancel := awake.WithTimeout(ctx, revokeTimeout, nil)
		defer cancel()
		if err := (revoker{r.credential}).revoke(ctx, r.before, t.RefreshToken, "refresh_token"); err != nil {
			r.events.fail(StepRevocation, err, "a token issued during logout could not be revoked")
		}
	}
	if rec.Grant.Usable(r.need.rejected, time.Now()) {
		return r.tokens.use(rec), nil
	}
	r.tokens.current.Store(nil)
	return nil, nil
}

// endGrant notes in the record that the grant cannot be refreshed any more.
func (r *refreshAttempt) endGrant(rec *record.Record, reason record.GrantError) {
	reason.At = time.Now().UTC()
	rec.Grant.Rejected = rec.Grant.Rejected || r.need.disowns(rec.Grant.AccessToken)
	rec.Intent, rec.Retry, rec.Rejection = nil, nil, nil
	rec.GrantError = &reason
}

// usable returns the record's token if it serves although it could not be refreshed, else nil.
func (r *refreshAttempt) usable(rec *record.Record) *cachedToken {
	if r.need.metBy(rec.Grant, time.Now()) {
		return r.tokens.use(rec)
	}
	return nil
}

// keep goes on with the record's token if it serves although it could not be refreshed. Otherwise
// no token is sent any more, and the error is err.
func (r *refreshAttempt) keep(rec *record.Record, err error) (*cachedToken, error) {
	if token := r.usable(rec); token != nil {
		return token, nil
	}
	r.tokens.current.Store(nil)
	return nil, err
}

// onInvalidGrant ends the grant, unless its access token is still good and the
// refresh was ahead of its expiry by our own choice: then the server may only have
// rejected it for being early, and the next one waits for the expiry. Where the
// token is known not to work, by a 401 or from the caller, the rejection is
// final. A method that was learned on the way stays learned: the response shows
// that the client was authenticated.
func (r *refreshAttempt) onInvalidGrant(ctx context.Context, rec *record.Record, rejected *oauth.Error) (*cachedToken, error) {
	guessed := rejected.Class() == oauth.ClassOther // the server did not name the grant
	early := !guessed && rec.Grant.Usable(r.need.rejected, time.Now()) && !rec.Grant.ExpiresAt.IsZero() &&
		!r.need.disowns(rec.Grant.AccessToken)
	rec, err := r.grant.update(ctx, rec, func(rec *record.Record) {
		r.learn(rec)
		if early {
			rec.Retry = &record.Retry{NotBefore: rec.Grant.ExpiresAt, Reason: rejected.Code}
			r.endIntent(rec)
			return
		}
		overtaken := r.grant.overtaken(rec)
		if !guessed && !overtaken { // the response to the other process may be a better one
			rec.Grant.RefreshToken = ""
		}
		code := cmp.Or(rejected.Code, fmt.Sprintf("status %d", rejected.Status))
		r.endGrant(rec, record.GrantError{
			Code: code, Description: oauth.Sanitize(rejected.Description), Guessed: guessed,
			Interrupted: r.interrupted || r.request.inDoubt || repeatedLately(rec.Grant) || overtaken,
		})
	})
	if err != nil {
		return nil, err
	}
	if early && rec.Grant != nil && !r.need.metBy(rec.Grant, time.Now()) { // nil: a logout meanwhile
		return nil, r.errs.tooEarly(rec, rejected)
	}
	return r.keep(rec, nil)
}

// repeatedTime is how long after a refresh was repeated it is named as what may have ended the grant.
const repeatedTime = 24 * time.Hour

// repeatedLately reports whether the process that began a refresh which another one repeated may
// have ended the grant.
func repeatedLately(g *record.Grant) bool {
	return !g.RepeatedAt.IsZero() && time.Since(g.RepeatedAt).Abs() < repeatedTime
}

// endIntent removes the mark of a refresh that the server has not done. In doubt it stays, and no
// other process has to repeat the request at once.
func (r *refreshAttempt) endIntent(rec *record.Record) {
	switch {
	case !r.interrupted && !r.request.inDoubt:
		rec.Intent = nil
	case rec.Intent != nil:
		rec.Intent.Sent, rec.Intent.Response = true, nil
	}
}

// onInvalidClient handles a rejection of the client that the grant is bound to. The
// next login registers again in place of one that we registered, and of a client ID
// metadata document where the server registers clients; one that the user
// configured is the user's to change. Either way an access token that still works
// goes on being used.
func (r *refreshAttempt) onInvalidClient(ctx context.Context, rec *record.Record, client *record.Client, rejected *oauth.Error) (*cachedToken, error) {
	document := false
	if m := storedMetadata(rec); client.Source == record.SourceMetadataDocument {
		document = m != nil && m.RegistrationEndpoint != ""
	}
	replaceable := client.Source == record.SourceDynamic || document
	sent := *client
	sent.Method = r.request.form.method // not as it is stored, where the configuration has another
	rejection := r.errs.clientRejected(&sent, rejected)
	rec, err := r.grant.update(ctx, rec, func(rec *record.Record) {
		if c := rec.GrantClient(); c != nil && replaceable {
			c.Rejected = true
		}
		if document {
			learned := rec.LearnedOf(rec.Grant.Issuer)
			learned.NoMetadataDocument = true
			rec.Learn(learned)
		}
		if !replaceable {
			beginCooldown(rec, r.config.rejectedClient(rec.Grant.Issuer, rec.Grant.TokenEndpoint, client), r.request.sent,
				rejection, time.Now())
		}
		r.endGrant(rec, record.GrantError{Code: rejected.Code, Description: oauth.Sanitize(rejected.Description)})
	})
	if err != nil {
		return nil, err
	}
	if token := r.usable(rec); token != nil {
		r.events.fail(StepRefresh, rejected, "the client was rejected ahead of the token's expiry; going on with the token")
		return token, nil
	}
	r.tokens.current.Store(nil)
	if replaceable {
		return nil, nil
	}
	return nil, rejection
}

// onWrongClock keeps the grant and its client: with the right clock the same refresh token works. No
// process sends it again before the cooldown is over.
func (r *refreshAttempt) onWrongClock(
	ctx context.Context, rec *record.Record, client *record.Client, wrong *Error,
) (*cachedToken, error) {
	subject := r.config.rejectedClient(rec.Grant.Issuer, rec.Grant.TokenEndpoint, client)
	rec, err := r.grant.update(ctx, rec, func(rec *record.Record) {
		beginCooldown(rec, subject, r.request.sent, wrong, time.Now())
		r.endIntent(rec)
	})
	if err != nil {
		return nil, err
	}
	return r.keep(rec, wrong)
}

// onTransientError keeps everything and notes, for all processes, until when the authorization
// server is left alone.
func (r *refreshAttempt) onTransientError(ctx context.Context, rec *record.Record, wait time.Duration, cause error) (*cachedToken, error) {
	rec, err := r.grant.update(ctx, rec, func(rec *record.Record) {
		noteRetry(rec, wait, cause)
		r.endIntent(rec)
	})
	if err != nil {
		return nil, err
	}
	if token := r.usable(rec); token != nil {
		r.events.fail(StepRefresh, cause, "the access token could not be refreshed ahead of time; going on with it")
		return token, nil
	}
	return nil, r.errs.unreachable(rec, cause)
}

// onUnmade keeps everything where the request could not be made. No other process waits for that, or
// leaves an earlier request that was interrupted: it may be able to make one. Only the refresh ahead
// waits, whichever process does that.
func (r *refreshAttempt) onUnmade(
	ctx context.Context, rec *record.Record, cause error,
) (*cachedToken, error) {
	rec, err := r.grant.update(ctx, rec, func(rec *record.Record) {
		noteRetry(rec, 0, cause)
		rec.Retry.NotBefore, rec.Retry.Reason = time.Time{}, "the request could not be made"
		r.endIntent(rec)
		if begun := r.before.Intent; rec.Intent != nil && !r.request.inDoubt {
			rec.Intent.At, rec.Intent.Sent = begun.At, begun.Sent
		}
	})
	if err != nil {
		return nil, err
	}
	if rec.Retry != nil { // or else another process has replaced or removed the login meanwhile
		r.history.recordUnmade(cause, retryWait(rec.Retry.Failures))
	}
	r.events.fail(StepRefresh, cause, "the request could not be made")
	token, err := r.keep(rec, r.errs.from(cause))
	if token != nil {
		token.serveForNow()
	}
	return token, err
}

// noteRetry notes in the record until when the authorization server is left alone.
func noteRetry(rec *record.Record, wait time.Duration, cause error) {
	failures := 1
	if rec.Retry != nil {
		failures += rec.Retry.Failures
	}
	wait = max(wait, retryWait(failures))
	rec.Retry = &record.Retry{NotBefore: time.Now().Add(wait).UTC(), Failures: failures, Reason: reason(cause)}
}

// retryWait returns how long nothing is tried after a number of refreshes that failed.
func retryWait(failures int) time.Duration { return min(backoff(failures+maxTries), maxBackoff) }

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
	updated, err := r.grant.updateCurrent(ctx, rec, func(rec *record.Record) {
		r.grant.countRejection(rec, rejected, apart, time.Now())
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
