package handstamp

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/internal/jose"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

// configuration is a [Client] as the flows see it: its fields, and what follows from them alone.
type configuration Client

// serverTransport is what carries the requests to MCP servers.
func (cfg *configuration) serverTransport() http.RoundTripper {
	if cfg.guarded != nil {
		return cfg.guarded
	}
	return cfg.BaseTransport
}

// authTransport returns what carries a session's requests to authorization servers. It connects
// to the addresses only that reach allows.
func (cfg *configuration) authTransport(reach func(host string) oauth.Reach) http.RoundTripper {
	if cfg.AuthTransport != nil {
		if cfg.UntrustedServers {
			return guardTransport(cfg.AuthTransport, reach)
		}
		return cfg.AuthTransport
	}
	standard := standardTransport(cfg.BaseTransport)
	if cfg.Certificate != nil {
		standard = withCertificate(standard, cfg.Certificate)
	}
	return oauth.Guard(standard, reach) // nil: Guard takes the default one
}

// start counts a piece of work that Close waits for; it reports false once the
// Client is closed. The caller ends it with running.end.
func (cfg *configuration) start() bool {
	cfg.mu.Lock()
	defer cfg.mu.Unlock()
	if cfg.closed {
		return false
	}
	cfg.running.begin()
	return true
}

// configurationFor returns the user's configuration if it is about the stored
// client, at its issuer.
func (cfg *configuration) configurationFor(c *record.Client) *Registration {
	r := cfg.Registration
	if r == nil || r.ClientID != c.ID || r.Issuer != "" && !oauth.SameButSlash(r.Issuer, c.Issuer) {
		return nil
	}
	return r
}

// belongsElsewhere reports whether the user's configuration has the stored client at another
// issuer than the one where it was used. It is used at the configured one only.
func (cfg *configuration) belongsElsewhere(c *record.Client) bool {
	r := cfg.Registration
	return r != nil && r.Issuer != "" && r.ClientID == c.ID && c.Source == record.SourceConfigured &&
		c.Issuer != "" && !oauth.SameButSlash(r.Issuer, c.Issuer)
}

// withConfiguredSecret lays the user's configuration over a stored client.
func (cfg *configuration) withConfiguredSecret(c *record.Client) *record.Client {
	r := cfg.configurationFor(c)
	if r == nil || r.ClientSecret == "" {
		return c
	}
	over := *c
	over.Proven = c.Proven && c.Secret == r.ClientSecret
	over.Secret, over.SecretExpiresAt = r.ClientSecret, r.SecretExpiresAt
	return &over
}

// activeRegistration returns the client that the user configured, unless its secret has
// ended and the application takes the registration that replaces it.
func (cfg *configuration) activeRegistration() *Registration {
	r := cfg.Registration
	if r != nil && cfg.OnRegister != nil && r.ClientSecret != "" && hasPassed(r.SecretExpiresAt, time.Now()) {
		return nil
	}
	return r
}

// configuredIssuer returns the issuer that the configured client belongs to, "" if none is
// configured with it.
func (cfg *configuration) configuredIssuer() string {
	if r := cfg.Registration; r != nil {
		return r.Issuer
	}
	return ""
}

// namedByUser reports whether the user's configuration names a host of an authorization server.
func (cfg *configuration) namedByUser(host string) bool {
	return slices.ContainsFunc(append(cfg.AuthorizationServer.urls(), cfg.configuredIssuer()), func(raw string) bool {
		u, err := url.Parse(raw)
		return err == nil && raw != "" && strings.EqualFold(u.Hostname(), host)
	})
}

// authMethodFor decides how a client authenticates at a server that lists these methods and
// algorithms of assertions. The error names what the client lacks for it.
func (cfg *configuration) authMethodFor(c *record.Client, methods, algorithms []string) (authMethodChoice, error) {
	choice, err := chooseAuthMethod(cfg.authMethodInputs(c, methods))
	switch {
	case err != nil:
	case choice.method == oauth.MethodPrivateKeyJWT:
		_, err = cfg.Key.AlgorithmFor(algorithms)
	case choice.method == oauth.MethodSecretJWT:
		_, err = jose.SecretAlgorithm(algorithms)
	}
	return choice, err
}

// authMethodInputs returns what is stored of the client's method, with the
// user's configuration above it.
func (cfg *configuration) authMethodInputs(c *record.Client, listed []string) authMethodInputs {
	f := authMethodInputs{
		secret: c.Secret != "", key: cfg.Key != nil, cert: cfg.Certificate != nil,
		formID: c.FormID, audience: c.Audience == record.AudienceEndpoint, proven: c.Proven, listed: listed,
	}
	switch c.MethodSource {
	case record.MethodConfigured:
		f.configured = c.Method
	case record.MethodRegistered:
		f.registered = c.Method
	case record.MethodRequested:
		f.requested = c.Method
	case record.MethodLearned:
		f.learned = c.Method
	default:
		f.byDefault = c.Method
	}
	if r := cfg.configurationFor(c); r != nil {
		f.configured = r.TokenEndpointAuthMethod
		if f.configured != "" && f.configured != c.Method {
			f.proven, f.formID = false, false
		}
	}
	return f
}

// resumable reports whether the stored login may still work, and is one as the
// Client is configured now. A login whose last refresh was rejected is not, even
// while its access token is.
func (cfg *configuration) resumable(rec *record.Record, now time.Time) bool {
	if rec.Grant == nil || rec.GrantError != nil {
		return false
	}
	if !cfg.covers(rec) || !cfg.obtainedAsConfigured(rec) {
		return false
	}
	if r := cfg.activeRegistration(); r != nil &&
		(rec.Grant.ClientID != r.ClientID || r.Issuer != "" && !oauth.SameButSlash(rec.Grant.Issuer, r.Issuer)) {
		return false
	}
	if rejectedEarly(rec) && rec.Grant.Usable("", now) {
		return false
	}
	return cfg.refreshable(rec, now)
}

// documentMethod returns the method that the client ID metadata document has.
func documentMethod(key *clientkey.Key) string {
	if key != nil {
		return oauth.MethodPrivateKeyJWT
	}
	return oauth.MethodNone
}

// covers reports whether the stored login was requested for what the Client
// is configured with: its scopes, but for those that the issuer does not take, its
// resource, and tokens that are bound or not.
func (cfg *configuration) covers(rec *record.Record) bool {
	g := rec.Grant
	wanted := oauth.Without(cfg.Scopes, rec.LearnedOf(g.Issuer).OmitScopes)
	if !containsAll(append(strings.Fields(g.ScopeRequested), strings.Fields(g.ScopeGranted)...), wanted) {
		return false
	}
	switch {
	case cfg.DPoP == DPoPAlways && !g.DPoP, cfg.DPoP == DPoPNever && g.DPoP:
		return false
	case cfg.Resource != "":
		return g.Resource.Param() == cfg.Resource
	case cfg.OmitResource:
		return g.Resource.Omit
	}
	return true
}

// loggedIn reports whether the stored login serves, as far as the record shows.
func (cfg *configuration) loggedIn(rec *record.Record, now time.Time) bool {
	return cfg.resumable(rec, now) && statusOf(rec, now).Usable()
}

// namesServer reports whether the user has named the authorization server.
func (cfg *configuration) namesServer() bool {
	return cfg.AuthorizationServer != nil || cfg.configuredIssuer() != ""
}

// grantFor returns the grant that a credential's tokens are obtained with: the configured one, or
// that of the stored login if it needs nothing but what is stored. Nil is the authorization code
// grant.
func (cfg *configuration) grantFor(rec *record.Record) Grant {
	if cfg.Grant == nil && rec != nil && rec.Grant != nil {
		switch g := rec.Grant; {
		case g.Enterprise != "":
			return Enterprise{Issuer: g.Enterprise}
		case g.Type == grantClientCredentials:
			return ClientCredentials{}
		}
	}
	return cfg.Grant
}

// unattended reports whether tokens are obtained without a user.
func (cfg *configuration) unattended(rec *record.Record) bool {
	grant := cfg.grantFor(rec)
	return grant != nil && grant != Grant(DeviceCode{})
}

// mayLogin reports whether a request that needs a login may start one.
func (cfg *configuration) mayLogin(ctx context.Context, rec *record.Record) bool {
	return cfg.mayPrompt(ctx) || cfg.unattended(rec)
}

// mayPrompt reports whether a request may start a login that needs the user.
func (cfg *configuration) mayPrompt(ctx context.Context) bool {
	return cfg.LoginPolicy != LoginNever && ctx.Value(withoutLoginKey{}) == nil
}

// obtainedAsConfigured reports whether the stored login comes from the configured grant.
func (cfg *configuration) obtainedAsConfigured(rec *record.Record) bool {
	if cfg.Grant == nil || !cfg.unattended(rec) {
		return true
	}
	company, _ := cfg.Grant.(Enterprise)
	return rec.Grant.Type == cfg.Grant.grantType() &&
		oauth.SameButSlash(rec.Grant.Enterprise, company.Issuer)
}

// replaceable reports whether the secret of a client has ended and the server may issue a new one.
func (cfg *configuration) replaceable(c *record.Client, g *record.Grant, now time.Time) bool {
	return c != nil && (manageable(c) || isCopy(c, cfg)) && cfg.configurationFor(c) == nil &&
		secretExpired(c, g, now)
}
