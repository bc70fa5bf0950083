package handstamp

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/browser"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/store"
)

// attempts bounds how often one login sends the person to the browser. More
// than one is needed only where the first taught something: a method, a scope or
// a resource parameter that the server does not take, a client it has forgotten.
const attempts = 4

// errAgain ends an attempt after which the login begins anew, wiser.
var errAgain = errors.New("handstamp: sign in again")

// signIn is one login of a session, under its claim.
type signIn struct {
	*session
	rec  *store.Record
	plan *plan
	out  outside

	client  *store.Client
	choice  methodChoice
	fresh   bool   // the client was registered in this login
	checked bool   // the client was asked for at the authorization endpoint
	asked   bool   // a browser was opened
	gone    string // the id of a client that the server seems not to know
	scope   string

	explicit bool  // a person asked for the login
	first    error // what the first attempt that another one followed came to
}

// signInAs carries a login out and returns the record with the new grant.
func (s *session) signInAs(ctx context.Context, rec *store.Record, req loginRequest) (*store.Record, error) {
	// Before a person is troubled: can the result be stored at all?
	if reserver, ok := s.c.Store.(store.Reserver); ok {
		room, err := reserver.Reserve(ctx, s.key, answerRoom)
		if err != nil {
			return rec, storeError(ctx, s.serverURL, err)
		}
		room.Release()
	}
	if incomplete(rec) { // the client of an adopted login serves the new one, too
		if completed, err := s.complete(ctx, rec); err == nil {
			rec = completed
		}
	}
	p, err := s.discover(ctx, rec, req)
	if err != nil {
		return rec, err
	}
	l := &signIn{session: s, rec: rec, plan: p, scope: strings.Join(p.scopes, " "), explicit: req.explicit}
	defer func() { l.out.close() }()
	for range attempts {
		if err = l.attempt(ctx); err == nil || !errors.Is(err, errAgain) {
			break
		}
		if l.asked { // or the port is kept
			l.out.finish("One more step: please go on in the new page.", nil)
		}
	}
	if errors.Is(err, errAgain) {
		err = &Error{Kind: ErrProtocol, Server: s.serverURL, Message: "the authorization server refuses each login for another reason"}
	}
	l.out.finish("You are signed in.", err)
	if e, ok := errors.AsType[*Error](err); ok {
		e.asked = l.asked || l.fresh
		e.follows(l.first)
	}
	return l.rec, err
}

// again has another attempt follow one that failed.
func (l *signIn) again(refused *oauth.Error) error {
	if l.first == nil {
		l.first = refused
	}
	return errAgain
}

// attempt goes once from client to grant.
func (l *signIn) attempt(ctx context.Context) error {
	if err := l.listen(ctx); err != nil {
		return err
	}
	if err := l.chooseClient(ctx); err != nil {
		return err
	}
	if err := l.checkMethod(ctx); err != nil {
		return err
	}
	pkce, state := oauth.NewPKCE(), oauth.NewState()
	authorize := oauth.AuthorizationRequest{
		Endpoint:      l.plan.server.AuthorizationEndpoint,
		ClientID:      l.client.ID,
		RedirectURI:   l.out.redirectURI,
		Scope:         l.scope,
		State:         state,
		CodeChallenge: pkce.Challenge,
		Resource:      resourceParam(l.plan.resource),
		Extra:         l.extra(l.plan.server, l.scope),
	}
	rawURL, err := authorize.URL()
	if err != nil {
		return l.explain(err)
	}
	if err := browser.Check(rawURL); err != nil {
		return protocolError(l.serverURL, err)
	}
	if err := l.checkClient(ctx, rawURL); err != nil {
		return err
	}
	l.asked = true
	request := AuthorizationRequest{
		ServerURL: l.serverURL, Issuer: l.plan.server.Issuer, URL: rawURL, RedirectURI: l.out.redirectURI, Scope: l.scope,
	}
	l.notePending(ctx, request)
	code, err := l.out.ask(ctx, l.session, request, oauth.Expected{
		State: state, Issuer: l.plan.server.Issuer, IssSupported: l.plan.server.AuthorizationResponseIssParameterSupported,
	})
	if err != nil {
		return l.authorizationError(ctx, err)
	}
	return l.exchange(ctx, code, pkce)
}

// authorizationError decides what an error response of the authorization
// endpoint (RFC 6749, section 4.1.2.1) means for the login.
func (l *signIn) authorizationError(ctx context.Context, err error) error {
	var refused *oauth.Error
	if !errors.As(err, &refused) {
		return l.explain(err)
	}
	switch refused.Class() {
	case oauth.ClassScope:
		return l.lowerScope(refused)
	case oauth.ClassTarget:
		return l.dropResource(refused)
	case oauth.ClassClient:
		return l.forgetClient(ctx, refused)
	case oauth.ClassTransient:
		return l.explain(err)
	}
	message := "the authorization server refused the login"
	if refused.Code == "access_denied" {
		message = "access was denied"
	}
	return &Error{Kind: ErrDenied, Server: l.serverURL, Code: refused.Code, Message: message, Err: err}
}

// lowerScope asks for less after invalid_scope: first for what both the server
// and its authorization server list, then for nothing.
func (l *signIn) lowerScope(refused *oauth.Error) error {
	less := strings.Join(l.plan.fallback, " ")
	switch {
	case l.scope == "":
		return &Error{Kind: ErrProtocol, Server: l.serverURL, Code: refused.Code, Err: refused,
			Message: "the authorization server refuses the scope though none is requested"}
	case len(l.c.Scopes) > 0 && !strings.Contains(l.scope, offlineAccess):
		return &Error{Kind: ErrUsage, Server: l.serverURL, Code: refused.Code, Err: refused,
			Message: "the authorization server refuses the configured scopes"}
	case less != l.scope && less != "":
		l.scope = less
	default:
		l.scope = ""
	}
	l.plan.fallback = nil
	l.notice("the authorization server refused the scope; asking for %q", l.scope)
	return l.again(refused)
}

// dropResource goes on without the resource parameter where the authorization
// server rejects it, now and in later logins.
func (l *signIn) dropResource(refused *oauth.Error) error {
	if l.c.Resource != "" || resourceParam(l.plan.resource) == "" {
		return &Error{Kind: ErrUsage, Server: l.serverURL, Code: refused.Code, Err: refused,
			Message: "the authorization server refuses the resource parameter"}
	}
	l.plan.resource.Omit, l.plan.resource.Why = true, "the authorization server rejects it"
	return l.again(refused)
}

// exchange redeems the code (RFC 6749, section 4.1.3) and stores the grant. A
// code is sent again only to a server that has said it did not take it; in
// doubt, the person is asked again, which at most servers is a moment.
func (l *signIn) exchange(ctx context.Context, code oauth.Secret, pkce oauth.PKCE) error {
	method, next, switched := l.choice.method, l.choice.next, false
	for try := 1; ; {
		answer, err := l.fetcher.PostToken(ctx, oauth.TokenRequest{
			Endpoint:    l.plan.server.TokenEndpoint,
			Client:      authenticator(l.client, method),
			Code:        code,
			RedirectURI: l.out.redirectURI,
			Verifier:    pkce.Verifier,
			Resource:    resourceParam(l.plan.resource),
		})
		var token *oauth.TokenResponse
		if err == nil {
			token, err = oauth.ParseToken(answer)
		}
		if err == nil {
			if method != l.client.Method || l.client.MethodSource == store.MethodDefault {
				l.client.Method, l.client.MethodSource = method, store.MethodLearned
			}
			return l.store(ctx, token, answer.ReceivedAt)
		}
		var refused *oauth.Error
		var passing *oauth.TransientError
		var lost *oauth.SendError
		var blocked *oauth.BlockedError
		switch {
		case errors.As(err, &refused):
			switch refused.Class() {
			case oauth.ClassClient:
				if len(next) > 0 {
					method, next, switched = next[0], next[1:], true
					continue
				}
				if !refused.Structured() && l.fresh {
					return l.explain(err)
				}
				return l.forgetClient(ctx, refused)
			case oauth.ClassGrant:
				if switched {
					// The failed authentication has spent the code.
					l.client.Method, l.client.MethodSource = method, store.MethodLearned
					l.choice = methodChoice{method: method, source: store.MethodLearned}
					return l.again(refused)
				}
			case oauth.ClassTarget:
				return l.dropResource(refused)
			case oauth.ClassScope:
				return l.lowerScope(refused)
			}
		case errors.As(err, &blocked):
			// Another try would be refused as well.
		case errors.As(err, &passing) && (passing.Status == 429 || passing.Status == 503),
			errors.As(err, &lost) && !lost.Sent:
			wait := backoff(try)
			if passing != nil && passing.RetryAfter > 0 {
				wait = passing.RetryAfter
			}
			if try++; try <= tries && wait <= longestWait && sleep(ctx, wait) == nil {
				continue
			}
		}
		return l.explain(err)
	}
}

// storeTimeout bounds the wait for a store that another process is writing to.
const storeTimeout = 15 * time.Second

// store writes the new grant. Only now does an older one give way.
func (l *signIn) store(ctx context.Context, t *oauth.TokenResponse, at time.Time) error {
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
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), storeTimeout, errStoreBusy)
	defer cancel()
	rec, err := l.update(ctx, l.rec, func(rec *store.Record) error {
		g := *grant
		rec.ServerURL = l.serverURL
		rec.AuthorizationServer = &store.AuthorizationServer{
			Issuer: as.Issuer, Form: as.Form, Metadata: as.Raw, FetchedAt: time.Now().UTC().Truncate(time.Second),
		}
		rec.Grant = &g
		if len(l.client.RedirectURIs) == 0 {
			l.client.RedirectURIs = []string{l.out.redirectURI} // the next login comes back to the same port
		}
		rec.AddClient(l.client)
		rec.Intent, rec.Retry, rec.Refusal, rec.PendingLogin, rec.LoginFailure = nil, nil, nil, nil, nil
		if g.Resource.Omit && !l.c.OmitResource && !slices.Contains(rec.OmitResource, as.Issuer) {
			rec.OmitResource = append(rec.OmitResource, as.Issuer)
		}
		return nil
	})
	l.rec = rec
	switch {
	case err == nil:
	case !l.explicit && l.c.locked == nil && l.keepUnsaved(rec, t):
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

// explain turns an error of the protocol layer into one that callers branch on.
func (s *session) explain(err error) error {
	var known *Error
	var broken *oauth.ProtocolError
	var blocked *oauth.BlockedError
	var refused *oauth.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &broken), errors.As(err, &blocked):
		return protocolError(s.serverURL, err)
	case errors.As(err, &refused) && refused.Class() != oauth.ClassTransient:
		return &Error{Kind: ErrProtocol, Server: s.serverURL, Code: refused.Code, Err: err,
			Message: "the authorization server does not let the login through"}
	case errors.Is(err, oauth.ErrAbsent):
		return &Error{Kind: ErrProtocol, Server: s.serverURL, Err: err,
			Message: "the authorization server that the server names has no metadata"}
	case errors.Is(err, context.Canceled):
		return err
	}
	e := &Error{Kind: ErrUnreachable, Server: s.serverURL, Err: err,
		Message: fmt.Sprintf("the authorization server could not be asked (%s)", reason(err)), Hint: "try again"}
	var passing *oauth.TransientError
	if errors.As(err, &passing) && passing.RetryAfter > 0 {
		e.RetryAt = time.Now().Add(passing.RetryAfter)
		e.Hint = fmt.Sprintf("try again in %v", passing.RetryAfter)
	}
	return e
}

// pastedParams returns the parameters of a URL that a person pasted, if it leads
// to the redirect URI.
func pastedParams(pasted, redirectURI string) (url.Values, error) {
	got, err := url.Parse(strings.TrimSpace(pasted))
	if err != nil {
		return nil, errors.New("that is no URL")
	}
	want, err := url.Parse(redirectURI)
	if err != nil {
		return nil, err
	}
	if got.Scheme != want.Scheme || got.Host != want.Host || got.Path != want.Path || got.User != nil {
		return nil, errors.New("that URL does not begin with " + redirectURI)
	}
	return url.ParseQuery(got.RawQuery)
}
