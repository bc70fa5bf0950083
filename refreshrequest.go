package handstamp

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
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
	responseReserve = 16 << 10 // bytes beyond the record's own size reserved for an answer
	maxTries        = 3        // requests within one renewal while the trouble is passing
	firstBackoff    = 300 * time.Millisecond
	maxRetryWait    = 2 * time.Second // a longer Retry-After is left to a later renewal
	maxBackoff      = 30 * time.Second
	revokeTimeout   = 10 * time.Second
)

// refreshLocked renews the grant. The caller holds the renewal lock and has read rec
// under it.
func (s *session) refreshLocked(ctx context.Context, rec *store.Record, why tokenNeed) (*cachedToken, error) {
	r := &refreshAttempt{session: s, need: why, refreshToken: rec.Grant.RefreshToken, before: rec.Clone()}
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

// refreshAttempt is one renewal under the lock.
type refreshAttempt struct {
	*session
	need         tokenNeed
	refreshToken store.Secret  // the refresh token
	before       *store.Record // as it was when the token was read
	room         store.Reservation

	partial   *oauth.TokenResponse // an answer cut off after the access token
	partialAt time.Time

	interrupted bool // an earlier renewal of this token was cut off
	sent        bool // this one may have reached the server without an answer
	replayed    bool
	rotated     bool
}

func (r *refreshAttempt) run(ctx context.Context, rec *store.Record) (*cachedToken, error) {
	if importIncomplete(rec) {
		completed, err := r.completeImport(ctx, rec)
		if err != nil {
			return r.onImportFailed(ctx, completed, err)
		}
		rec, r.before = completed, completed.Clone()
	}
	if refreshInterrupted(rec) {
		r.interrupted = true
		if a := rec.Intent.Answer; a != nil {
			// Received and saved by a process that did not live to read it.
			token, err := oauth.ParseToken(rawResponse(a))
			if token != nil && err == nil {
				snap, err := r.storeToken(ctx, rec, a.ReceivedAt, token, nil)
				if now := time.Now(); snap != nil && !(snap.valid(now) && r.need.accepts(snap.token, snap.expiresAt, now)) {
					return nil, errSuperseded // so long ago that it is to be renewed in turn
				}
				return snap, err
			}
		}
	}
	client := r.withConfiguredSecret(rec.GrantClient())
	choice, err := chooseAuthMethod(r.authMethodInputs(client, storedAuthMethods(rec)))
	if err != nil {
		return nil, &Error{Kind: ErrUsage, Server: r.serverURL, Err: err}
	}
	if err := r.reserveAndMark(ctx, rec); err != nil {
		if errors.Is(err, store.ErrConflict) {
			return nil, errSuperseded // a login or logout came in between; nothing was sent
		}
		if r.tokenUsable(rec) {
			r.notice("the access token could not be renewed ahead of time, because its successor could not be stored: %v", err)
			return r.useToken(rec), nil
		}
		return nil, storeError(ctx, r.serverURL, err)
	}
	if r.room != nil {
		defer r.room.Release()
	}
	return r.request(ctx, rec, client, choice)
}

// tokenUsable reports whether the record's access token serves while it cannot
// be renewed.
func (r *refreshAttempt) tokenUsable(rec *store.Record) bool {
	g, now := rec.Grant, time.Now()
	return accessTokenUsable(g, r.need.rejected, now) && r.need.accepts(g.AccessToken, g.ExpiresAt, now)
}

// reserveAndMark makes sure that the answer can be stored, and says in the record that
// the refresh token is about to be spent.
func (r *refreshAttempt) reserveAndMark(ctx context.Context, rec *store.Record) error {
	if reserver, ok := r.c.Store.(store.Reserver); ok {
		encoded, err := store.Encode(rec)
		if err != nil {
			return err
		}
		if r.room, err = reserver.Reserve(ctx, r.key, len(encoded)+responseReserve); err != nil {
			return err
		}
	}
	id := rand.Text()
	rec.Intent = &store.Intent{
		ID:          id,
		At:          time.Now().UTC(),
		Fingerprint: fingerprint(id, r.refreshToken),
	}
	rec.Grant.Refused = rec.Grant.Refused || rec.Grant.AccessToken == r.need.rejected
	err := r.put(ctx, rec, nil)
	if err != nil && r.room != nil {
		r.room.Release()
	}
	return err
}

// request sends the refresh token until an answer settles its fate or the trouble
// lasts too long.
func (r *refreshAttempt) request(ctx context.Context, rec *store.Record, client *store.Client, choice authMethodChoice) (*cachedToken, error) {
	g := rec.Grant
	method, resource := choice.method, g.Resource
	asking, cancel := context.WithTimeout(ctx, requestTimeout) // ctx itself is for storing what comes of it
	defer cancel()
	learned := func(rec *store.Record) {
		if c := rec.GrantClient(); c != nil && method != choice.method {
			c.Method, c.MethodSource = method, store.MethodLearned
		}
		if resource.Omit && !rec.Grant.Resource.Omit {
			rec.Grant.Resource = resource
			rec.OmitResource = append(rec.OmitResource, rec.Grant.Issuer)
		}
	}
	for try := 1; ; {
		answer, err := r.fetcher.PostToken(asking, oauth.TokenRequest{
			Endpoint:     g.TokenEndpoint,
			Client:       clientCredentials(client, method),
			RefreshToken: r.refreshToken,
			Resource:     resourceParam(resource),
		})
		var token *oauth.TokenResponse
		if err == nil {
			if answer.Status/100 == 2 {
				r.saveRawResponse(ctx, rec, answer)
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
			snap, stored := r.storeToken(ctx, rec, answer.ReceivedAt, token, func(rec *store.Record) {
				learned(rec)
				rec.Grant.Refused = err != nil
			})
			if err != nil {
				// A refresh token beside an access token that cannot be used is
				// worth keeping; the answer is a mistake of the server's all the
				// same.
				r.session.cached.Store(nil)
				return nil, protocolError(r.serverURL, err)
			}
			return snap, stored
		}

		var refused *oauth.Error
		var lost *oauth.SendError
		switch {
		case r.partial != nil:
			// The repetition brought nothing; the access token is something.
			return r.storeToken(ctx, rec, r.partialAt, r.partial, nil)
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
					return r.onInvalidClient(ctx, rec, client, refused)
				}
			case oauth.ClassGrant:
				return r.onInvalidGrant(ctx, rec, refused, learned)
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
		var broken *oauth.ProtocolError
		switch {
		case errors.As(err, &passing) && passing.RetryAfter > 0:
			wait = passing.RetryAfter
		case refused != nil && refused.RetryAfter > 0:
			wait = refused.RetryAfter
		}
		r.sent = r.sent || errors.As(err, &lost) && lost.Sent || errors.As(err, &passing) && outcomeUnknown(passing.Status)
		if try++; errors.As(err, &broken) || try > maxTries || wait > maxRetryWait || sleep(asking, wait) != nil {
			return r.onTransientError(ctx, rec, wait, err)
		}
	}
}

// saveRawResponse makes the answer durable before it is interpreted, so that neither a
// crash nor a mistake of ours can lose the refresh token in it.
//
// A login or logout that came in between makes it fail, and is left to accept.
func (r *refreshAttempt) saveRawResponse(ctx context.Context, rec *store.Record, a *oauth.RawAnswer) {
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
	for try := 1; err != nil && !errors.Is(err, store.ErrConflict) && try < maxTries; try++ {
		r.log.Error("renewed token could not be stored, trying again", "error", err)
		if sleep(ctx, backoff(try)) != nil {
			return
		}
		err = r.put(ctx, rec, nil)
	}
}

// outcomeUnknown reports whether a status leaves open what the server has done: a
// gateway's or a failure half-way, rather than "not now".
func outcomeUnknown(status int) bool {
	return status == http.StatusInternalServerError || status == http.StatusBadGateway || status == http.StatusGatewayTimeout
}

// rawResponse returns a saved answer as the protocol layer reads it.
func rawResponse(a *store.Answer) *oauth.RawAnswer {
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
