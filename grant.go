package handstamp

import (
	"context"
	"errors"
	"net/url"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
)

// Grant is a way to obtain tokens other than the authorization code grant, for [Client.Grant]:
// [ClientCredentials] and [JWTBearer] need no user: a Client obtains tokens on its own whenever one
// is needed, whatever its LoginPolicy, and one process does it for all that share the store. With
// [DeviceCode] the user signs in on another device.
type Grant interface {
	grantType() string

	// params returns the parameters of a token request beside the client, scope and resource.
	params(ctx context.Context, t GrantTarget) (url.Values, error)
}

// GrantTarget is what a token is requested for.
type GrantTarget struct {
	ServerURL     string // as the user gave it
	Issuer        string // the authorization server
	TokenEndpoint string
	Resource      string // "": no resource parameter is sent
	Scope         string // space-separated
	ClientID      string
}

const (
	grantClientCredentials = "client_credentials"
	grantJWTBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// ClientCredentials has the client obtain tokens for itself (RFC 6749, section 4.4): a service,
// with a [Registration] and its secret, a [Client.Key] or a [Client.Certificate].
type ClientCredentials struct{}

func (ClientCredentials) grantType() string { return grantClientCredentials }

func (ClientCredentials) params(context.Context, GrantTarget) (url.Values, error) { return nil, nil }

// JWTBearer obtains tokens with an assertion (RFC 7523, section 2.1), such as the identity token
// of a workload. If the authorization server rejects it, no other grant is tried.
type JWTBearer struct {
	// Assertion returns the assertion for a token request. It is called once for each, and must
	// return soon after ctx ends.
	Assertion func(ctx context.Context, t GrantTarget) (secret.String, error)
}

func (JWTBearer) grantType() string { return grantJWTBearer }

func (g JWTBearer) params(ctx context.Context, t GrantTarget) (url.Values, error) {
	if g.Assertion == nil {
		return nil, &Error{Kind: ErrInvalidConfig, Server: t.ServerURL, Message: "the grant JWTBearer has no Assertion"}
	}
	assertion, err := g.Assertion(ctx, t)
	if err != nil {
		return nil, &Error{Kind: ErrLoginRequired, Server: t.ServerURL, Message: "there is no assertion to sign in with", Err: err}
	}
	return url.Values{"assertion": {assertion.Reveal()}}, nil
}

// grantFor returns the grant that a credential's tokens are obtained with: the configured one, or
// that of the stored login if it needs nothing but the stored client. Nil is the authorization code
// grant.
func (cfg *configuration) grantFor(rec *record.Record) Grant {
	if cfg.Grant == nil && rec != nil && rec.Grant != nil && rec.Grant.Type == grantClientCredentials {
		return ClientCredentials{}
	}
	return cfg.Grant
}

// unattended reports whether tokens are obtained without a user.
func (cfg *configuration) unattended(rec *record.Record) bool {
	grant := cfg.grantFor(rec)
	return grant != nil && grant != Grant(DeviceCode{})
}

// mayLogin reports whether a request that needs a login may start one.
func (cfg *configuration) mayLogin(rec *record.Record) bool {
	return cfg.LoginPolicy != LoginNever || cfg.unattended(rec)
}

// obtainedAsConfigured reports whether the stored login comes from the configured grant.
func (cfg *configuration) obtainedAsConfigured(rec *record.Record) bool {
	return cfg.Grant == nil || !cfg.unattended(rec) || rec.Grant.Type == cfg.Grant.grantType()
}

// obtain is the attempt of a login without a user: one token request. It may be repeated, since it
// uses up nothing.
func (l *loginFlow) obtain(ctx context.Context, grant Grant) error {
	l.scope = withoutOfflineAccess(l.scope)
	if err := l.clients.choose(ctx); err != nil {
		return err
	}
	params, err := grant.params(ctx, GrantTarget{
		ServerURL: l.serverURL, Issuer: l.plan.server.Issuer, TokenEndpoint: l.plan.server.TokenEndpoint,
		Resource: l.plan.resource.Param(), Scope: l.scope, ClientID: l.clients.client.ID,
	})
	if err != nil {
		return err
	}
	t := l.clients.tokenRequest(oauth.TokenRequest{GrantType: grant.grantType(), Params: params}, sendUntilResponse)
	t.optionalResource, t.scope = l.config.Resource == "", l.scope
	token, at, err := t.run(ctx)
	l.requests += t.sent
	if token != nil && err == nil {
		l.plan.resource = t.resource
		t.form.learn(l.clients.client)
		return l.storeGrant(ctx, t, token, at)
	}
	rejected, ok := errtype.As[*oauth.Error](err)
	switch {
	case ok && rejected.Class() == oauth.ClassClient:
		return l.clients.onUnknown(ctx, rejected)
	case ok && rejected.Class() == oauth.ClassScope:
		return l.reduceScope(rejected)
	case ok && rejected.Class() == oauth.ClassGrant:
		return &Error{Kind: ErrDenied, Server: l.serverURL, Code: rejected.Code, Err: rejected,
			Message: "the authorization server rejected the " + grantName(grant)}
	}
	cause := err
	if err = l.errs.from(err); errors.Is(err, ErrUnreachable) {
		l.remember(ctx, "the failure", func(rec *record.Record) { noteRetry(rec, t.wait, cause) })
	}
	return err
}

// grantName names a grant in a sentence.
func grantName(grant Grant) string {
	if grant.grantType() == grantClientCredentials {
		return "client credentials"
	}
	return "assertion"
}
