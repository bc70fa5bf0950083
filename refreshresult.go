package handstamp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
)

// storeToken stores what the authorization server issued, with what was learned on
// the way.
func (r *refreshAttempt) storeToken(ctx context.Context, rec *record.Record, at time.Time, t *oauth.TokenResponse, learned func(*record.Record)) (*cachedToken, error) {
	rec, err := r.records.update(ctx, rec, func(rec *record.Record) error {
		if !r.stillCurrent(rec) {
			return errSuperseded
		}
		r.rotated = t.RefreshToken != "" && secret.String(t.RefreshToken) != r.refreshToken
		applyToken(rec.Grant, t, at)
		rec.Grant.Repeated = r.interrupted || r.sent
		rec.Intent, rec.Retry, rec.GrantError, rec.Rejection = nil, nil, nil, nil
		if learned != nil {
			learned(rec)
		}
		return nil
	})
	switch {
	case errors.Is(err, errSuperseded):
		return r.resultAfterReplacement(ctx, rec, t)
	case err != nil:
		if !r.records.keepUnsaved(rec, t.AccessToken) {
			return nil, err
		}
		r.notice("the renewed login could not be stored and lives in this process only, which goes on trying: %v", err)
	}
	if r.need.rejected != "" {
		r.history.recordReplacement(secret.String(t.AccessToken))
	}
	return r.useIssued(rec), nil
}

// resultAfterReplacement is what remains to do when the grant was replaced or removed while
// it was being renewed: a login that came meanwhile is used, and what nobody
// wants any more is revoked.
func (r *refreshAttempt) resultAfterReplacement(ctx context.Context, rec *record.Record, t *oauth.TokenResponse) (*cachedToken, error) {
	if rec.Grant == nil && t.RefreshToken != "" {
		ctx, cancel := awake.WithTimeout(ctx, revokeTimeout, nil)
		defer cancel()
		if err := r.revoke(ctx, r.before, secret.String(t.RefreshToken), "refresh_token"); err != nil {
			r.log.Warn("a token issued during logout could not be revoked", "error", err)
		}
	}
	if accessTokenUsable(rec.Grant, r.need.rejected, time.Now()) {
		return r.useToken(rec), nil
	}
	r.session.cached.Store(nil)
	return nil, nil
}

// stillCurrent reports whether the record still holds the grant under renewal.
func (r *refreshAttempt) stillCurrent(rec *record.Record) bool {
	return rec.Grant != nil && rec.Grant.RefreshToken == r.refreshToken
}

// onInvalidGrant ends the grant, unless its access token is still good and the
// refresh was ahead of its expiry by our own choice: then the server may only have
// rejected it for being early, and the next one waits for the expiry. Where the
// token is known not to work, by a 401 or by the caller's word, the rejection is
// final. A method that was learned on the way stays learned: the response shows
// that the client was authenticated.
func (r *refreshAttempt) onInvalidGrant(ctx context.Context, rec *record.Record, refused *oauth.Error, learned func(*record.Record)) (*cachedToken, error) {
	guessed := refused.Class() == oauth.ClassOther // the server never said so
	early := !guessed && accessTokenUsable(rec.Grant, r.need.rejected, time.Now()) && !rec.Grant.ExpiresAt.IsZero() &&
		!r.need.disowns(rec.Grant.AccessToken)
	rec, err := r.records.update(ctx, rec, func(rec *record.Record) error {
		if !r.stillCurrent(rec) {
			return errSuperseded
		}
		learned(rec)
		if early {
			rec.Retry = &record.Retry{NotBefore: rec.Grant.ExpiresAt, Reason: refused.Code}
			switch {
			case !r.interrupted && !r.sent:
				rec.Intent = nil
			case rec.Intent != nil:
				rec.Intent.Sent = true // nobody has to hurry any more
			}
			return nil
		}
		if !guessed {
			rec.Grant.RefreshToken = ""
		}
		rec.Grant.Rejected = rec.Grant.Rejected || r.need.disowns(rec.Grant.AccessToken)
		rec.Intent, rec.Retry, rec.Rejection = nil, nil, nil
		rec.GrantError = &record.GrantError{
			At: time.Now().UTC(), Code: refusalCode(refused), Description: oauth.Sanitize(refused.Description),
			Interrupted: r.interrupted || r.sent || r.before.Grant.Repeated, Guessed: guessed,
		}
		return nil
	})
	if err != nil && !errors.Is(err, errSuperseded) {
		return nil, err
	}
	switch {
	case r.tokenUsable(rec):
		return r.useToken(rec), nil
	case early:
		return nil, r.tooEarlyError(rec, refused)
	}
	r.session.cached.Store(nil)
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
func (r *refreshAttempt) onInvalidClient(ctx context.Context, rec *record.Record, client *record.Client, refused *oauth.Error) (*cachedToken, error) {
	document := false
	if m := storedMetadata(rec); client.Source == record.SourceMetadataDocument {
		document = m != nil && m.RegistrationEndpoint != ""
	}
	replaceable := client.Source == record.SourceDynamic || document
	rec, err := r.records.update(ctx, rec, func(rec *record.Record) error {
		if !r.stillCurrent(rec) {
			return errSuperseded
		}
		if c := rec.GrantClient(); c != nil && replaceable {
			c.Rejected = true
		}
		if document {
			learned := rec.LearnedOf(rec.Grant.Issuer)
			learned.NoMetadataDocument = true
			rec.Learn(learned)
		}
		rec.Grant.Rejected = rec.Grant.Rejected || r.need.disowns(rec.Grant.AccessToken)
		rec.Intent, rec.Retry, rec.Rejection = nil, nil, nil
		if !replaceable {
			beginCooldown(rec, r.rejectedClient(rec.Grant.Issuer, rec.Grant.TokenEndpoint, client), r.token.sent,
				r.clientRejectedError(client, refused), time.Now())
		}
		rec.GrantError = &record.GrantError{At: time.Now().UTC(), Code: refused.Code, Description: oauth.Sanitize(refused.Description)}
		return nil
	})
	if err != nil && !errors.Is(err, errSuperseded) {
		return nil, err
	}
	if r.tokenUsable(rec) {
		r.log.Warn("the client was rejected ahead of the token's expiry, going on with the token", "code", refused.Code)
		return r.useToken(rec), nil
	}
	r.session.cached.Store(nil)
	if replaceable {
		return nil, nil
	}
	return nil, r.clientRejectedError(client, refused)
}

// onTransientError keeps everything and notes when the authorization server may be
// asked again, for all processes.
func (r *refreshAttempt) onTransientError(ctx context.Context, rec *record.Record, wait time.Duration, cause error) (*cachedToken, error) {
	rec, err := r.records.update(ctx, rec, func(rec *record.Record) error {
		if !r.stillCurrent(rec) {
			return errSuperseded
		}
		failures := 1
		if rec.Retry != nil {
			failures += rec.Retry.Failures
		}
		wait = max(wait, min(backoff(failures+maxTries), maxBackoff))
		rec.Retry = &record.Retry{NotBefore: time.Now().Add(wait).UTC(), Failures: failures, Reason: reason(cause)}
		switch {
		case r.interrupted || r.sent:
			if rec.Intent != nil {
				rec.Intent.Sent, rec.Intent.Response = true, nil
			}
		default:
			rec.Intent = nil
		}
		return nil
	})
	if err != nil && !errors.Is(err, errSuperseded) {
		return nil, err
	}
	if r.tokenUsable(rec) {
		r.log.Info("access token could not be renewed ahead of time, going on with it", "reason", reason(cause))
		return r.useToken(rec), nil
	}
	return nil, r.unreachableError(rec, cause)
}

// applyToken writes a token response into the grant. What the answer omits
// stays as it was (RFC 6749, sections 5.1 and 6).
func applyToken(g *record.Grant, t *oauth.TokenResponse, at time.Time) {
	g.AccessToken, g.TokenType = secret.String(t.AccessToken), t.TokenType
	g.ObtainedAt, g.ExpiresAt = at.UTC(), time.Time{}
	if t.ExpiresIn > 0 {
		g.ExpiresAt = at.Add(t.ExpiresIn).UTC()
	}
	if t.RefreshToken != "" {
		g.RefreshToken = secret.String(t.RefreshToken)
	}
	if t.IDToken != "" {
		g.IDToken = secret.String(t.IDToken)
	}
	if t.ScopePresent {
		g.ScopeGranted = t.Scope
	}
	g.Rejected, g.Accepted = false, false
}
