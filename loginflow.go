package handstamp

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
	"github.com/handstamp/handstamp/internal/browser"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/store"
)

// maxLoginAttempts bounds how often one login begins, in the browser or before it
// opens. More than once is needed only where the first attempt taught something: a
// method, a scope or a resource parameter that the server does not take, a client it
// has forgotten.
const maxLoginAttempts = 4

// errTryAgain ends an attempt after which the login begins anew, wiser.
var errTryAgain = errors.New("handstamp: sign in again")

// loginFlow is one login of a session, under its claim.
type loginFlow struct {
	*session
	rec      *store.Record
	plan     *loginPlan
	callback callbackReceiver

	client          *store.Client
	authMethod      authMethodChoice
	justRegistered  bool   // the client was registered in this login
	clientProbed    bool   // the client was asked for at the authorization endpoint
	browserOpened   bool   // a browser was opened
	unknownClientID string // the id of a client that the server seems not to know
	scope           string

	tabs        int   // how often the browser was opened
	interactive bool  // a caller waits for the login
	byUser      bool  // the user asked for it
	sent        int   // token requests so far
	firstErr    error // what the first attempt that another one followed came to
}

// runLogin carries a login out and returns the record with the new grant.
func (s *session) runLogin(ctx context.Context, rec *store.Record, req loginRequest) (*store.Record, error) {
	// Before a person is troubled: can the result be stored at all?
	room, err := s.reserve(ctx, responseReserve)
	if err != nil {
		return rec, storeError(ctx, s.serverURL, err)
	}
	if room != nil {
		room.Release()
	}
	if importIncomplete(rec) { // the client of an adopted login serves the new one, too
		if completed, err := s.completeImport(ctx, rec); err == nil {
			rec = completed
		}
	}
	if req.byUser {
		var err error
		if rec, err = s.endCooldowns(ctx, rec); err != nil {
			return rec, err
		}
	} else if err := s.loginCooldown(rec, time.Now()); err != nil {
		return rec, err
	}
	p, err := s.discover(ctx, rec, req)
	if err != nil {
		return rec, err
	}
	if !req.byUser {
		if err := s.loginCeiling(rec, p.server.Issuer, time.Now()); err != nil {
			return rec, err
		}
	}
	// What a step-up is for is requested in spite of what was learned.
	omit := omitScopes(rec.LearnedOf(p.server.Issuer).OmitScopes, req.needed)
	s.tellOmitted(omitScopes(p.scopes, omitScopes(p.scopes, omit)))
	p.scopes, p.fallback = omitScopes(p.scopes, omit), omitScopes(p.fallback, omit)
	l := &loginFlow{session: s, rec: rec, plan: p, scope: strings.Join(p.scopes, " "), interactive: req.interactive, byUser: req.byUser}
	defer func() { l.callback.close() }()
	for range maxLoginAttempts {
		if err = l.attempt(ctx); err == nil || !errors.Is(err, errTryAgain) {
			break
		}
		if l.browserOpened { // or the port is kept
			l.callback.finish("One more step: please go on in the new page.", nil)
		}
	}
	if errors.Is(err, errTryAgain) {
		err = &Error{Kind: ErrProtocol, Server: s.serverURL, Message: "the authorization server refuses each login for another reason"}
	}
	l.callback.finish("", err)
	if e, ok := errors.AsType[*Error](err); ok {
		e.asked = l.browserOpened || l.justRegistered
		e.follows(l.firstErr)
	}
	return l.rec, err
}

// tryAgain has another attempt follow one that failed.
func (l *loginFlow) tryAgain(refused *oauth.Error) error {
	if l.firstErr == nil {
		l.firstErr = refused
	}
	return errTryAgain
}

// attempt goes once from client to grant.
func (l *loginFlow) attempt(ctx context.Context) error {
	if err := l.openCallback(ctx); err != nil {
		return err
	}
	if err := l.chooseClient(ctx); err != nil {
		return err
	}
	if err := l.probeAuthMethod(ctx); err != nil {
		return err
	}
	pkce, state := oauth.NewPKCE(), oauth.NewState()
	authorize := oauth.AuthorizationRequest{
		Endpoint:      l.plan.server.AuthorizationEndpoint,
		ClientID:      l.client.ID,
		RedirectURI:   l.callback.redirectURI,
		Scope:         l.scope,
		State:         state,
		CodeChallenge: pkce.Challenge,
		Resource:      resourceParam(l.plan.resource),
		Extra:         l.extraAuthParams(l.plan.server, l.scope),
	}
	rawURL, err := authorize.URL()
	if err != nil {
		return l.asError(err)
	}
	if err := browser.Check(rawURL); err != nil {
		return protocolError(l.serverURL, err)
	}
	if err := l.probeClient(ctx, rawURL); err != nil {
		return err
	}
	if err := l.countTab(ctx); err != nil {
		return err
	}
	l.browserOpened = true
	request := AuthorizationRequest{
		ServerURL: l.serverURL, Issuer: l.plan.server.Issuer, URL: rawURL, RedirectURI: l.callback.redirectURI, Scope: l.scope,
		CanRegisterAnew: l.canRegisterAnew(),
	}
	l.recordPendingLogin(ctx, request)
	code, err := l.callback.requestCode(ctx, l.session, request, oauth.ExpectedCallback{
		State: state, Issuer: l.plan.server.ExpectedIss(), IssSupported: l.plan.server.AuthorizationResponseIssParameterSupported,
		Secrets: l.knownSecrets(),
	})
	switch {
	case errors.Is(err, ErrRegisterAnew):
		return l.onUnknownClient(ctx, &oauth.Error{Endpoint: "authorization"})
	case ctx.Err() == nil:
		l.recordCallback(ctx)
	}
	if err != nil {
		return l.authorizationError(ctx, err)
	}
	return l.exchangeCode(ctx, code, pkce)
}

// authorizationError decides what an error response of the authorization
// endpoint (RFC 6749, section 4.1.2.1) means for the login.
func (l *loginFlow) authorizationError(ctx context.Context, err error) error {
	var refused *oauth.Error
	if !errors.As(err, &refused) {
		return l.adviseIssuer(l.asError(err))
	}
	if l.rejectsOfflineAccess(refused) {
		return l.dropOfflineAccess(ctx, refused)
	}
	switch refused.Class() {
	case oauth.ClassScope:
		return l.reduceScope(refused)
	case oauth.ClassTarget:
		return l.omitResource(refused)
	case oauth.ClassClient:
		return l.onUnknownClient(ctx, refused)
	case oauth.ClassTransient:
		return l.asError(err)
	}
	if l.rejectsDocument(refused) {
		return l.onUnknownClient(ctx, refused)
	}
	message := "the authorization server refused the login"
	if refused.Code == "access_denied" {
		message = "access was denied"
	}
	return &Error{Kind: ErrDenied, Server: l.serverURL, Code: refused.Code, Message: message, Err: err}
}

// reduceScope asks for less after invalid_scope: first for what both the server
// and its authorization server list, then for nothing.
func (l *loginFlow) reduceScope(refused *oauth.Error) error {
	less := strings.Join(l.plan.fallback, " ")
	switch {
	case l.scope == "":
		return &Error{Kind: ErrProtocol, Server: l.serverURL, Code: refused.Code, Err: refused,
			Message: "the authorization server refuses the scope though none is requested"}
	case len(l.c.Scopes) > 0 && !strings.Contains(l.scope, offlineAccess):
		return &Error{Kind: ErrInvalidConfig, Server: l.serverURL, Code: refused.Code, Err: refused,
			Message: "the authorization server refuses the configured scopes"}
	case less != l.scope && less != "":
		l.scope = less
	default:
		l.scope = ""
	}
	l.plan.fallback = nil
	l.notice("the authorization server refused the scope; asking for %q", l.scope)
	return l.tryAgain(refused)
}

// omitResource goes on without the resource parameter where the authorization
// server rejects it, now and in later logins.
func (l *loginFlow) omitResource(refused *oauth.Error) error {
	if l.c.Resource != "" || resourceParam(l.plan.resource) == "" {
		return &Error{Kind: ErrInvalidConfig, Server: l.serverURL, Code: refused.Code, Err: refused,
			Message: "the authorization server refuses the resource parameter"}
	}
	l.plan.resource.Omit, l.plan.resource.Why = true, "the authorization server rejects it"
	return l.tryAgain(refused)
}

// exchangeCode redeems the code (RFC 6749, section 4.1.3) and stores the grant. A
// code is sent again only to a server that has said it did not take it; in
// doubt, the user signs in again, which at most servers is a moment.
func (l *loginFlow) exchangeCode(ctx context.Context, code oauth.Secret, pkce oauth.PKCE) error {
	t := &tokenRequest{
		redeem: oauth.TokenRequest{
			Endpoint: l.plan.server.TokenEndpoint, Code: code, RedirectURI: l.callback.redirectURI, Verifier: pkce.Verifier,
		},
		client: l.client, form: l.authMethod.authForm, next: l.authMethod.next, resource: l.plan.resource,
	}
	for try := 1; ; {
		token, at, err := t.send(ctx, l.fetcher, nil)
		l.sent++
		if err == nil {
			t.form.learn(l.client)
			return l.storeGrant(ctx, token, at)
		}
		rejected, isRejected := errors.AsType[*oauth.Error](err)
		if !(isRejected && l.rejectsOfflineAccess(rejected)) && t.nextForm(err) {
			continue
		}
		if isRejected {
			return l.onCodeRejected(ctx, t, rejected)
		}
		wait, passing := passingTrouble(err, try)
		if try++; !passing || try > maxTries || wait > maxRetryWait || sleep(ctx, wait) != nil {
			return l.asError(err)
		}
	}
}

// passingTrouble returns how long to wait before a code that the server cannot
// have taken is sent again, and whether it may be.
func passingTrouble(err error, try int) (wait time.Duration, ok bool) {
	wait = backoff(try)
	if _, blocked := errors.AsType[*oauth.BlockedError](err); blocked {
		return 0, false
	}
	if lost, isLost := errors.AsType[*oauth.SendError](err); isLost {
		return wait, !lost.Sent
	}
	passing, isPassing := errors.AsType[*oauth.TransientError](err)
	if !isPassing {
		return 0, false
	}
	if passing.RetryAfter > 0 {
		wait = passing.RetryAfter
	}
	return wait, passing.Status == http.StatusTooManyRequests || passing.Status == http.StatusServiceUnavailable
}

// onCodeRejected decides what it means for the login that the token endpoint
// rejects the code exchange and no other form of authentication is left to try.
func (l *loginFlow) onCodeRejected(ctx context.Context, t *tokenRequest, rejected *oauth.Error) error {
	if l.rejectsOfflineAccess(rejected) {
		return l.dropOfflineAccess(ctx, rejected)
	}
	switch rejected.Class() {
	case oauth.ClassClient:
		return l.onUnknownClient(ctx, rejected)
	case oauth.ClassGrant:
		if t.sent > 1 && !rejected.Ambiguous() {
			// The failed authentication has spent the code.
			l.client.Method, l.client.FormID, l.client.MethodSource = t.form.method, t.form.formID, store.MethodLearned
			l.authMethod = authMethodChoice{authForm: t.form, source: store.MethodLearned, next: t.next}
			return l.tryAgain(rejected)
		}
	case oauth.ClassTarget:
		return l.omitResource(rejected)
	case oauth.ClassScope:
		return l.reduceScope(rejected)
	case oauth.ClassOther:
		// Some servers tell a client that they have forgotten no more than this.
		about := rejected.Status == http.StatusUnauthorized || rejected.Code == ""
		if about && l.client.Source == store.SourceDynamic && !l.justRegistered {
			return l.onUnknownClient(ctx, rejected)
		}
	}
	return l.asError(rejected)
}

// storeGrant writes the new grant. Only now does an older one give way.
func (l *loginFlow) storeGrant(ctx context.Context, t *oauth.TokenResponse, at time.Time) error {
	as := l.plan.server
	grant := &store.Grant{
		Issuer:             as.Issuer,
		ClientID:           l.client.ID,
		TokenEndpoint:      as.TokenEndpoint,
		RevocationEndpoint: as.RevocationEndpoint,
		Resource:           l.plan.resource,
		ScopeRequested:     l.scope,
		ScopeGranted:       l.scope, // unless the answer says otherwise (RFC 6749, section 5.1)
	}
	applyToken(grant, t, at)
	// The code is spent: nobody calls this off any more.
	ctx, cancel := awake.WithTimeout(context.WithoutCancel(ctx), storeTimeout, errStoreBusy)
	defer cancel()
	rec, err := l.update(ctx, l.rec, func(rec *store.Record) error {
		g := *grant
		rec.ServerURL = l.serverURL
		rec.AuthorizationServer = &store.AuthorizationServer{
			Issuer: as.Issuer, Form: as.Form, Metadata: as.Raw, FetchedAt: time.Now().UTC().Truncate(time.Second),
			PrivateNetwork: l.privateNetwork.Load(),
		}
		rec.Grant = &g
		if len(l.client.RedirectURIs) == 0 {
			l.client.RedirectURIs = []string{l.callback.redirectURI} // the next login comes back to the same port
		}
		rec.AddClient(l.client)
		rec.Intent, rec.Retry, rec.Refusal, rec.PendingLogin, rec.LoginFailure = nil, nil, nil, nil, nil
		rec.Rejection, rec.Cooldowns = nil, nil
		if l.byUser {
			rec.AutomaticLogins = nil
		}
		if g.Resource.Omit && !l.c.OmitResource && !slices.Contains(rec.OmitResource, as.Issuer) {
			rec.OmitResource = append(rec.OmitResource, as.Issuer)
		}
		return nil
	})
	l.rec = rec
	switch {
	case err == nil:
	case !l.interactive && l.c.locked == nil && l.keepInMemory(rec, t):
		l.notice("the login could not be stored and lives in this process only, which goes on trying: %v", err)
	default:
		// Nobody will have these tokens.
		rec = rec.Clone()
		rec.Grant = grant
		if _, revokeErr := l.revokeGrant(context.WithoutCancel(ctx), rec); revokeErr != nil {
			l.log.Debug("the tokens that could not be stored could not be revoked", "error", revokeErr)
		}
		return err
	}
	if grant.RefreshToken == "" {
		l.notice("the authorization server issued no refresh token: this login ends when its access token expires")
	}
	return nil
}
