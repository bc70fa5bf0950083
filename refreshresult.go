package handstamp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/store"
)

// storeToken stores what the authorization server issued, with what was learned on
// the way.
func (r *refreshAttempt) storeToken(ctx context.Context, rec *store.Record, at time.Time, t *oauth.TokenResponse, learned func(*store.Record)) (*cachedToken, error) {
	rec, err := r.records.update(ctx, rec, func(rec *store.Record) error {
		if !r.stillCurrent(rec) {
			return errSuperseded
		}
		r.rotated = t.RefreshToken != "" && store.Secret(t.RefreshToken) != r.refreshToken
		applyToken(rec.Grant, t, at)
		rec.Grant.Repeated = r.interrupted || r.request.inDoubt
		rec.Intent, rec.Retry, rec.Refusal, rec.Rejection = nil, nil, nil, nil
		if learned != nil {
			learned(rec)
		}
		return nil
	})
	switch {
	case errors.Is(err, errSuperseded):
		return r.resultAfterReplacement(ctx, rec, t)
	case err != nil:
		if !r.records.keepUnsaved(rec, t) {
			return nil, err
		}
		r.notice("the renewed login could not be stored and lives in this process only, which goes on trying: %v", err)
	}
	if r.need.rejected != "" {
		r.history.recordReplacement(store.Secret(t.AccessToken))
	}
	return r.tokens.useIssued(rec), nil
}

// resultAfterReplacement is what remains to do when the grant was replaced or removed while
// it was being renewed: a login that came meanwhile is used, and what nobody
// wants any more is revoked.
func (r *refreshAttempt) resultAfterReplacement(ctx context.Context, rec *store.Record, t *oauth.TokenResponse) (*cachedToken, error) {
	if rec.Grant == nil && t.RefreshToken != "" {
		ctx, cancel := awake.WithTimeout(ctx, revokeTimeout, nil)
		defer cancel()
		if err := r.revoker.revoke(ctx, r.before, store.Secret(t.RefreshToken), "refresh_token"); err != nil {
			r.log.Warn("a token issued during logout could not be revoked", "error", err)
		}
	}
	if accessTokenUsable(rec.Grant, r.need.rejected, time.Now()) {
		return r.tokens.use(rec), nil
	}
	r.tokens.current.Store(nil)
	return nil, nil
}

// stillCurrent reports whether the record still holds the grant under renewal.
func (r *refreshAttempt) stillCurrent(rec *store.Record) bool {
	return rec.Grant != nil && rec.Grant.RefreshToken == r.refreshToken
}

// onInvalidGrant ends the grant, unless its access token is still good and the
// refresh was ahead of its expiry by our own choice: then the server may only have
// rejected it for being early, and the next one waits for the expiry. Where the
// token is known not to work, by a 401 or by the caller's word, the rejection is
// final. A method that was learned on the way stays learned: the response shows
// that the client was authenticated.
func (r *refreshAttempt) onInvalidGrant(ctx context.Context, rec *store.Record, refused *oauth.Error, learned func(*store.Record)) (*cachedToken, error) {
	guessed := refused.Class() == oauth.ClassOther // the server never said so
	early := !guessed && accessTokenUsable(rec.Grant, r.need.rejected, time.Now()) && !rec.Grant.ExpiresAt.IsZero() &&
		!r.need.disowns(rec.Grant.AccessToken)
	rec, err := r.records.update(ctx, rec, func(rec *store.Record) error {
		if !r.stillCurrent(rec) {
			return errSuperseded
		}
		learned(rec)
		if early {
			rec.Retry = &store.Retry{NotBefore: rec.Grant.ExpiresAt, Reason: refused.Code}
			switch {
			case !r.interrupted && !r.request.inDoubt:
				rec.Intent = nil
			case rec.Intent != nil:
				rec.Intent.Sent = true // nobody has to hurry any more
			}
			return nil
		}
		if !guessed {
			rec.Grant.RefreshToken = ""
		}
		rec.Grant.Refused = rec.Grant.Refused || r.need.disowns(rec.Grant.AccessToken)
		rec.Intent, rec.Retry, rec.Rejection = nil, nil, nil
		rec.Refusal = &store.Refusal{
			At: time.Now().UTC(), Code: refusalCode(refused), Description: oauth.Sanitize(refused.Description),
			Interrupted: r.interrupted || r.request.inDoubt || r.before.Grant.Repeated, Guessed: guessed,
		}
		return nil
	})
	if err != nil && !errors.Is(err, errSuperseded) {
		return nil, err
	}
	switch {
	case r.need.metBy(rec.Grant, time.Now()):
		return r.tokens.use(rec), nil
	case early:
		return nil, r.errs.tooEarly(rec, refused)
	}
	r.tokens.current.Store(nil)
	return nil, nil
}

// refusalCode returns the code of a rejection, or its status where it has none.
func refusalCode(rejected *oauth.Error) string {
	if rejected.Code == "" {
		return fmt.Sprintf("status %d", rejected.Status)
	}
	return rejected.Code
}

// onInvalidClient handles a rejection of the client that the grant is bound to. The
// next login registers anew in place of one that we registered, and of a client ID
// metadata document where the server registers clients; one that the user
// configured is the user's to change. Either way an access token that still works
// goes on being used.
func (r *refreshAttempt) onInvalidClient(ctx context.Context, rec *store.Record, client *store.Client, refused *oauth.Error) (*cachedToken, error) {
	document := false
	if m := storedMetadata(rec); client.Source == store.SourceMetadataDocument {
		document = m != nil && m.RegistrationEndpoint != ""
	}
	replaceable := client.Source == store.SourceDynamic || document
	rec, err := r.records.update(ctx, rec, func(rec *store.Record) error {
		if !r.stillCurrent(rec) {
			return errSuperseded
		}
		if c := rec.GrantClient(); c != nil && replaceable {
			c.Refused = true
		}
		if document {
			learned := rec.LearnedOf(rec.Grant.Issuer)
			learned.NoMetadataDocument = true
			rec.Learn(learned)
		}
		rec.Grant.Refused = rec.Grant.Refused || r.need.disowns(rec.Grant.AccessToken)
		rec.Intent, rec.Retry, rec.Rejection = nil, nil, nil
		if !replaceable {
			beginCooldown(rec, r.config.rejectedClient(rec.Grant.Issuer, rec.Grant.TokenEndpoint, client), r.request.sent,
				r.errs.clientRejected(client, refused), time.Now())
		}
		rec.Refusal = &store.Refusal{At: time.Now().UTC(), Code: refused.Code, Description: oauth.Sanitize(refused.Description)}
		return nil
	})
	if err != nil && !errors.Is(err, errSuperseded) {
		return nil, err
	}
	if r.need.metBy(rec.Grant, time.Now()) {
		r.log.Warn("the client was rejected ahead of the token's expiry, going on with the token", "code", refused.Code)
		return r.tokens.use(rec), nil
	}
	r.tokens.current.Store(nil)
	if replaceable {
		return nil, nil
	}
	return nil, r.errs.clientRejected(client, refused)
}

// onTransientError keeps everything and notes when the authorization server may be
// asked again, for all processes.
func (r *refreshAttempt) onTransientError(ctx context.Context, rec *store.Record, wait time.Duration, cause error) (*cachedToken, error) {
	rec, err := r.records.update(ctx, rec, func(rec *store.Record) error {
		if !r.stillCurrent(rec) {
			return errSuperseded
		}
		failures := 1
		if rec.Retry != nil {
			failures += rec.Retry.Failures
		}
		wait = max(wait, min(backoff(failures+maxTries), maxBackoff))
		rec.Retry = &store.Retry{NotBefore: time.Now().Add(wait).UTC(), Failures: failures, Reason: reason(cause)}
		switch {
		case r.interrupted || r.request.inDoubt:
			if rec.Intent != nil {
				rec.Intent.Sent, rec.Intent.Answer = true, nil
			}
		default:
			rec.Intent = nil
		}
		return nil
	})
	if err != nil && !errors.Is(err, errSuperseded) {
		return nil, err
	}
	if r.need.metBy(rec.Grant, time.Now()) {
		r.log.Info("access token could not be renewed ahead of time, going on with it", "reason", reason(cause))
		return r.tokens.use(rec), nil
	}
	return nil, r.errs.unreachable(rec, cause)
}

// applyToken writes a token response into the grant. What the answer omits
// stays as it was (RFC 6749, sections 5.1 and 6).
func applyToken(g *store.Grant, t *oauth.TokenResponse, at time.Time) {
	g.AccessToken, g.TokenType = store.Secret(t.AccessToken), t.TokenType
	g.ObtainedAt, g.ExpiresAt = at.UTC(), time.Time{}
	if t.ExpiresIn > 0 {
		g.ExpiresAt = at.Add(t.ExpiresIn).UTC()
	}
	if t.RefreshToken != "" {
		g.RefreshToken = store.Secret(t.RefreshToken)
	}
	if t.IDToken != "" {
		g.IDToken = store.Secret(t.IDToken)
	}
	if t.ScopePresent {
		g.ScopeGranted = t.Scope
	}
	g.Refused, g.Accepted = false, false
}
