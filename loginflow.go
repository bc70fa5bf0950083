package handstamp

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

// maxLoginAttempts bounds how often one login begins, in the browser or before it
// opens. More than once is needed only where the first attempt taught something: a
// method, a scope or a resource parameter that the server does not take, a client it
// has forgotten.
const maxLoginAttempts = 4

// errTryAgain ends an attempt after which the login starts again with what was learned.
var errTryAgain = errors.New("handstamp: sign in again")

// loginState is what the steps of one login share.
type loginState struct {
	*credential
	rec      *record.Record
	plan     *loginPlan
	prover   *proofs // nil: bearer tokens are requested
	scope    string
	byUser   bool  // it is of [Client.Login]
	forced   bool  // although the stored login may work: with another account, perhaps
	suspends bool  // at its authorization request, for another process to continue
	attempts int   // that have begun
	requests int   // to the token endpoint so far
	firstErr error // of the first attempt that another one followed
}

// loginFlow is one login: discover, choose a client, authorize, exchange the code. The caller
// holds the login's lock.
type loginFlow struct {
	*loginState
	callback *callbackReceiver
	clients  *loginClients
	identity *identity

	interactive   bool // a caller waits for the login
	browserOpened bool
	tabs          int // how often the browser was opened
}

// run carries a login out and returns the record with the new grant. Where the token endpoint of
// the login before is not there any more, it repeats discovery.
func (l *logins) run(ctx context.Context, rec *record.Record, req loginRequest) (*record.Record, error) {
	rec, plan, err := l.prepare(ctx, rec, req)
	if err != nil {
		return rec, err
	}
	rec, err = l.follow(ctx, rec, plan, req)
	if !plan.stored || !endpointGone(err) {
		return rec, err
	}
	req.anew = true
	found, unknown := l.discovery.discover(ctx, rec, req)
	if unknown != nil || found.server.TokenEndpoint == plan.server.TokenEndpoint {
		return rec, err
	}
	return l.follow(ctx, rec, found, req)
}

// follow carries a login out by a plan.
func (l *logins) follow(ctx context.Context, rec *record.Record, plan *loginPlan, req loginRequest) (*record.Record, error) {
	state := &loginState{
		credential: l.credential, rec: rec, plan: plan, byUser: req.byUser, forced: req.force, suspends: req.suspends,
	}
	// What a step-up is for is requested in spite of what was learned.
	omit := oauth.Without(rec.LearnedOf(plan.server.Issuer).OmitScopes, req.needed)
	state.reportOmitted(oauth.Without(plan.scopes, oauth.Without(plan.scopes, omit)))
	plan.scopes, plan.fallback = oauth.Without(plan.scopes, omit), oauth.Without(plan.fallback, omit)
	state.scope = strings.Join(plan.scopes, " ")
	flow := newLoginFlow(state, req.interactive)
	flow.planned()
	return flow.run(ctx, flow.attempt)
}

// newLoginFlow returns the flow of a login that no attempt was made of yet.
func newLoginFlow(state *loginState, interactive bool) *loginFlow {
	callback := &callbackReceiver{loginState: state}
	return &loginFlow{
		loginState: state, callback: callback, interactive: interactive,
		clients:  &loginClients{loginState: state, callback: callback},
		identity: &identity{loginState: state},
	}
}

// prepare does what comes before the first attempt: it makes sure that the result can be stored
// and that the login may begin, and discovers the authorization server.
func (l *logins) prepare(ctx context.Context, rec *record.Record, req loginRequest) (*record.Record, *loginPlan, error) {
	space, err := l.records.reserve(ctx, nil)
	if err != nil {
		return rec, nil, storeError(ctx, l.serverURL, err)
	}
	if space != nil {
		space.Release()
	}
	if importIncomplete(rec) { // the client of an imported login serves the new one, too
		if completed, err := l.imports.complete(ctx, rec); err == nil {
			rec = completed
		}
	}
	if req.byUser {
		if rec, err = l.endCooldowns(ctx, rec); err != nil {
			return rec, nil, err
		}
	} else if c := l.config.loginCooldown(rec, time.Now()); c != nil {
		l.events.pauses("the client", c.Until, c.Message)
		return rec, nil, l.errs.cooldown(c)
	} else if retryPending(rec.Retry, time.Now()) && l.config.unattended(rec) {
		l.events.pauses("the authorization server", rec.Retry.NotBefore, rec.Retry.Reason)
		return rec, nil, l.errs.unreachable(rec, nil)
	}
	plan, err := l.discovery.discover(ctx, rec, req)
	if err != nil {
		return rec, nil, err
	}
	if !req.byUser {
		err = l.ceiling(rec, plan.server.Issuer, time.Now())
	}
	return rec, plan, err
}

// run makes attempts until one succeeds, fails for good or is suspended. The first may be one that
// was suspended, and goes on.
func (l *loginFlow) run(ctx context.Context, first func(context.Context) error) (*record.Record, error) {
	defer func() { l.callback.close() }()
	err := errTryAgain
	for attempt := first; l.attempts < maxLoginAttempts; attempt = l.attempt {
		l.attempts++
		if err = attempt(ctx); err == nil || !errors.Is(err, errTryAgain) {
			break
		}
		if l.browserOpened { // or the port is kept
			l.callback.finish("One more step: please go on in the new page.", nil)
		}
	}
	if errors.Is(err, errTryAgain) {
		err = &Error{Kind: ErrProtocol, Server: l.serverURL, Message: "the authorization server rejects each login for another reason"}
	}
	l.callback.finish("", err)
	if e, ok := errtype.As[*Error](err); ok {
		e.opened = l.browserOpened || l.clients.justRegistered
		e.follows(l.firstErr)
	}
	return l.rec, err
}

// remember changes the stored record. That it cannot be stored is no reason to end the login.
func (l *loginState) remember(ctx context.Context, what string, change func(*record.Record)) {
	rec, err := l.records.update(ctx, l.rec, func(rec *record.Record) error {
		change(rec)
		return nil
	})
	if err != nil {
		l.events.fail(StepStore, err, "%s could not be stored", what)
	}
	if rec != nil {
		l.rec = rec
	}
}

// tryAgain has another attempt follow one that failed.
func (l *loginState) tryAgain(rejected *oauth.Error) error {
	if l.firstErr == nil {
		l.firstErr = rejected
	}
	l.events.fail(StepLogin, rejected, "this attempt failed; another follows")
	return errTryAgain
}

// attempt goes once from client to grant. Where the login suspends, it ends with a [*suspension]
// once the user has to be sent to the authorization server.
func (l *loginFlow) attempt(ctx context.Context) error {
	if err := l.prepareProofs(); err != nil {
		return err
	}
	switch grant := l.config.grantFor(l.rec).(type) {
	case nil:
		return codeLogin{l}.attempt(ctx)
	case DeviceCode:
		return deviceLogin{l}.attempt(ctx)
	default:
		return grantLogin{l}.attempt(ctx, grant)
	}
}

// authorizationError decides what an error response of the authorization
// endpoint (RFC 6749, section 4.1.2.1) means for the login.
func (l *loginFlow) authorizationError(ctx context.Context, err error) error {
	rejected, ok := errtype.As[*oauth.Error](err)
	if !ok {
		return adviseIssuer(l.errs.from(err), l.plan.server, l.config)
	}
	if rejectsOfflineAccess(l.scope, rejected) {
		return l.dropOfflineAccess(ctx, rejected)
	}
	switch rejected.Class() {
	case oauth.ClassScope:
		return l.reduceScope(rejected)
	case oauth.ClassTarget:
		return l.omitResource(rejected)
	case oauth.ClassClient:
		return l.clients.onUnknown(ctx, rejected)
	case oauth.ClassTransient:
		return l.errs.from(err)
	}
	if l.clients.rejectsDocument(rejected) {
		return l.clients.onUnknown(ctx, rejected)
	}
	if rejected.Code == "invalid_request_uri" && l.firstErr == nil {
		return l.tryAgain(rejected) // the pushed request had expired before the user came
	}
	message := "the authorization server rejected the login"
	if rejected.Code == "access_denied" {
		message = "access was denied"
	}
	return &Error{Kind: ErrDenied, Server: l.serverURL, Code: rejected.Code, Message: message, Err: err}
}

// reduceScope asks for less after invalid_scope: first for what both the server
// and its authorization server list, then for nothing.
func (l *loginFlow) reduceScope(rejected *oauth.Error) error {
	less := strings.Join(l.plan.fallback, " ")
	switch {
	case l.scope == "":
		return &Error{Kind: ErrProtocol, Server: l.serverURL, Code: rejected.Code, Err: rejected,
			Message: "the authorization server rejects the scope though none is requested"}
	case len(l.config.Scopes) > 0 && !strings.Contains(l.scope, oauth.OfflineAccess):
		return &Error{Kind: ErrInvalidConfig, Server: l.serverURL, Code: rejected.Code, Err: rejected,
			Message: "the authorization server rejects the configured scopes"}
	case less != l.scope && less != "":
		l.scope = less
	default:
		l.scope = ""
	}
	l.plan.fallback = nil
	l.notice("the authorization server rejected the scope; requesting %q", l.scope)
	return l.tryAgain(rejected)
}

// omitResource goes on without the resource parameter where the authorization
// server rejects it, now and in later logins.
func (l *loginFlow) omitResource(rejected *oauth.Error) error {
	if l.config.Resource != "" || l.plan.resource.Param() == "" {
		return &Error{Kind: ErrInvalidConfig, Server: l.serverURL, Code: rejected.Code, Err: rejected,
			Message: "the authorization server rejects the resource parameter"}
	}
	l.plan.resource.Omit, l.plan.resource.Reason = true, "the authorization server rejects it"
	l.events.decide(StepLogin, aboutResource, "omitted", l.plan.resource.Reason)
	return l.tryAgain(rejected)
}

// onCodeRejected decides what it means for the login that the token endpoint
// rejects the code exchange and no other form of authentication is left to try.
func (l *loginFlow) onCodeRejected(ctx context.Context, t *tokenRequest, rejected *oauth.Error) error {
	if rejectsOfflineAccess(l.scope, rejected) {
		return l.dropOfflineAccess(ctx, rejected)
	}
	if note := t.clockFlaw(rejected); note != "" {
		return l.clients.onWrongClock(ctx, l.errs.wrongClock(l.plan.server.Issuer, note, rejected))
	}
	switch rejected.Class() {
	case oauth.ClassClient:
		return l.clients.onUnknown(ctx, rejected)
	case oauth.ClassGrant:
		if t.sent > 1 && !rejected.Ambiguous() {
			// The failed authentication has used up the code.
			l.clients.learnMethod(t)
			return l.tryAgain(rejected)
		}
	case oauth.ClassTarget:
		return l.omitResource(rejected)
	case oauth.ClassScope:
		return l.reduceScope(rejected)
	case oauth.ClassOther:
		// Some servers return no more than this to a client that they have forgotten.
		about := rejected.Status == http.StatusUnauthorized || rejected.Code == ""
		if about && l.clients.client.Source == record.SourceDynamic && !l.clients.justRegistered {
			return l.clients.onUnknown(ctx, rejected)
		}
	}
	return l.errs.from(rejected)
}

// storeGrant writes the new grant. Only now does an older one give way.
func (l *loginFlow) storeGrant(ctx context.Context, request *tokenRequest, t *oauth.TokenResponse, at time.Time) error {
	if err := l.identity.checkIDToken(ctx, request, t); err != nil {
		return err
	}
	request.form.learn(l.clients.client)
	as := l.plan.server
	grant := &record.Grant{
		Issuer:             as.Issuer,
		ClientID:           l.clients.client.ID,
		TokenEndpoint:      as.TokenEndpoint,
		RevocationEndpoint: as.RevocationEndpoint,
		Resource:           l.plan.resource,
		ScopeRequested:     l.scope,
		ScopeGranted:       l.scope, // unless the response has another (RFC 6749, section 5.1)
		Type:               request.redeem.GrantType,
		DPoP:               request.redeem.Prover != nil,
		Enterprise:         l.identity.enterprise,
	}
	applyToken(grant, t, at)
	account, before := l.identity.account(t), l.rec.Account
	l.identity.report(before, account)
	requesting := ctx
	// The code is used up: the login cannot be canceled any more.
	ctx, cancel := awake.WithTimeout(context.WithoutCancel(ctx), storeTimeout, errStoreBusy)
	defer cancel()
	rec, err := l.records.update(ctx, l.rec, func(rec *record.Record) error {
		l.history.recordReplaced(rec.Clone(), grant.AccessToken)
		g := *grant
		rec.ServerURL = l.serverURL
		rec.Account = cmp.Or(account, l.identity.before(rec))
		rec.AuthorizationServer = serverRecord(as, l.server.privateNetwork.Load())
		rec.Grant = &g
		rec.ACRValues, rec.MaxAge = l.plan.acrValues, l.plan.maxAge
		if prover, ok := request.redeem.Prover.(*proofs); ok {
			rec.DPoP = prover.state()
		}
		if len(l.clients.client.RedirectURIs) == 0 && l.callback.redirectURI != "" {
			l.clients.client.RedirectURIs = []string{l.callback.redirectURI} // the next login comes back to the same port
		}
		if l.clients.client.ID != "" {
			rec.AddClient(l.clients.client)
		}
		rec.Intent, rec.Retry, rec.GrantError, rec.PendingLogin, rec.LoginFailure = nil, nil, nil, nil, nil
		rec.Rejection, rec.Cooldowns = nil, nil
		if l.byUser {
			rec.AutomaticLogins = nil
		}
		if g.Resource.Omit && !l.config.OmitResource && !slices.Contains(rec.OmitResource, as.Issuer) {
			rec.OmitResource = append(rec.OmitResource, as.Issuer)
		}
		return nil
	})
	if l.rec = rec; err != nil {
		if err = l.onFailedWrite(context.WithoutCancel(ctx), grant, err); err != nil {
			return err
		}
	}
	if shared := l.clients.shared(); shared != nil {
		shared.learn(ctx, l.clients.client)
	}
	if account == "" {
		l.identity.read(requesting, t, request.redeem.Prover, before)
	}
	if grant.RefreshToken == "" && !l.config.unattended(l.rec) {
		l.notice("the authorization server issued no refresh token: this login ends when its access token expires")
	}
	return nil
}

// onFailedWrite decides what becomes of the new grant where it could not be written. A write that has
// failed may have been carried out: then the grant has replaced the one before, and is not revoked.
func (l *loginFlow) onFailedWrite(ctx context.Context, grant *record.Grant, err error) error {
	keep := func() bool {
		return l.config.locked == nil && l.records.keepUnsaved(l.rec, grant.AccessToken, refreshedGrant{})
	}
	if !l.interactive && keep() {
		l.notice("the login could not be stored and lives in this process only, which goes on trying: %v", err)
		return nil
	}
	stored, unreadable := l.records.load(ctx)
	switch {
	case unreadable != nil: // the next access stores it, or finds it
		keep()
		return err
	case stored.Grant != nil && stored.Grant.SameTokens(grant):
		l.rec = stored
		return nil
	}
	lost := l.rec.Clone()
	lost.Grant = grant
	if revokeErr := (revoker{l.credential}).revokeGrant(ctx, lost); revokeErr != nil {
		l.events.fail(StepRevocation, revokeErr, "the tokens that could not be stored could not be revoked")
	}
	return err
}
