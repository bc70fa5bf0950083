package handstamp

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/internal/browser"
	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
)

// codeLogin is a login with the authorization code grant (RFC 6749, section 4.1): the user signs in
// at the authorization server, with a browser.
type codeLogin struct{ *loginFlow }

// attempt sends the user to the authorization server and exchanges the code that comes back.
func (l codeLogin) attempt(ctx context.Context) error {
	request, err := l.prepareRequest(ctx)
	if err != nil {
		return err
	}
	if l.suspends {
		return &suspension{l, request}
	}
	code, err := l.callback.requestCode(ctx, request.AuthorizationRequest, l.expectedCallback(request))
	switch {
	case errors.Is(err, ErrRegisterAnew):
		return l.clients.onUnknown(ctx, &oauth.Error{Endpoint: "authorization"})
	case ctx.Err() == nil:
		pendingLogin(l).end(ctx)
	}
	return l.received(ctx, request, code, err)
}

// codeRequest is an authorization request that no response has come to yet.
type codeRequest struct {
	AuthorizationRequest
	pkce oauth.PKCE
}

// prepareRequest does what comes before the user is sent to the authorization server.
func (l codeLogin) prepareRequest(ctx context.Context) (*codeRequest, error) {
	for _, prepare := range []func(context.Context) error{
		l.callback.open, l.clients.choose, l.clients.probe().probeAuthMethod,
	} {
		if err := prepare(ctx); err != nil {
			return nil, err
		}
	}
	pkce, state := oauth.NewPKCE(), oauth.NewState()
	authorize := l.authorizationRequest(pkce, state)
	if err := l.push(ctx, &authorize); err != nil {
		return nil, err
	}
	rawURL, err := authorize.URL()
	if err != nil {
		return nil, l.errs.from(err)
	}
	if err := browser.Check(rawURL); err != nil {
		return nil, protocolError(l.serverURL, err)
	}
	if err := l.clients.probe().probeClient(ctx, rawURL); err != nil {
		return nil, err
	}
	if err := l.countTab(ctx); err != nil {
		return nil, err
	}
	l.browserOpened = true
	l.authorizes(rawURL)
	request := &codeRequest{pkce: pkce, AuthorizationRequest: AuthorizationRequest{
		ServerURL: l.serverURL, Issuer: l.plan.server.Issuer, URL: rawURL, RedirectURI: l.callback.redirectURI,
		State: state.Reveal(), Scope: l.scope, CanRegisterAnew: l.clients.canRegisterAnew(),
	}}
	pendingLogin(l).record(ctx, request.AuthorizationRequest)
	return request, nil
}

// authorizationRequest returns the request that the user's browser makes.
func (l codeLogin) authorizationRequest(pkce oauth.PKCE, state oauth.Secret) oauth.AuthorizationRequest {
	authorize := oauth.AuthorizationRequest{
		Endpoint:      l.plan.server.AuthorizationEndpoint,
		ClientID:      l.clients.client.ID,
		RedirectURI:   l.callback.redirectURI,
		Scope:         l.scope,
		State:         state,
		CodeChallenge: pkce.Challenge,
		Resource:      l.plan.resource.Param(),
		Extra:         l.extraAuthParams(l.plan.server, l.scope),
	}
	if l.prover != nil { // the code is bound to the key, too (RFC 9449, section 10)
		authorize.Extra.Set("dpop_jkt", l.prover.thumbprint())
	}
	return authorize
}

// extraAuthParams returns what else the authorization request says: what the user wants,
// and what a refresh token takes at an OpenID provider. One that lists
// offline_access may ignore it, in silence, unless the user is prompted for consent
// (OpenID Connect Core, section 11); one that does not, but lists the grant, gives
// refresh tokens as Google does: for access_type=offline, with that consent.
// Others ignore a parameter that they do not know (RFC 6749, section 3.1).
func (l codeLogin) extraAuthParams(as *oauth.ServerMetadata, scope string) url.Values {
	params := make(url.Values)
	switch {
	case !slices.Contains(as.ScopesSupported, "openid"):
	case slices.Contains(as.ScopesSupported, oauth.OfflineAccess):
		if slices.Contains(strings.Fields(scope), oauth.OfflineAccess) {
			params.Set("prompt", "consent")
		}
	case slices.Contains(as.GrantTypesSupported, "refresh_token"):
		params.Set("access_type", "offline")
		params.Set("prompt", "consent")
	}
	for name, value := range map[string]string{"acr_values": l.plan.acrValues, "max_age": l.plan.maxAge, "login_hint": l.identity.hint()} {
		if value != "" {
			params.Set(name, value)
		}
	}
	maps.Copy(params, l.config.ExtraAuthParams)
	return l.identity.withNonce(params)
}

// push sends the parameters of the authorization request to the server, out of sight of the browser
// (RFC 9126), where the server requires or offers that. What it only offers and does not carry out
// is no reason to end the login.
func (l codeLogin) push(ctx context.Context, authorize *oauth.AuthorizationRequest) error {
	endpoint := l.plan.server.PushedAuthorizationRequestEndpoint
	l.pushes()
	if endpoint == "" {
		return nil
	}
	var prover oauth.Prover
	if l.prover != nil {
		prover = l.prover
	}
	err := l.clients.authenticate(endpoint, func(client oauth.Authenticator) (err error) {
		authorize.RequestURI, err = l.fetcher.PushAuthorization(ctx, endpoint, client, prover, *authorize)
		return err
	})
	if err == nil {
		l.clients.clientProbed = true
		return nil
	}
	rejected, ok := errtype.As[*oauth.Error](err)
	about := ok && (rejected.Class() == oauth.ClassScope || rejected.Class() == oauth.ClassTarget)
	if about || l.plan.server.RequirePushedAuthorizationRequests {
		return l.authorizationError(ctx, err)
	}
	l.events.fail(StepAuthorization, err, "the authorization request could not be pushed and goes through the browser")
	return nil
}

// expectedCallback describes the response to a request.
func (l codeLogin) expectedCallback(r *codeRequest) oauth.ExpectedCallback {
	return oauth.ExpectedCallback{
		State: oauth.Secret(r.State), Issuer: l.plan.server.ExpectedIss(), Secrets: l.secrets.all(),
		IssSupported: l.plan.server.AuthorizationResponseIssParameterSupported,
	}
}

// received goes on with the response to a request: a code or an error.
func (l codeLogin) received(ctx context.Context, r *codeRequest, code oauth.Secret, err error) error {
	if err != nil {
		return l.authorizationError(ctx, err)
	}
	return l.exchangeCode(ctx, code, r.pkce)
}

// exchangeCode redeems the code (RFC 6749, section 4.1.3) and stores the grant. A
// code is sent again only to a server that has said it did not take it; in
// doubt, the user signs in again, which at most servers is a moment.
func (l codeLogin) exchangeCode(ctx context.Context, code oauth.Secret, pkce oauth.PKCE) error {
	t := l.clients.tokenRequest(oauth.TokenRequest{
		Code: code, RedirectURI: l.callback.redirectURI, Verifier: pkce.Verifier,
	}, sendUntilReceived)
	t.final = func(rejected *oauth.Error) bool { return rejectsOfflineAccess(l.scope, rejected) }
	token, at, err := t.run(ctx)
	l.requests += t.sent
	if err == nil {
		return l.storeGrant(ctx, t, token, at)
	}
	if rejected, ok := errtype.As[*oauth.Error](err); ok {
		return l.onCodeRejected(ctx, t, rejected)
	}
	return l.errs.from(err)
}
