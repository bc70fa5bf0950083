package handstamp

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/jose"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
)

// Enterprise obtains tokens through the user's login at a company's identity provider
// (Enterprise-Managed Authorization of MCP): the provider exchanges its id token for a grant to one
// MCP server's authorization server (an ID-JAG, by RFC 8693), and that one exchanges the grant for
// an access token (RFC 7523). The company decides who may use which server; users see no consent page.
//
// The login at the provider is a credential of its own in the [Client.Store], under the issuer's URL
// and the Client's Profile, so that one login serves every MCP server. It needs the user: the
// Client's LoginPolicy, Prompt, RedirectURI, CallbackPort and ExtraAuthParams are for it. Everything
// after it needs none, until the provider ends the login. Later sessions find the issuer and the
// clients in the store and need no Grant.
//
// [Client.Registration] is the client at the MCP server's authorization server, where the company
// has registered it too.
type Enterprise struct {
	Issuer string // of the company's identity provider

	// The client at the provider: with a secret, a key, or neither. Empty is the stored one.
	ClientID     string
	ClientSecret secret.String
	Key          *clientkey.Key

	// IDToken returns the provider's id token, where the application has signed the user in
	// itself. Nil: the Client signs the user in.
	IDToken AssertionSource

	Scopes []string // of the login at the provider, in addition to openid and offline_access

	// Device has the user sign in at the provider on another device, as with [DeviceCode].
	Device bool
}

// tokenTypeIDJAG is the type of an identity assertion JWT authorization grant
// (draft-ietf-oauth-identity-assertion-authz-grant, section 4.3).
const tokenTypeIDJAG = "urn:ietf:params:oauth:token-type:id-jag"

func (Enterprise) grantType() string { return grantJWTBearer }

func (e Enterprise) params(ctx context.Context, l *loginFlow, t GrantTarget) (url.Values, error) {
	provider, err := l.config.provider(e).session(e.Issuer)
	if err != nil {
		return nil, err
	}
	l.identity.enterprise = e.Issuer
	c := &company{
		credential: &provider.credential, refresher: provider.refresher, logins: provider.logins,
		grant: e, login: l, target: t,
	}
	grant, err := c.obtainGrant(ctx)
	if err != nil {
		return nil, err
	}
	return url.Values{"assertion": {grant}}, nil
}

// provider returns the Client that signs in at a company's identity provider.
func (cfg *configuration) provider(e Enterprise) *Client {
	cfg.mu.Lock()
	defer cfg.mu.Unlock()
	if c := cfg.providers[e.Issuer]; c != nil {
		return c
	}
	c := &Client{
		Store: cfg.Store, Profile: cfg.Profile, LockTimeout: cfg.LockTimeout,
		LoginPolicy: cfg.LoginPolicy, LoginTimeout: cfg.LoginTimeout, Prompt: cfg.Prompt,
		RedirectURI: cfg.RedirectURI, CallbackPort: cfg.CallbackPort,
		BaseTransport: cfg.BaseTransport, AuthTransport: cfg.AuthTransport,
		InsecureAllowHTTP:             cfg.InsecureAllowHTTP,
		InsecureAllowPrivateAddresses: cfg.InsecureAllowPrivateAddresses,
		UntrustedServers:              cfg.UntrustedServers,
		Logger:                        cfg.Logger, Hooks: cfg.Hooks, Audit: cfg.Audit,
		Key: e.Key, Scopes: e.Scopes, ExtraAuthParams: cfg.ExtraAuthParams,
		OmitResource: true, identityProvider: true, closed: cfg.closed,
	}
	if e.Device {
		c.Grant = DeviceCode{}
	}
	if e.Key == nil { // which a helper cannot have
		c.RefreshHelper = cfg.RefreshHelper
	}
	if e.ClientID != "" {
		c.Registration = &Registration{
			Issuer: e.Issuer, ClientID: e.ClientID, ClientSecret: e.ClientSecret,
		}
	}
	if cfg.providers == nil {
		cfg.providers = make(map[string]*Client)
	}
	cfg.providers[e.Issuer] = c
	return c
}

// company is the credential at a company's identity provider, for one login at an MCP server.
type company struct {
	*credential
	refresher *refresher
	logins    *logins
	grant     Enterprise
	login     *loginFlow
	target    GrantTarget

	rejected  []secret.String // subject tokens that the provider no longer takes
	refreshed bool            // the login at the provider was refreshed
	signedIn  bool            // the user has signed in at the provider
}

// subjectToken shows the provider who the user is.
type subjectToken struct {
	token     secret.String
	tokenType string
}

// obtainGrant returns a grant to the MCP server's authorization server. It is used once.
func (c *company) obtainGrant(ctx context.Context) (string, error) {
	for {
		subject, err := c.subject(ctx)
		if err != nil {
			return "", c.loginError(err)
		}
		grant, stale, err := c.exchange(ctx, subject)
		if err == nil {
			c.login.identity.employee, err = c.account(ctx, subject)
			return grant, err
		}
		if !stale || c.grant.IDToken != nil || c.signedIn {
			return "", c.exchangeError(err, stale)
		}
		c.rejected = append(c.rejected, subject.token)
	}
}

// account returns the name of the account at the provider.
func (c *company) account(ctx context.Context, s subjectToken) (string, error) {
	claims, err := jose.UnverifiedClaims(s.token.Reveal())
	if err == nil && s.tokenType == TokenTypeIDToken {
		return accountName(claims.Email, claims.PreferredUsername, claims.Name, claims.Subject), nil
	}
	rec, err := c.records.load(ctx)
	if err != nil {
		return "", err
	}
	return rec.Account, nil
}

// blamesSubject reports whether an exchange was rejected for its subject token, and not by a rule of
// the company: for invalid_request (RFC 8693, section 2.2.2) where it names that token, or the token
// has expired by the server's clock.
func blamesSubject(rejected *oauth.Error, s subjectToken, clock time.Duration) bool {
	if rejected.Code != "invalid_request" {
		return rejected.Class() == oauth.ClassGrant && rejected.Code != "access_denied"
	}
	claims, err := jose.UnverifiedClaims(s.token.Reveal())
	return strings.Contains(strings.ToLower(rejected.Description), "subject") ||
		err == nil && !claims.Expiry.IsZero() && time.Now().Add(clock).After(claims.Expiry)
}

// subject returns the token to exchange: the id token, one from a refresh, the refresh token of a
// provider that issues no id token with a refresh, or the id token of a new login.
func (c *company) subject(ctx context.Context) (subjectToken, error) {
	if c.grant.IDToken != nil {
		token, err := c.target.assertion(ctx, c.grant.IDToken)
		return subjectToken{secret.String(token), TokenTypeIDToken}, err
	}
	rec, err := c.records.load(ctx)
	if err != nil {
		return subjectToken{}, err
	}
	if s := c.stored(rec); s.tokenType == TokenTypeIDToken {
		c.events.report(StepIdentity, "the stored id token shows who the user is")
		return s, nil
	}
	if rec.Grant != nil && rec.Grant.RefreshToken != "" && !c.refreshed {
		c.refreshed = true
		c.events.report(StepIdentity, "no stored id token serves; the login at the identity provider is refreshed")
		need := tokenNeed{force: rec.Grant.AccessToken, user: c.login.byUser}
		if _, err := c.refresher.refresh(ctx, need); err != nil {
			return subjectToken{}, err
		}
		if rec, err = c.records.load(ctx); err != nil {
			return subjectToken{}, err
		}
		if s := c.stored(rec); s.token != "" {
			return s, nil
		}
	}
	return c.signIn(ctx, rec)
}

// idTokenMargin is how long an id token has to be valid to be exchanged. One that lives less than
// twice that has to have half of its life before it.
const idTokenMargin = 30 * time.Second

// exchangeable reports whether an id token will be valid when the provider reads it.
func exchangeable(claims jose.Claims, now time.Time) bool {
	margin := idTokenMargin
	if life := claims.Expiry.Sub(claims.IssuedAt); !claims.IssuedAt.IsZero() {
		margin = min(margin, life/2)
	}
	return claims.Expiry.IsZero() || now.Add(margin).Before(claims.Expiry)
}

// stored returns what the login at the provider has to exchange: the id token unless it has expired,
// else the refresh token; nothing that was rejected.
func (c *company) stored(rec *record.Record) subjectToken {
	g := rec.Grant
	if g == nil || rec.GrantError != nil {
		return subjectToken{}
	}
	claims, err := jose.UnverifiedClaims(g.IDToken.Reveal())
	fresh := err == nil && exchangeable(claims, time.Now())
	switch {
	case fresh && !slices.Contains(c.rejected, g.IDToken):
		return subjectToken{g.IDToken, TokenTypeIDToken}
	case g.RefreshToken != "" && !slices.Contains(c.rejected, g.RefreshToken):
		return subjectToken{g.RefreshToken, TokenTypeRefreshToken}
	}
	return subjectToken{}
}

// signIn signs the user in at the provider.
func (c *company) signIn(ctx context.Context, rec *record.Record) (subjectToken, error) {
	if err := c.requireClient(rec); err != nil {
		return subjectToken{}, err
	}
	if !c.config.mayPrompt(ctx) && !c.login.byUser {
		return subjectToken{}, c.errs.loginRequired(rec)
	}
	req := loginRequest{interactive: c.login.interactive, byUser: c.login.byUser}
	if rec.Grant != nil {
		req.rejectedToken = rec.Grant.AccessToken
	}
	if _, err := c.logins.login(ctx, req); err != nil {
		return subjectToken{}, err
	}
	rec, err := c.records.load(ctx)
	if err != nil {
		return subjectToken{}, err
	}
	c.signedIn = true
	s := c.stored(rec)
	if s.token == "" {
		return s, &Error{Kind: ErrProtocol, Server: c.serverURL,
			Message: "the identity provider issued no id token that is valid"}
	}
	return s, nil
}

// requireClient returns an error if there is no client for the provider.
func (c *company) requireClient(rec *record.Record) error {
	if c.config.Registration != nil || len(rec.Clients) > 0 {
		return nil
	}
	e := &Error{Kind: ErrLoginRequired, Server: c.serverURL,
		Message: "no client is stored for the identity provider",
		Hint:    "sign in with the client ID that the company has given this program"}
	if c.login.config.Grant != nil {
		e.Kind = ErrInvalidConfig
	}
	return e
}

// client returns the client at the provider, with the provider's metadata.
func (c *company) client(ctx context.Context) (*loginClients, error) {
	rec, err := c.records.load(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.requireClient(rec); err != nil {
		return nil, err
	}
	plan := &loginPlan{server: storedMetadata(rec)}
	if plan.server == nil {
		if plan, err = c.logins.discovery.discoverProvider(ctx); err != nil {
			return nil, err
		}
	}
	clients := newLoginFlow(&loginState{credential: c.credential, rec: rec, plan: plan}, false).clients
	c.events.report(StepIdentity, "the login here is exchanged for a grant to %s (ID-JAG)", c.target.Issuer)
	return clients, clients.choose(ctx)
}

// exchange exchanges a subject token for the grant (RFC 8693, section 2), and reports of an error
// whether the provider no longer takes that token.
func (c *company) exchange(
	ctx context.Context, s subjectToken,
) (grant string, stale bool, err error) {
	clients, err := c.client(ctx)
	if err != nil {
		return "", false, err
	}
	t := clients.tokenRequest(oauth.TokenRequest{GrantType: grantTokenExchange, Params: url.Values{
		"subject_token": {s.token.Reveal()}, "subject_token_type": {s.tokenType},
		"requested_token_type": {tokenTypeIDJAG}, "audience": {c.target.Issuer},
	}}, sendUntilResponse)
	t.resource, t.scope = record.Resource{Value: c.target.Resource}, c.target.Scope
	t.final = func(rejected *oauth.Error) bool { return blamesSubject(rejected, s, t.clock) }
	token, _, err := t.run(ctx)
	rejected, ok := errtype.As[*oauth.Error](err)
	switch {
	case token == nil || token.AccessToken == "":
		return "", ok && blamesSubject(rejected, s, t.clock), err
	case token.IssuedTokenType != tokenTypeIDJAG:
		return "", false, &oauth.ProtocolError{Spec: "RFC 8693 section 2.2.1",
			Message: "the identity provider issued another type of token than was requested"}
	}
	grant = token.AccessToken.Reveal()
	return grant, false, c.forTarget(grant)
}

// forTarget returns an error if a grant is made out for another authorization server than the one
// that only the MCP server names: that one could use it elsewhere. What is not a JWT is left to the
// server.
func (c *company) forTarget(grant string) error {
	claims, err := jose.UnverifiedClaims(grant)
	if err != nil || c.login.config.namesServer() || c.target.in(claims.Audience) {
		return nil
	}
	return &oauth.ProtocolError{Spec: "draft-ietf-oauth-identity-assertion-authz-grant section 4.3",
		Message: "the identity provider issued a grant for " + audienceText(claims)}
}

// loginError returns the error of the first step, the login at the provider.
func (c *company) loginError(err error) error {
	provider := oauth.Sanitize(c.grant.Issuer)
	message := "the login at the company's identity provider " + provider + " did not succeed"
	if errors.Is(err, ErrLoginRequired) {
		message = "a login at the company's identity provider " + provider + " is required"
	}
	return c.stepError(message, c.errs.from(err))
}

// exchangeError returns the error of the second step, the exchange at the provider. A scope that the
// company does not allow is left out, as at other servers.
func (c *company) exchangeError(err error, stale bool) error {
	message := "the company's identity provider " + oauth.Sanitize(c.grant.Issuer) +
		" issued no grant for " + oauth.Sanitize(c.target.Issuer)
	rejected, ok := errtype.As[*oauth.Error](err)
	if !ok || rejected.Class() == oauth.ClassTransient {
		return c.stepError(message, c.errs.from(err))
	}
	e := &Error{
		Kind: ErrDenied, Server: c.target.ServerURL, Message: message, Code: rejected.Code, Err: rejected,
		Hint: "the company decides who may use this server: its administrator can allow it",
	}
	switch {
	case rejected.Class() == oauth.ClassScope && c.target.Scope != "":
		return c.login.reduceScope(rejected)
	case rejected.Class() == oauth.ClassClient:
		e.Kind = ErrClientRejected
		e.Hint = "check the client at the provider, and that it may exchange tokens"
	case rejected.Code == "unsupported_grant_type":
		e.Kind, e.Hint = ErrProtocol, "the provider has to support token exchange for ID-JAGs"
	case stale && c.grant.IDToken != nil:
		e.Hint = "have a new id token issued, for the client at the provider"
	case stale:
		e.Hint = "sign in again"
	}
	return e
}

// stepError returns the error of a step as that of the login at the MCP server.
func (c *company) stepError(message string, err error) error {
	inner, ok := errtype.As[*Error](err)
	if !ok {
		return err
	}
	cause := *inner
	cause.Hint = ""
	hint := inner.Hint
	if inner.Kind == ErrLoginRequired && c.login.config.Grant != nil {
		hint = "sign in to " + addressOf(c.target.ServerURL)
	}
	return &Error{
		Kind: inner.Kind, Server: c.target.ServerURL, Message: message, Hint: hint,
		Setting: inner.Setting, Code: inner.Code, RetryAt: inner.RetryAt, Err: &cause, opened: inner.opened,
	}
}

// discoverProvider returns the plan of a login at an identity provider: there is no MCP server to
// look at and no resource, and PKCE is used whether it is listed or not, beside the nonce of OpenID
// Connect.
func (d *discovery) discoverProvider(ctx context.Context) (*loginPlan, error) {
	m, err := d.checked(ctx)(d.fetcher.ServerMetadata(ctx, d.serverURL))
	d.events.foundServer(m, err)
	if err != nil {
		return nil, d.errs.from(err)
	}
	scopes := append([]string{"openid"}, d.config.Scopes...)
	if slices.Contains(m.ScopesSupported, oauth.OfflineAccess) {
		scopes = append(oauth.Without(scopes, []string{oauth.OfflineAccess}), oauth.OfflineAccess)
	}
	p := &loginPlan{server: m, scopes: scopes, fallback: []string{"openid"}}
	p.scopeReason, p.proofsReason = "OpenID Connect", "an identity provider"
	p.resource = record.Resource{Omit: true, Reason: "an identity provider"}
	return p, nil
}
