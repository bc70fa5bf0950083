package handstamp

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math"
	mrand "math/rand/v2"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/store"
)

// How a refresh token is spent. The authorization server may invalidate it the
// moment it reads it (rotation: RFC 9700, section 4.14), so that from then on
// the only copy of the login is the answer under way. Hence:
//
//	one sender      it is sent only under the lock, after the record was read there
//	room first      the room for the answer is reserved before anything is sent
//	intent first    the record says that a renewal has begun, durably
//	finished        no caller's context reaches what follows
//	saved raw       the answer is durable before anybody interprets it
//	never over new  every write compares the generation
//
// What remains is a crash between the server's commit and the saved answer; the
// intent then makes the next process repeat the request at once, and name the
// reason if the server does not forgive that.

const (
	answerRoom    = 16 << 10 // bytes beyond the record's own size reserved for an answer
	tries         = 3        // requests within one renewal while the trouble is passing
	firstBackoff  = 300 * time.Millisecond
	longestWait   = 2 * time.Second // a longer Retry-After is left to a later renewal
	longestRetry  = 30 * time.Second
	revokeTimeout = 10 * time.Second
)

// spend renews the grant. The caller holds the renewal lock and has read rec
// under it.
func (s *session) spend(ctx context.Context, rec *store.Record, why renewal) (*snapshot, error) {
	r := &spending{session: s, why: why, spent: rec.Grant.RefreshToken, before: rec.Clone()}
	started := time.Now()
	snap, err := r.run(ctx, rec)
	if refreshed := s.c.Hooks.Refreshed; refreshed != nil && !errors.Is(err, errSuperseded) {
		refreshed(RefreshEvent{
			Server: s.serverURL, Issuer: r.before.Grant.Issuer, Duration: time.Since(started),
			Rotated: r.rotated, Replayed: r.replayed, Err: err,
		})
	}
	return snap, err
}

// spending is one renewal under the lock.
type spending struct {
	*session
	why    renewal
	spent  store.Secret  // the refresh token
	before *store.Record // as it was when the token was read
	room   store.Reservation

	partial   *oauth.TokenResponse // an answer cut off after the access token
	partialAt time.Time

	interrupted bool // an earlier renewal of this token was cut off
	sent        bool // this one may have reached the server without an answer
	replayed    bool
	rotated     bool
}

func (r *spending) run(ctx context.Context, rec *store.Record) (*snapshot, error) {
	if interrupted(rec) {
		r.interrupted = true
		if a := rec.Intent.Answer; a != nil {
			// Received and saved by a process that did not live to read it.
			token, err := oauth.ParseToken(rawAnswer(a))
			if token != nil && err == nil {
				return r.accept(ctx, rec, a.ReceivedAt, token, nil)
			}
		}
	}
	if err := r.prepare(ctx, rec); err != nil {
		if errors.Is(err, store.ErrConflict) {
			return nil, errSuperseded // a login or logout came in between; nothing was sent
		}
		if r.tokenUsable(rec) {
			r.notice("the access token could not be renewed ahead of time, because its successor could not be stored: %v", err)
			return r.publish(rec), nil
		}
		return nil, storeError(r.serverURL, err)
	}
	if r.room != nil {
		defer r.room.Release()
	}
	return r.ask(ctx, rec)
}

// tokenUsable reports whether the record's access token serves while it cannot
// be renewed.
func (r *spending) tokenUsable(rec *store.Record) bool {
	g, now := rec.Grant, time.Now()
	return usable(g, r.why.refused, now) && r.why.accepts(g.AccessToken, g.ExpiresAt, now)
}

// prepare makes sure that the answer can be stored, and says in the record that
// the refresh token is about to be spent.
func (r *spending) prepare(ctx context.Context, rec *store.Record) error {
	if reserver, ok := r.c.Store.(store.Reserver); ok {
		encoded, err := store.Encode(rec)
		if err != nil {
			return err
		}
		if r.room, err = reserver.Reserve(ctx, r.key, len(encoded)+answerRoom); err != nil {
			return err
		}
	}
	id := rand.Text()
	rec.Intent = &store.Intent{
		ID:          id,
		At:          time.Now().UTC(),
		Fingerprint: fingerprint(id, r.spent),
	}
	err := r.put(ctx, rec, nil)
	if err != nil && r.room != nil {
		r.room.Release()
	}
	return err
}

// ask sends the refresh token until an answer settles its fate or the trouble
// lasts too long.
func (r *spending) ask(ctx context.Context, rec *store.Record) (*snapshot, error) {
	g, client := rec.Grant, r.configured(rec.GrantClient())
	choice, err := chooseMethod(r.clientFacts(client, listedMethods(rec)))
	if err != nil {
		return nil, &Error{Kind: ErrUsage, Server: r.serverURL, Err: err}
	}
	method, resource := choice.method, g.Resource
	for try := 1; ; {
		answer, err := r.fetcher.PostToken(ctx, oauth.TokenRequest{
			Endpoint:     g.TokenEndpoint,
			Client:       authenticator(client, method),
			RefreshToken: r.spent,
			Resource:     resourceParam(resource),
		})
		var token *oauth.TokenResponse
		if err == nil {
			if answer.Status/100 == 2 {
				if err := r.saveRaw(ctx, rec, answer); err != nil {
					return nil, err
				}
			}
			token, err = oauth.ParseToken(answer)
		}
		if token != nil && token.Partial && token.RefreshToken == "" && !r.replayed {
			// The refresh token may have been in the part that was lost.
			r.partial, r.partialAt = token, answer.ReceivedAt
			r.sent, r.replayed = true, true
			continue
		}
		if token != nil {
			snap, stored := r.accept(ctx, rec, answer.ReceivedAt, token, func(rec *store.Record) {
				if c := rec.GrantClient(); c != nil && method != choice.method {
					c.Method, c.MethodSource = method, store.MethodLearned
				}
				if resource.Omit && !g.Resource.Omit {
					rec.Grant.Resource = resource
					rec.OmitResource = append(rec.OmitResource, g.Issuer)
				}
			})
			if err != nil {
				// A refresh token beside an access token that cannot be used is
				// worth keeping; the answer is a mistake of the server's all the
				// same.
				return nil, protocolError(r.serverURL, err)
			}
			return snap, stored
		}

		var refused *oauth.Error
		var lost *oauth.SendError
		switch {
		case r.partial != nil:
			// The repetition brought nothing; the access token is something.
			return r.accept(ctx, rec, r.partialAt, r.partial, nil)
		case errors.As(err, &lost) && lost.Sent && !r.replayed:
			// In doubt. If the server did not see the token, this succeeds; if
			// it did and forgives a repetition, too; otherwise nothing is lost
			// that was not lost already, for nobody holds the successor. It is
			// safe because the lock makes us the only sender.
			r.sent, r.replayed = true, true
			continue
		case errors.As(err, &refused):
			switch refused.Class() {
			case oauth.ClassClient:
				if len(choice.next) > 0 {
					method, choice.next = choice.next[0], choice.next[1:]
					continue
				}
				if refused.Structured() {
					return nil, r.clientRefused(ctx, rec, client, refused)
				}
			case oauth.ClassGrant:
				return r.grantRefused(ctx, rec, refused)
			case oauth.ClassTarget:
				if resourceParam(resource) != "" {
					resource = store.Resource{Value: resource.Value, Omit: true, Why: "the authorization server rejects it"}
					continue
				}
			}
		}

		// Everything else says nothing about the login.
		wait := backoff(try)
		var passing *oauth.TransientError
		switch {
		case errors.As(err, &passing) && passing.RetryAfter > 0:
			wait = passing.RetryAfter
		case refused != nil && refused.RetryAfter > 0:
			wait = refused.RetryAfter
		}
		r.sent = r.sent || errors.As(err, &lost) && lost.Sent || errors.As(err, &passing) && passing.Status >= 500
		if try++; try > tries || wait > longestWait || sleep(ctx, wait) != nil {
			return r.postpone(ctx, rec, wait, err)
		}
	}
}

// saveRaw makes the answer durable before it is interpreted, so that neither a
// crash nor a mistake of ours can lose the refresh token in it.
func (r *spending) saveRaw(ctx context.Context, rec *store.Record, a *oauth.RawAnswer) error {
	saved := &store.Answer{
		Status:      a.Status,
		ContentType: a.ContentType,
		ReceivedAt:  a.ReceivedAt.UTC(),
		Body:        a.Body,
		Truncated:   a.Truncated,
	}
	rec.Intent.Answer = saved
	err := r.put(ctx, rec, r.room)
	r.room = nil
	if errors.Is(err, store.ErrConflict) {
		// A login or logout came in between: accept decides whose turn it is.
		return nil
	}
	for try := 1; err != nil && try < tries; try++ {
		r.log.Error("renewed token could not be stored, trying again", "error", err)
		if sleep(ctx, backoff(try)) != nil {
			break
		}
		err = r.put(ctx, rec, nil)
	}
	// A store that takes nothing now may take the final record; until then the
	// token is good for this process.
	if err != nil {
		r.notice("the renewed login could not be stored yet: %v", err)
	}
	return nil
}

// accept stores what the authorization server issued, with what was learned on
// the way.
func (r *spending) accept(ctx context.Context, rec *store.Record, at time.Time, t *oauth.TokenResponse, learned func(*store.Record)) (*snapshot, error) {
	rec, err := r.update(ctx, rec, func(rec *store.Record) error {
		if !r.current(rec) {
			return errSuperseded
		}
		r.rotated = t.RefreshToken != "" && store.Secret(t.RefreshToken) != r.spent
		applyToken(rec.Grant, t, at)
		rec.Intent, rec.Retry, rec.Refusal = nil, nil, nil
		if learned != nil {
			learned(rec)
		}
		return nil
	})
	switch {
	case errors.Is(err, errSuperseded):
		return r.superseded(ctx, rec, t)
	case err != nil:
		// The login lives on in this process; the raw answer, if that much was
		// stored, lets the next one find it.
		r.notice("the renewed login could not be stored: %v", err)
		if rec.Grant != nil && rec.Grant.AccessToken == t.AccessToken {
			return r.publish(rec), nil
		}
		return nil, err
	}
	return r.publish(rec), nil
}

// superseded is what remains to do when the grant was replaced or removed while
// it was being renewed: a login that came meanwhile is used, and what nobody
// wants any more is revoked.
func (r *spending) superseded(ctx context.Context, rec *store.Record, t *oauth.TokenResponse) (*snapshot, error) {
	if rec.Grant == nil && t.RefreshToken != "" {
		ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
		defer cancel()
		if err := r.revoke(ctx, r.before, store.Secret(t.RefreshToken), "refresh_token"); err != nil {
			r.log.Warn("a token issued during logout could not be revoked", "error", err)
		}
	}
	if usable(rec.Grant, r.why.refused, time.Now()) {
		return r.publish(rec), nil
	}
	r.session.current.Store(nil)
	return nil, nil
}

// current reports whether the record still holds the grant under renewal.
func (r *spending) current(rec *store.Record) bool {
	return rec.Grant != nil && rec.Grant.RefreshToken == r.spent
}

// grantRefused ends the grant, unless its access token is still good: then the
// server may only have refused to renew it so early, and is asked again when
// the token has expired.
func (r *spending) grantRefused(ctx context.Context, rec *store.Record, refused *oauth.Error) (*snapshot, error) {
	early := usable(rec.Grant, r.why.refused, time.Now()) && !rec.Grant.ExpiresAt.IsZero()
	rec, err := r.update(ctx, rec, func(rec *store.Record) error {
		if !r.current(rec) {
			return errSuperseded
		}
		if early {
			rec.Retry = &store.Retry{NotBefore: rec.Grant.ExpiresAt, Reason: refused.Code}
			if !r.interrupted && !r.sent {
				rec.Intent = nil
			}
			return nil
		}
		rec.Grant.RefreshToken = ""
		rec.Grant.Refused = rec.Grant.Refused || rec.Grant.AccessToken == r.why.refused
		rec.Intent, rec.Retry = nil, nil
		rec.Refusal = &store.Refusal{
			At: time.Now().UTC(), Code: refused.Code, Description: oauth.Sanitize(refused.Description),
			Interrupted: r.interrupted || r.sent,
		}
		return nil
	})
	if err != nil && !errors.Is(err, errSuperseded) {
		return nil, err
	}
	switch {
	case r.tokenUsable(rec):
		return r.publish(rec), nil
	case early:
		return nil, r.tooEarly(rec, refused)
	}
	r.session.current.Store(nil)
	return nil, nil
}

// clientRefused is the end of the road for the client that the grant is bound
// to. One that we registered is registered anew by the next login; one that the
// user configured is the user's to change.
func (r *spending) clientRefused(ctx context.Context, rec *store.Record, client *store.Client, refused *oauth.Error) error {
	dynamic := client.Source == store.SourceDynamic
	_, err := r.update(ctx, rec, func(rec *store.Record) error {
		if !r.current(rec) {
			return errSuperseded
		}
		if c := rec.GrantClient(); c != nil && dynamic {
			c.Refused = true
		}
		rec.Grant.Refused = rec.Grant.Refused || rec.Grant.AccessToken == r.why.refused
		rec.Intent, rec.Retry = nil, nil
		rec.Refusal = &store.Refusal{At: time.Now().UTC(), Code: refused.Code, Description: oauth.Sanitize(refused.Description)}
		return nil
	})
	if err != nil && !errors.Is(err, errSuperseded) {
		return err
	}
	if r.tokenUsable(rec) {
		r.publish(rec)
	} else {
		r.session.current.Store(nil)
	}
	if dynamic {
		return nil
	}
	return r.clientRejected(client, refused)
}

// postpone keeps everything and notes when the authorization server may be
// asked again, for all processes.
func (r *spending) postpone(ctx context.Context, rec *store.Record, wait time.Duration, cause error) (*snapshot, error) {
	rec, err := r.update(ctx, rec, func(rec *store.Record) error {
		if !r.current(rec) {
			return errSuperseded
		}
		failures := 1
		if rec.Retry != nil {
			failures += rec.Retry.Failures
		}
		wait = max(wait, min(backoff(failures+tries), longestRetry))
		rec.Retry = &store.Retry{NotBefore: time.Now().Add(wait).UTC(), Failures: failures, Reason: reason(cause)}
		switch {
		case r.interrupted || r.sent:
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
	if r.tokenUsable(rec) {
		r.log.Info("access token could not be renewed ahead of time, going on with it", "reason", reason(cause))
		return r.publish(rec), nil
	}
	return nil, r.unreachable(rec, cause)
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
	g.Refused = false
}

// rawAnswer returns a saved answer as the protocol layer reads it.
func rawAnswer(a *store.Answer) *oauth.RawAnswer {
	return &oauth.RawAnswer{
		Status: a.Status, ContentType: a.ContentType, Body: a.Body,
		Truncated: a.Truncated, ReceivedAt: a.ReceivedAt,
	}
}

// fingerprint tells whether a refresh token is the one an intent was about,
// without telling the token.
func fingerprint(id string, token store.Secret) string {
	mac := hmac.New(sha256.New, []byte(id))
	mac.Write([]byte(token.Reveal()))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// backoff returns the wait after the given number of failures, doubled each
// time, with jitter of a quarter either way.
func backoff(failures int) time.Duration {
	d := float64(firstBackoff) * math.Pow(2, float64(min(failures, 20)-1))
	return time.Duration(d * (0.75 + mrand.Float64()/2))
}

// sleep waits, unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
