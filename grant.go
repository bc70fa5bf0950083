package handstamp

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/jose"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

// Grant is a way to obtain tokens other than the authorization code grant, for [Client.Grant]:
// [ClientCredentials], [JWTBearer], [TokenExchange] and [Enterprise] need no user at the MCP server:
// a Client obtains tokens on its own whenever one is needed, whatever its LoginPolicy, and one
// process does it for all that share the store. With [DeviceCode] the user signs in on another
// device.
type Grant interface {
	grantType() string

	// params returns the parameters of the token request of a login, except the client, scope and
	// resource.
	params(ctx context.Context, l *loginFlow, t GrantTarget) (url.Values, error)
}

// GrantTarget is what a token is requested for.
type GrantTarget struct {
	ServerURL     string // as the user gave it
	Issuer        string // the authorization server
	TokenEndpoint string
	Resource      string // "": no resource parameter is sent
	Scope         string // space-separated
	ClientID      string

	events *narrator
}

const (
	grantClientCredentials = "client_credentials"
	grantJWTBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// ClientCredentials has the client obtain tokens for itself (RFC 6749, section 4.4): a service,
// with a [Registration] and its secret, a [Client.Key] or a [Client.Certificate].
type ClientCredentials struct{}

func (ClientCredentials) grantType() string { return grantClientCredentials }

func (ClientCredentials) params(context.Context, *loginFlow, GrantTarget) (url.Values, error) {
	return nil, nil
}

// JWTBearer obtains tokens with an assertion (RFC 7523, section 2.1), such as the identity token of
// a workload. Its audience is the authorization server's issuer; a token with another audience is
// sent only where [Client.AuthorizationServer] or the Issuer of [Client.Registration] names that
// server. It needs no client: without a Registration or a client ID metadata document the request
// names none. If the authorization server rejects the assertion, nothing is sent again: no other
// grant, no smaller scope, no other form of authentication.
type JWTBearer struct {
	// Assertion returns the JWT. Nil is an error.
	Assertion AssertionSource
}

func (JWTBearer) grantType() string { return grantJWTBearer }

func (g JWTBearer) params(ctx context.Context, l *loginFlow, t GrantTarget) (url.Values, error) {
	assertion, err := t.assertion(ctx, g.Assertion)
	if err != nil {
		return nil, err
	}
	claims, err := jose.UnverifiedClaims(assertion)
	if err != nil {
		return nil, &Error{Kind: ErrInvalidConfig, Server: t.ServerURL,
			Message: "the assertion is no signed JWT"}
	}
	if !l.config.namesServer() && !t.in(claims.Audience) {
		return nil, t.untrusted("the assertion is made out for " + audienceText(claims))
	}
	return url.Values{"assertion": {assertion}}, nil
}

// in reports whether an audience has the authorization server (RFC 7523, section 3).
func (t GrantTarget) in(audience []string) bool {
	return slices.ContainsFunc(audience, func(a string) bool {
		return oauth.SameButSlash(a, t.Issuer) || a == t.TokenEndpoint
	})
}

func audienceText(claims jose.Claims) string {
	return cmp.Or(oauth.Sanitize(strings.Join(claims.Audience, ", ")), "no audience")
}

// untrusted returns the error of a token that is not sent to an authorization server that only the
// MCP server names: it could use the token elsewhere.
func (t GrantTarget) untrusted(why string) error {
	return &Error{Kind: ErrInvalidConfig, Server: t.ServerURL, Setting: "AuthorizationServer",
		Message: why + ", and the server names " + oauth.Sanitize(t.Issuer) +
			" as its authorization server; nothing was sent there",
		Hint: "if that is right, describe it in the client's AuthorizationServer"}
}

var errEmptyAssertion = errors.New("its source returned an empty token")

// assertion returns the token of a source in the clear.
func (t GrantTarget) assertion(ctx context.Context, source AssertionSource) (string, error) {
	if source == nil {
		return "", &Error{Kind: ErrInvalidConfig, Server: t.ServerURL,
			Message: "the client's Grant has no source of its token"}
	}
	token, err := source(ctx, t)
	if known, ok := errtype.As[*Error](err); ok {
		e := *known // others may have it, too
		e.Server = t.ServerURL
		return "", &e
	}
	if err == nil && token == "" {
		err = errEmptyAssertion
	}
	if err != nil {
		return "", &Error{Kind: ErrLoginRequired, Server: t.ServerURL,
			Message: "there is no assertion to sign in with", Err: err}
	}
	t.events.presents("the token of another issuer", token.Reveal())
	return token.Reveal(), nil
}

// grantLogin is a login without a user.
type grantLogin struct{ *loginFlow }

// attempt makes one token request.
func (l grantLogin) attempt(ctx context.Context, grant Grant) error {
	l.scope = withoutOfflineAccess(l.scope)
	if err := l.chooseClient(ctx, grant); err != nil {
		return err
	}
	params, err := grant.params(ctx, l.loginFlow, GrantTarget{
		ServerURL: l.serverURL, Issuer: l.plan.server.Issuer, TokenEndpoint: l.plan.server.TokenEndpoint,
		Resource: l.plan.resource.Param(), Scope: l.scope, ClientID: l.clients.client.ID,
		events: l.events,
	})
	if err != nil {
		return err
	}
	t := l.grantRequest(grant, params)
	token, at, err := t.run(ctx)
	l.requests += t.sent
	if token != nil && err == nil {
		if l.clients.client.ID == "" {
			token.RefreshToken = "" // no client, no refresh: the assertion does it again
		}
		l.plan.resource = t.resource
		return l.storeGrant(ctx, t, token, at)
	}
	rejected, ok := errtype.As[*oauth.Error](err)
	switch {
	case !ok || rejected.Class() == oauth.ClassTransient:
		return l.onTransientError(ctx, t, err)
	case hasAssertion(grant):
		return l.assertionRejected(ctx, t, rejected)
	case rejected.Class() == oauth.ClassClient:
		return l.clients.onUnknown(ctx, rejected)
	case rejected.Class() == oauth.ClassScope:
		return l.reduceScope(rejected)
	case rejected.Class() == oauth.ClassGrant:
		return &Error{Kind: ErrDenied, Server: l.serverURL, Code: rejected.Code, Err: rejected,
			Message: "the authorization server rejected the client credentials"}
	}
	return l.errs.from(err)
}

// onTransientError notes, for all processes, until when a server is left alone that decided nothing.
func (l grantLogin) onTransientError(ctx context.Context, t *tokenRequest, cause error) error {
	err := l.errs.from(cause)
	if errors.Is(err, ErrUnreachable) && !unmade(cause) {
		l.remember(ctx, "the failure", func(rec *record.Record) { noteRetry(rec, t.wait, cause) })
	}
	return err
}

// hasAssertion reports whether a grant is a token of another issuer. One that was rejected is not
// sent again, and one whose response was lost may be used up.
func hasAssertion(grant Grant) bool { return grant.grantType() != grantClientCredentials }

// grantRequest returns the token request of a grant.
func (l grantLogin) grantRequest(grant Grant, params url.Values) *tokenRequest {
	t := l.clients.tokenRequest(oauth.TokenRequest{GrantType: grant.grantType(), Params: params}, sendUntilResponse)
	t.optionalResource, t.scope = l.config.Resource == "", l.scope
	if hasAssertion(grant) {
		t.next, t.optionalResource, t.repeat = nil, false, sendUntilReceived
		t.final = func(rejected *oauth.Error) bool { return !rejected.WantsProof() }
	}
	return t
}

// chooseClient chooses the client of a grant. An assertion needs none (RFC 7523, section 3.1), and
// none is registered for it.
func (l grantLogin) chooseClient(ctx context.Context, grant Grant) error {
	issuer := l.plan.server.Issuer
	stored := l.rec.NewestClient(issuer)
	if !hasAssertion(grant) || l.config.activeRegistration() != nil || l.clients.documentClient() != nil ||
		stored != nil && stored.Source != record.SourceDynamic {
		return l.clients.choose(ctx)
	}
	if _, ok := grant.(Enterprise); ok {
		return &Error{Kind: ErrInvalidConfig, Server: l.serverURL, Setting: "Registration",
			Message: "the company's grant is valid only for the client that it registered at " +
				oauth.Sanitize(issuer) + ", and none is configured",
			Hint: "set the client's Registration"}
	}
	l.clients.client = &record.Client{Issuer: issuer, Method: oauth.MethodNone}
	l.clients.authMethod = authMethodChoice{
		authForm: authForm{method: oauth.MethodNone}, reason: "no client is configured, and an assertion needs none",
	}
	l.clients.chosen()
	return nil
}

// assertionRejected returns the error of a grant that was rejected, with what its token shows of the
// reason.
func (l grantLogin) assertionRejected(ctx context.Context, t *tokenRequest, rejected *oauth.Error) error {
	issuer, client := oauth.Sanitize(l.plan.server.Issuer), l.clients.client
	why, hint := l.assertionFlaw(t)
	if rejected.Class() == oauth.ClassClient && client.ID != "" {
		e := l.errs.clientRejected(client, rejected)
		if note := clockNote(t.clock); note != "" {
			e.Hint = note + ": set it, then try again"
		}
		return l.clients.noteRejection(ctx, client, t.redeem.Endpoint, max(l.requests, 1), e)
	}
	e := &Error{Kind: ErrDenied, Server: l.serverURL, Code: rejected.Code, Err: rejected, Hint: hint}
	name := grantName(t.redeem.GrantType)
	switch rejected.Class() {
	case oauth.ClassScope:
		e.Message = issuer + " grants no such scope for the " + name
	case oauth.ClassTarget:
		e.Message = issuer + " grants no token for this resource for the " + name
	default:
		e.Message = issuer + " rejected the " + name + why
	}
	if l.identity.enterprise != "" {
		e.Message += ", which the company's identity provider " + oauth.Sanitize(l.identity.enterprise) + " issued"
		e.Hint = cmp.Or(e.Hint,
			"the operator of the server has to trust that provider, and know this client by the same id")
	}
	return e
}

// assertionFlaw returns what is wrong with the token of a grant, as a clause and a hint: it has
// expired by one of the two clocks, it is for another server, or the clocks differ.
func (l grantLogin) assertionFlaw(t *tokenRequest) (why, hint string) {
	token := cmp.Or(t.redeem.Params.Get("assertion"), t.redeem.Params.Get("subject_token"))
	claims, err := jose.UnverifiedClaims(token)
	target := GrantTarget{Issuer: l.plan.server.Issuer, TokenEndpoint: l.plan.server.TokenEndpoint}
	elsewhere := t.redeem.GrantType == grantJWTBearer && !target.in(claims.Audience)
	switch {
	case err != nil:
	case !claims.Expiry.IsZero() && time.Now().Add(max(t.clock, 0)).After(claims.Expiry):
		why = ", which expired at " + claims.Expiry.UTC().Format(time.RFC3339)
		hint = "have a new one issued"
	case elsewhere:
		why = ", which is made out for " + audienceText(claims)
		hint = "have one issued whose audience is " + oauth.Sanitize(l.plan.server.Issuer)
	}
	if note := clockNote(t.clock); note != "" {
		hint = note + ": set it, then try again"
	}
	return why, hint
}

// grantName names a grant in a sentence.
func grantName(grantType string) string {
	if grantType == grantTokenExchange {
		return "token"
	}
	return "assertion"
}
