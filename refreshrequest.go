package handstamp

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
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

	token        *tokenRequest
	metadataRead bool                 // again, in this attempt
	partial      *oauth.TokenResponse // a response cut off after the access token
	partialAt    time.Time

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
			token, err := oauth.ParseTokenResponse(rawResponse(a))
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
		return nil, &Error{Kind: ErrInvalidConfig, Server: r.serverURL, Err: err}
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
	encoded, err := store.Encode(rec)
	if err != nil {
		return err
	}
	if r.room, err = r.reserve(ctx, len(encoded)+responseReserve); err != nil {
		return err
	}
	id := rand.Text()
	rec.Intent = &store.Intent{
		ID:          id,
		At:          time.Now().UTC(),
		Fingerprint: fingerprint(id, r.refreshToken),
	}
	rec.Grant.Refused = rec.Grant.Refused || rec.Grant.AccessToken == r.need.rejected
	err = r.put(ctx, rec, nil)
	if err != nil && r.room != nil {
		r.room.Release()
	}
	return err
}

// request sends the refresh token until a response settles its fate or the
// trouble lasts too long.
func (r *refreshAttempt) request(ctx context.Context, rec *store.Record, client *store.Client, choice authMethodChoice) (*cachedToken, error) {
	g := rec.Grant
	r.token = &tokenRequest{
		redeem: oauth.TokenRequest{Endpoint: g.TokenEndpoint, RefreshToken: r.refreshToken},
		client: client, form: choice.authForm, next: choice.next, resource: g.Resource,
	}
	if slices.Contains(rec.RefreshScope, g.Issuer) {
		r.token.scope = refreshScope(g)
	}
	// ctx itself is for storing what comes of it.
	requesting, cancel := awake.WithTimeout(ctx, requestTimeout, nil)
	defer cancel()
	for try := 1; ; {
		token, at, err := r.token.send(requesting, r.fetcher, func(raw *oauth.RawResponse) { r.saveRawResponse(ctx, rec, raw) })
		if token != nil && token.Partial && token.RefreshToken == "" && !r.replayed {
			// The refresh token may have been in the part that was lost.
			r.partial, r.partialAt = token, at
			r.sent, r.replayed = true, true
			continue
		}
		if token != nil {
			return r.onToken(ctx, rec, token, at, err)
		}
		if r.partial != nil {
			// The repetition brought nothing; the access token is something.
			return r.storeToken(ctx, rec, r.partialAt, r.partial, nil)
		}
		if lost, ok := errors.AsType[*oauth.SendError](err); ok && lost.Sent && !r.replayed {
			// In doubt. If the server did not see the token, this succeeds; if
			// it did and forgives a repetition, too; otherwise nothing is lost
			// that was not lost already, for nobody holds the successor. It is
			// safe because the lock makes us the only sender.
			r.sent, r.replayed = true, true
			continue
		}
		if rejected, ok := errors.AsType[*oauth.Error](err); ok {
			again, snap, err := r.onRejection(ctx, requesting, rec, rejected)
			if again {
				continue
			}
			if !errors.Is(err, errUndecided) {
				return snap, err
			}
		}
		if r.token.nextForm(err) || r.movedEndpoint(requesting, rec, err) {
			continue
		}

		// Everything else says nothing about the login.
		wait := r.trouble(err, try)
		_, broken := errors.AsType[*oauth.ProtocolError](err)
		if try++; broken || try > maxTries || wait > maxRetryWait || sleep(requesting, wait) != nil {
			return r.onTransientError(ctx, rec, wait, err)
		}
	}
}

// onToken stores a token response. A refresh token beside an access token that
// cannot be used is worth keeping; the response is a mistake of the server's all
// the same.
func (r *refreshAttempt) onToken(ctx context.Context, rec *store.Record, token *oauth.TokenResponse, at time.Time, flaw error) (*cachedToken, error) {
	snap, err := r.storeToken(ctx, rec, at, token, func(rec *store.Record) {
		r.learned(rec)
		c := rec.GrantClient()
		if c != nil {
			r.token.form.learn(c)
		}
		if rec.Grant.Refused = flaw != nil; flaw == nil {
			rec.Cooldowns = nil
			return
		}
		beginCooldown(rec, r.rejectedClient(rec.Grant.Issuer, rec.Grant.TokenEndpoint, c), r.token.sent,
			protocolError(r.serverURL, flaw), time.Now())
	})
	if flaw != nil {
		r.session.cached.Store(nil)
		return nil, protocolError(r.serverURL, flaw)
	}
	return snap, err
}

// learned notes in the record what the server's responses have taught.
func (r *refreshAttempt) learned(rec *store.Record) {
	t, issuer := r.token, rec.Grant.Issuer
	if t.resource.Omit && !rec.Grant.Resource.Omit {
		rec.Grant.Resource = t.resource
		rec.OmitResource = append(rec.OmitResource, issuer)
	}
	rec.RefreshScope = slices.DeleteFunc(rec.RefreshScope, func(i string) bool { return i == issuer })
	if t.scope != "" {
		rec.RefreshScope = append(rec.RefreshScope, issuer)
	}
	rec.Grant.TokenEndpoint = t.redeem.Endpoint
}

// refreshScope returns the scope of a refresh that has to name one: what was
// granted (RFC 6749, section 6).
func refreshScope(g *store.Grant) string {
	if g.ScopeGranted != "" {
		return g.ScopeGranted
	}
	return g.ScopeRequested
}

// errUndecided says that a rejection settles nothing.
var errUndecided = errors.New("handstamp: undecided")

// onRejection decides what an error response of the token endpoint means. It
// reports whether the request, changed, is to be sent again.
func (r *refreshAttempt) onRejection(ctx, requesting context.Context, rec *store.Record, rejected *oauth.Error) (again bool, _ *cachedToken, err error) {
	if r.token.omitResource(rejected) || r.token.nameScope(rejected, refreshScope(rec.Grant)) || r.token.nextForm(rejected) {
		return true, nil, nil
	}
	var snap *cachedToken
	switch rejected.Class() {
	case oauth.ClassGrant:
		snap, err = r.onInvalidGrant(ctx, rec, rejected, r.learned)
	case oauth.ClassClient:
		snap, err = r.onInvalidClient(ctx, rec, r.token.client, rejected)
	case oauth.ClassTransient:
		return false, nil, errUndecided
	default:
		return r.onUnnamedRejection(ctx, requesting, rec, rejected)
	}
	return false, snap, err
}

// movedEndpoint reads the server's metadata again where the token endpoint says
// that it is not there, and reports whether the metadata names another one on
// the same origin.
func (r *refreshAttempt) movedEndpoint(ctx context.Context, rec *store.Record, err error) bool {
	passing, ok := errors.AsType[*oauth.TransientError](err)
	if !ok || r.metadataRead {
		return false
	}
	switch passing.Status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
	default:
		return false
	}
	r.metadataRead = true
	var found *oauth.ServerMetadata
	switch as := rec.AuthorizationServer; {
	case r.c.AuthorizationServer != nil:
		found, err = r.statedServer(ctx)
	case as != nil && as.Form == oauth.FormLegacy:
		found, err = r.fetcher.LegacyServerMetadata(ctx, r.target)
	default:
		found, err = r.fetcher.ServerMetadata(ctx, rec.Grant.Issuer)
	}
	if err != nil || found.Issuer != rec.Grant.Issuer || found.TokenEndpoint == r.token.redeem.Endpoint {
		return false
	}
	before, errBefore := url.Parse(r.token.redeem.Endpoint)
	now, errNow := url.Parse(found.TokenEndpoint)
	if errBefore != nil || errNow != nil || !oauth.SameOrigin(before, now) {
		return false
	}
	r.token.redeem.Endpoint = found.TokenEndpoint
	return true
}

// trouble returns how long to wait after an error that says nothing of the login,
// and notes whether the server may have acted on the request.
func (r *refreshAttempt) trouble(err error, try int) (wait time.Duration) {
	wait = backoff(try)
	passing, isPassing := errors.AsType[*oauth.TransientError](err)
	rejected, isRejected := errors.AsType[*oauth.Error](err)
	lost, isLost := errors.AsType[*oauth.SendError](err)
	switch {
	case isPassing && passing.RetryAfter > 0:
		wait = passing.RetryAfter
	case isRejected && rejected.RetryAfter > 0:
		wait = rejected.RetryAfter
	}
	r.sent = r.sent || isLost && lost.Sent || isPassing && outcomeUnknown(passing.Status)
	return wait
}

// saveRawResponse makes the answer durable before it is interpreted, so that neither a
// crash nor a mistake of ours can lose the refresh token in it.
//
// A login or logout that came in between makes it fail, and is left to accept.
func (r *refreshAttempt) saveRawResponse(ctx context.Context, rec *store.Record, a *oauth.RawResponse) {
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
func rawResponse(a *store.Answer) *oauth.RawResponse {
	return &oauth.RawResponse{
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
