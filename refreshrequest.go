package handstamp

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
)

// How a refresh token is used. The authorization server may invalidate it the
// moment it reads it (rotation: RFC 9700, section 4.14), so that from then on
// the only copy of the login is the response under way. Hence:
//
//	one sender      it is sent only under the lock, after the record was read there
//	space first     space for the response is reserved before anything is sent
//	intent first    the record shows that a refresh has begun, durably
//	finished        no caller's context reaches what follows
//	saved raw       the response is durable before it is interpreted
//	never over new  every write compares the revision
//
// What remains is a crash between the server's commit and the saved response; the
// intent then makes the next process repeat the request at once, and name the
// reason if the server does not accept that.

const (
	responseReserve = 16 << 10 // bytes beyond the record's own size reserved for a response
	maxBackoff      = 30 * time.Second
)

// attempt refreshes the grant, and returns how that ended for the hook, or nil with errSuperseded. The
// caller holds the refresh lock and has read rec under it.
func (r *refresher) attempt(
	ctx, wait context.Context, rec *record.Record, need tokenNeed,
) (*cachedToken, *RefreshEvent, error) {
	a := &refreshAttempt{
		credential: r.credential, discovery: r.discovery, imports: r.imports,
		grant: refreshedGrant{records: r.records, token: rec.Grant.RefreshToken},
		need:  need, before: rec.Clone(), request: &tokenRequest{},
	}
	started := time.Now()
	r.events.refreshBegins(rec, need)
	token, err := a.run(ctx, wait, rec)
	if errors.Is(err, errSuperseded) {
		return token, nil, err
	}
	event := &RefreshEvent{
		Server: r.serverURL, Issuer: a.before.Grant.Issuer, Began: started, Duration: time.Since(started),
		Rotated: a.rotated, Replayed: a.request.replayed, Err: err,
		Resumed: a.interrupted && a.issued, Outcome: a.outcome(token, err),
	}
	r.events.refreshEnds(token, *event)
	return token, event, err
}

// refreshAttempt is one refresh under the lock.
type refreshAttempt struct {
	*credential
	discovery *discovery
	imports   *importer
	grant     refreshedGrant
	need      tokenNeed
	before    *record.Record // as it was when the token was read
	space     store.Reservation
	request   *tokenRequest

	interrupted bool // an earlier refresh with this token was cut off
	rotated     bool
	issued      bool // the server has issued a token
}

// outcome names how the attempt ended.
func (r *refreshAttempt) outcome(token *cachedToken, err error) string {
	switch {
	case err != nil:
		return kindOf(err)
	case r.issued:
		return OutcomeRefreshed
	case token == nil:
		return OutcomeEnded
	}
	return OutcomeKept
}

// run finishes an interrupted refresh if it can, and else sends the refresh token.
// The end of wait, a part of ctx, ends it before that.
func (r *refreshAttempt) run(
	ctx, wait context.Context, rec *record.Record,
) (*cachedToken, error) {
	if importIncomplete(rec) {
		completed, err := r.imports.complete(ctx, rec)
		if err != nil {
			return r.onImportFailed(ctx, completed, err)
		}
		rec, r.before = completed, completed.Clone()
	}
	if r.interrupted = refreshInterrupted(rec); r.interrupted && rec.Intent.Response != nil {
		if token, err, found := r.useSavedResponse(ctx, rec); found {
			return token, err
		}
	}
	rec, err := r.replaceSecret(ctx, rec)
	switch {
	case err == nil:
	case retryable(err):
		return r.onTransientError(ctx, rec, oauth.RetryAfter(err), err)
	case errors.Is(err, ErrStore):
		return r.notStored(rec, err)
	case !r.config.replaceable(rec.GrantClient(), rec.Grant, time.Now()):
		return nil, errSuperseded // which leaves a login
	default:
		return nil, err
	}
	client := r.config.withConfiguredSecret(rec.GrantClient())
	if err := otherKey(client, r.credential); err != nil {
		if token := r.usable(rec); token != nil {
			return token, nil
		}
		return nil, err
	}
	methods, algorithms := storedAuthMethods(rec)
	choice, err := r.config.authMethodFor(client, methods, algorithms)
	if err != nil {
		if token := r.usable(rec); token != nil {
			r.notice("the access token could not be refreshed ahead of time: %v", err)
			return token, nil
		}
		return nil, &Error{Kind: ErrInvalidConfig, Server: r.serverURL, Err: err}
	}
	r.events.authMethod(choice, methods)
	if err := r.reserveAndMark(wait, rec); err != nil {
		if errors.Is(err, store.ErrConflict) {
			return nil, errSuperseded // a login or logout came in between; nothing was sent
		}
		if wait.Err() != nil && ctx.Err() == nil {
			return nil, closedError()
		}
		return r.notStored(rec, storeError(ctx, r.serverURL, err))
	}
	if r.space != nil {
		defer r.space.Release()
	}
	if r.config.locked != nil {
		r.config.locked()
	}
	return r.send(ctx, rec, client, choice, algorithms)
}

// notStored goes on with the token at hand where it is good and a refresh could not be begun,
// because what comes of it could not be stored.
func (r *refreshAttempt) notStored(rec *record.Record, err error) (*cachedToken, error) {
	if !r.need.metBy(rec.Grant, time.Now()) {
		return nil, err
	}
	r.notice("the access token could not be refreshed ahead of time, because its successor could not be stored: %v", err)
	token := r.tokens.use(rec)
	token.serveForNow()
	return token, nil
}

// useSavedResponse stores the token of a response that was received and saved by a process that
// ended before it could read it. It reports false if there is no token in it. A refresh token beside
// an access token that cannot be used is to be used in turn.
func (r *refreshAttempt) useSavedResponse(ctx context.Context, rec *record.Record) (_ *cachedToken, err error, found bool) {
	token, flaw := savedToken(rec)
	if token == nil {
		return nil, nil, false
	}
	current, err := r.storeToken(ctx, rec, rec.Intent.Response.ReceivedAt, token, func(rec *record.Record) {
		rec.Grant.Rejected = flaw != nil
	})
	if flaw != nil && err == nil {
		r.tokens.current.Store(nil)
		return nil, errSuperseded, true
	}
	if current != nil && !(current.valid(time.Now()) && current.serves(r.need)) {
		return nil, errSuperseded, true // so long ago that it is to be refreshed in turn
	}
	return current, err, true
}

// reserveAndMark makes sure that the response can be stored, and notes in the record that
// the refresh token is about to be used.
func (r *refreshAttempt) reserveAndMark(ctx context.Context, rec *record.Record) (err error) {
	if r.space, err = r.records.reserve(ctx, rec); err != nil {
		return err
	}
	id := rand.Text()
	r.grant.intent = id
	rec.Intent = &record.Intent{
		ID:          id,
		At:          time.Now().UTC(),
		Fingerprint: fingerprint(id, r.grant.token),
	}
	rec.Grant.Rejected = rec.Grant.Rejected || rec.Grant.AccessToken == r.need.rejected
	err = r.records.put(ctx, rec, nil)
	if err != nil && r.space != nil {
		r.space.Release()
	}
	return err
}

// send sends the refresh token until a response decides about the grant or the server fails for
// too long.
func (r *refreshAttempt) send(
	ctx context.Context, rec *record.Record, client *record.Client, choice authMethodChoice, algorithms []string,
) (*cachedToken, error) {
	g := rec.Grant
	*r.request = tokenRequest{credential: r.credential, tokenGrant: tokenGrant{
		redeem: oauth.TokenRequest{Endpoint: g.TokenEndpoint, RefreshToken: r.grant.token},
		client: client, algs: algorithms, form: choice.authForm, next: choice.next,
		resource: g.Resource, optionalResource: true,
		grantedScope: cmp.Or(g.ScopeGranted, g.ScopeRequested), // RFC 6749, section 6
		repeat:       sendUntilResponse,                        // the lock makes us the only sender
		patient:      r.need.ahead,
		received:     func(raw *oauth.RawResponse) { r.saveRawResponse(ctx, rec, raw) },
		metadata: func(ctx context.Context) (*oauth.ServerMetadata, error) {
			return r.discovery.metadataAgain(ctx, rec)
		},
	}}
	if g.DPoP {
		r.request.redeem.Prover = r.proofs
	}
	if slices.Contains(rec.RefreshScope, g.Issuer) {
		r.request.scope = r.request.grantedScope
	}
	// ctx itself is for storing what comes of it.
	requesting, cancel := awake.WithTimeout(ctx, requestTimeout, nil)
	defer cancel()
	for {
		token, at, err := r.request.run(requesting)
		if token != nil {
			return r.onToken(ctx, rec, token, at, err)
		}
		if unmade(err) {
			return r.onUnmade(ctx, rec, err)
		}
		rejected, ok := errtype.As[*oauth.Error](err)
		if !ok || rejected.Class() == oauth.ClassTransient {
			return r.onTransientError(ctx, rec, r.request.wait, err)
		}
		if note := r.request.clockFlaw(rejected); note != "" {
			return r.onWrongClock(ctx, rec, client, r.errs.wrongClock(g.Issuer, note, rejected))
		}
		switch rejected.Class() {
		case oauth.ClassGrant:
			return r.onInvalidGrant(ctx, rec, rejected)
		case oauth.ClassClient:
			return r.onInvalidClient(ctx, rec, client, rejected)
		}
		again, current, err := r.onUnnamedRejection(ctx, requesting, rec, rejected)
		if !again {
			return current, err
		}
	}
}

// onToken stores a token response. A refresh token beside an access token that
// cannot be used is worth keeping; the response is a mistake of the server's all
// the same.
func (r *refreshAttempt) onToken(ctx context.Context, rec *record.Record, token *oauth.TokenResponse, at time.Time, flaw error) (*cachedToken, error) {
	snap, err := r.storeToken(ctx, rec, at, token, func(rec *record.Record) {
		r.learn(rec)
		c := rec.GrantClient()
		r.request.form.learn(c)
		if rec.Grant.Rejected = flaw != nil; flaw == nil {
			rec.Cooldowns = nil
			return
		}
		beginCooldown(rec, r.config.rejectedClient(rec.Grant.Issuer, rec.Grant.TokenEndpoint, c), r.request.sent,
			protocolError(r.serverURL, flaw), time.Now())
	})
	if flaw != nil {
		r.tokens.current.Store(nil)
		return nil, protocolError(r.serverURL, flaw)
	}
	return snap, err
}

// learn notes in the record what the server's responses have shown.
func (r *refreshAttempt) learn(rec *record.Record) {
	t, issuer := r.request, rec.Grant.Issuer
	if t.resource.Omit && !rec.Grant.Resource.Omit {
		rec.Grant.Resource = t.resource
		rec.OmitResource = append(rec.OmitResource, issuer)
	}
	rec.RefreshScope = slices.DeleteFunc(rec.RefreshScope, func(i string) bool { return i == issuer })
	if t.scope != "" {
		rec.RefreshScope = append(rec.RefreshScope, issuer)
	}
	rec.Grant.TokenEndpoint = t.redeem.Endpoint
	if rec.Grant.DPoP = t.redeem.Prover != nil; rec.Grant.DPoP {
		rec.DPoP = r.proofs.state()
	}
}

// saveRawResponse makes the response durable before it is interpreted, so that neither a
// crash nor a mistake of ours can lose the refresh token in it.
//
// A login or logout that came in between makes it fail, and is left to accept.
func (r *refreshAttempt) saveRawResponse(ctx context.Context, rec *record.Record, a *oauth.RawResponse) {
	saved := &record.RawResponse{
		Status:      a.Status,
		ContentType: a.ContentType,
		ReceivedAt:  a.ReceivedAt.UTC(),
		Body:        a.Body,
		Truncated:   a.Truncated,
	}
	rec.Intent.Response = saved
	if prover, ok := r.request.redeem.Prover.(*proofs); ok { // or the key ends with this process
		rec.Grant.DPoP, rec.DPoP = true, prover.state()
	}
	began := time.Now()
	err := r.records.put(ctx, rec, r.space)
	r.space = nil
	again := func() bool {
		// The caller waits for the token, which a store that does not respond takes no sooner.
		return err != nil && !errors.Is(err, store.ErrConflict) && time.Since(began) < storeTimeout
	}
	for try := 1; again() && try < maxTries; try++ {
		r.events.fail(StepStore, err, "the refreshed token could not be stored; trying again")
		if sleep(ctx, backoff(try)) != nil {
			return
		}
		err = r.records.put(ctx, rec, nil)
	}
}

// savedToken returns the token of a saved response, and what is wrong with its access token; nil if
// nothing in it is worth keeping.
func savedToken(rec *record.Record) (*oauth.TokenResponse, error) {
	token, flaw := oauth.ParseTokenResponse(rawResponse(rec))
	if flaw != nil && (token == nil || token.RefreshToken == "") {
		return nil, flaw
	}
	return token, flaw
}

// rawResponse returns the saved response of a record as the protocol layer reads it.
func rawResponse(rec *record.Record) *oauth.RawResponse {
	a := rec.Intent.Response
	return &oauth.RawResponse{
		Status: a.Status, ContentType: a.ContentType, Body: a.Body,
		Truncated: a.Truncated, ReceivedAt: a.ReceivedAt, Proved: rec.DPoP != nil,
	}
}
