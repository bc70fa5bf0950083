package handstamp

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

// AuthorizationServer describes the authorization server of an MCP server that cannot be found
// by the standards: one whose metadata has another issuer than it was found under (Entra ID for
// several tenants) or none, or one that publishes no metadata at all.
//
// It takes the place of what the MCP server names. Its hosts may be anywhere: the user names
// them.
type AuthorizationServer struct {
	// Issuer is where the metadata is looked for, whatever issuer it states itself, and what
	// clients and logins are bound to. It may be empty where both endpoints are given: then it
	// is the Issuer of Client.Registration, or else the authorization endpoint's origin.
	Issuer string `json:"issuer,omitempty"`

	// AuthorizationEndpoint and TokenEndpoint, if both are given, make metadata unnecessary:
	// none is fetched, and PKCE is taken to be supported. All four win over the metadata's.
	AuthorizationEndpoint string `json:"authorization_endpoint,omitempty"`
	TokenEndpoint         string `json:"token_endpoint,omitempty"`
	RegistrationEndpoint  string `json:"registration_endpoint,omitempty"`
	RevocationEndpoint    string `json:"revocation_endpoint,omitempty"`
}

// urls returns all that are given.
func (a *AuthorizationServer) urls() []string {
	if a == nil {
		return nil
	}
	all := []string{a.Issuer, a.AuthorizationEndpoint, a.TokenEndpoint, a.RegistrationEndpoint, a.RevocationEndpoint}
	return slices.DeleteFunc(all, func(raw string) bool { return raw == "" })
}

// maxIssuers bounds how many of a server's authorization servers are looked at.
const maxIssuers = 8

// findAuthorizationServer returns the metadata of the authorization server to sign in at: the
// one that the user describes, else the one that the configured client belongs to, else one of
// those that the MCP server names, else the MCP server itself (MCP 2025-03-26).
func (d *discovery) findAuthorizationServer(ctx context.Context, rec *record.Record, rm *oauth.ResourceMetadata) (*oauth.ServerMetadata, error) {
	var named []string
	if rm != nil {
		named = rm.AuthorizationServers
	}
	switch issuer := d.config.configuredIssuer(); {
	case d.config.AuthorizationServer != nil:
		return d.checked(ctx)(d.statedServer(ctx))
	case issuer != "":
		return d.checked(ctx)(d.configuredServer(ctx, issuer, named))
	case len(named) > 0:
		return d.selectAuthorizationServer(ctx, rec, named)
	}
	return d.checked(ctx)(d.fetcher.LegacyServerMetadata(ctx, d.server.target))
}

// checked returns a function that adds [discovery.checkEndpoints] to a result.
func (d *discovery) checked(ctx context.Context) func(*oauth.ServerMetadata, error) (*oauth.ServerMetadata, error) {
	return func(m *oauth.ServerMetadata, err error) (*oauth.ServerMetadata, error) {
		if err == nil {
			err = d.checkEndpoints(ctx, m)
		}
		d.found.noteServer(m, err)
		if err != nil {
			return nil, err
		}
		return m, nil
	}
}

// statedServer returns the metadata of the authorization server that the user describes.
func (d *discovery) statedServer(ctx context.Context) (*oauth.ServerMetadata, error) {
	stated := oauth.ConfiguredServer(*d.config.AuthorizationServer)
	issuer := d.config.configuredIssuer()
	usage := func(message string) error {
		return &Error{Kind: ErrInvalidConfig, Server: d.serverURL, Message: message}
	}
	switch {
	case stated.Issuer == "" && (stated.AuthorizationEndpoint == "" || stated.TokenEndpoint == ""):
		return nil, usage("the authorization server is described without an issuer and without both endpoints")
	case stated.Issuer == "":
		stated.Issuer = issuer
	case issuer != "" && !oauth.SameButSlash(stated.Issuer, issuer):
		return nil, usage("the configured client belongs to " + issuer + ", and the authorization server is described as " + stated.Issuer)
	}
	for _, raw := range d.config.AuthorizationServer.urls() {
		if err := oauth.CheckEndpoint(raw); err != nil {
			return nil, &Error{Kind: ErrInvalidConfig, Server: d.serverURL, Err: err,
				Message: "the authorization server is described with a URL that it cannot have"}
		}
	}
	m, err := d.fetcher.ConfiguredServerMetadata(ctx, stated)
	if errors.Is(err, oauth.ErrNoMetadata) {
		return nil, usage("there is no metadata at the issuer " + stated.Issuer + ": describe its endpoints as well")
	}
	return m, err
}

// adviseIssuer adds to the error of a callback what to do where only endpoints describe the
// authorization server: its issuer is a guess then, which the callback may contradict.
func adviseIssuer(err error, as *oauth.ServerMetadata, cfg *configuration) error {
	e, ok := errtype.As[*Error](err)
	if ok && e.Kind == ErrProtocol && e.Hint == "" && as.Form == oauth.FormConfigured &&
		cfg.AuthorizationServer.Issuer == "" && cfg.configuredIssuer() == "" {
		e.Hint = "if the response comes from the right place, describe the authorization server with its issuer, too"
	}
	return err
}

// configuredServer returns the metadata of the issuer that the configured client belongs to.
// The client's secret goes nowhere else, whatever the MCP server names or omits.
func (d *discovery) configuredServer(ctx context.Context, issuer string, named []string) (*oauth.ServerMetadata, error) {
	if len(named) > 0 && !slices.ContainsFunc(named, func(n string) bool { return oauth.SameButSlash(n, issuer) }) {
		return nil, &Error{Kind: ErrInvalidConfig, Server: d.serverURL,
			Message: "the configured client belongs to " + issuer + ", but the server names " +
				oauth.Sanitize(strings.Join(named, ", ")) + " as its authorization server; nothing was sent there",
			Hint: "use a client that is registered there"}
	}
	m, err := d.fetcher.ServerMetadata(ctx, issuer)
	if errors.Is(err, oauth.ErrNoMetadata) && len(named) == 0 {
		// The MCP server may be that issuer itself, without metadata of its own or with one that
		// is at the origin only.
		legacy, legacyErr := d.fetcher.LegacyServerMetadata(ctx, d.server.target)
		if legacyErr == nil && oauth.SameButSlash(legacy.Issuer, issuer) {
			return legacy, nil
		}
	}
	return m, err
}

// selectAuthorizationServer returns the metadata of the first of the issuers that can be used:
// the stored login's first of all. One that is not there, cannot be reached or lacks what is
// needed is passed over; one that contradicts itself is not.
func (d *discovery) selectAuthorizationServer(ctx context.Context, rec *record.Record, issuers []string) (*oauth.ServerMetadata, error) {
	kept := keptIssuer(rec)
	if i := slices.IndexFunc(issuers, func(issuer string) bool { return oauth.SameButSlash(issuer, kept) }); i > 0 {
		issuers = append([]string{issuers[i]}, slices.Delete(slices.Clone(issuers), i, i+1)...)
	}
	var first error
	var closed *oauth.ServerMetadata // usable but for the want of a client
	for _, issuer := range issuers[:min(len(issuers), maxIssuers)] {
		m, err := d.checked(ctx)(d.fetcher.ServerMetadata(ctx, issuer))
		if err == nil {
			err = d.checkCodeGrant(rec, m)
		}
		switch {
		case err == nil && d.hasClient(rec, m):
			return m, nil
		case err == nil:
			if closed == nil {
				closed = m
			}
			continue
		case !d.mayPassOver(err, rec, oauth.SameButSlash(issuer, kept)):
			return nil, err
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	if closed != nil {
		return closed, nil
	}
	return nil, first
}

// keptIssuer returns the issuer of the stored login, or of the last one.
func keptIssuer(rec *record.Record) string {
	switch {
	case rec.Grant != nil && rec.Grant.Issuer != "":
		return rec.Grant.Issuer
	case rec.AuthorizationServer != nil:
		return rec.AuthorizationServer.Issuer
	}
	return ""
}

// mayPassOver reports whether another authorization server may be used in place of one with
// this error. What passes by itself is waited for by those who are bound to that one: a stored
// login, and a configured client, whose secret must not go to whichever server responds first.
func (d *discovery) mayPassOver(err error, rec *record.Record, kept bool) bool {
	if broken, ok := errtype.As[*oauth.ProtocolError](err); ok {
		return broken.Missing != ""
	}
	_, blocked := errtype.As[*oauth.BlockedError](err)
	return blocked || errors.Is(err, oauth.ErrNoMetadata) ||
		d.config.activeRegistration() == nil && !(kept && rec.Grant != nil)
}

// hasClient reports whether there is a way to a client at an authorization server.
func (d *discovery) hasClient(rec *record.Record, m *oauth.ServerMetadata) bool {
	if grant := d.config.grantFor(rec); grant != nil && hasAssertion(grant) {
		return true // which needs none
	}
	return m.RegistrationEndpoint != "" || d.config.activeRegistration() != nil || rec.NewestClient(m.Issuer) != nil ||
		d.config.ClientMetadataURL != "" && m.ClientIDMetadataDocumentSupported
}

// checkCodeGrant returns an error if a login needs a browser and the authorization server does not
// list that grant, or no PKCE. A user who describes the server with its authorization endpoint knows
// which grants it takes.
func (d *discovery) checkCodeGrant(rec *record.Record, m *oauth.ServerMetadata) error {
	described := d.config.AuthorizationServer
	switch {
	case d.config.grantFor(rec) != nil:
		return nil
	case described != nil && described.AuthorizationEndpoint != "":
	case len(m.GrantTypesSupported) > 0 && !slices.Contains(m.GrantTypesSupported, "authorization_code"):
		return d.noCodeGrant(m)
	}
	if d.config.InsecureAllowMissingPKCE {
		return nil
	}
	return m.PKCE()
}

// noCodeGrant returns the error that names the grants which the server takes.
func (d *discovery) noCodeGrant(m *oauth.ServerMetadata) error {
	var grants []string
	for _, t := range m.GrantTypesSupported[:min(8, len(m.GrantTypesSupported))] {
		grants = append(grants, oauth.Sanitize(t))
	}
	e := &Error{Kind: ErrInvalidConfig, Server: d.serverURL, Setting: "Grant",
		Hint:    "this program has none of these",
		Message: oauth.Sanitize(m.Issuer) + " takes no login with a browser, but " + strings.Join(grants, ", ")}
	var options []string
	for _, o := range grantOptions {
		if slices.Contains(m.GrantTypesSupported, o.grantType) {
			options = append(options, o.option)
		}
	}
	if options != nil {
		e.Hint = "set the client's Grant to " + strings.Join(options, " or ")
	}
	return e
}

// grantOptions are the values of Client.Grant for the grant types that a server may list.
var grantOptions = []struct{ grantType, option string }{
	{grantClientCredentials, "ClientCredentials"},
	{grantJWTBearer, "JWTBearer or Enterprise"},
	{grantTokenExchange, "TokenExchange"},
	{"urn:ietf:params:oauth:grant-type:device_code", "DeviceCode"},
}
