package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
)

// Values of [ServerMetadata.Form].
const (
	FormRFC8414    = "rfc8414"    // oauth-authorization-server
	FormOIDC       = "oidc"       // openid-configuration
	FormLegacy     = "legacy"     // no document: the default endpoints of MCP 2025-03-26
	FormConfigured = "configured" // no document: endpoints that the user configured
)

// ServerMetadata is an authorization server's metadata (RFC 8414 section 2), as far as it is used.
// Every endpoint has passed [CheckEndpoint]. A nil list means that the document omits it, which
// differs from an empty one.
type ServerMetadata struct {
	// Issuer is the document's own string. The iss parameter is compared with it byte by byte (RFC
	// 9207 section 2.4).
	Issuer string

	AuthorizationEndpoint string
	TokenEndpoint         string
	RegistrationEndpoint  string // "" if there is none
	RevocationEndpoint    string // "" if there is none

	// Endpoints of RFC 9126, RFC 8628, and OpenID Connect Core section 5.3; "" if there is none.
	PushedAuthorizationRequestEndpoint string
	DeviceAuthorizationEndpoint        string
	UserinfoEndpoint                   string
	JWKSURI                            string

	ScopesSupported                   []string
	GrantTypesSupported               []string
	TokenEndpointAuthMethodsSupported []string
	CodeChallengeMethodsSupported     []string

	TokenEndpointAuthSigningAlgValuesSupported []string
	DPoPSigningAlgValuesSupported              []string // RFC 9449 section 5.1

	RequirePushedAuthorizationRequests bool // RFC 9126 section 5

	AuthorizationResponseIssParameterSupported bool // RFC 9207 section 3
	ClientIDMetadataDocumentSupported          bool

	Form string          // FormRFC8414, FormOIDC, FormLegacy or FormStated
	Raw  json.RawMessage // the document as used; nil where there is none

	// CallbackIssuer is the document's issuer where the user configured another Issuer, which Raw has
	// in its place; "" otherwise.
	CallbackIssuer string

	aliases object // mtls_endpoint_aliases
}

// ExpectedIss returns the issuer that the callback's iss parameter must equal.
func (m *ServerMetadata) ExpectedIss() string {
	if m.CallbackIssuer != "" {
		return m.CallbackIssuer
	}
	return m.Issuer
}

const serverSpec = "RFC 8414"

// Well-known paths of authorization server metadata.
const (
	wellKnownOAuth = "/.well-known/oauth-authorization-server"
	wellKnownOIDC  = "/.well-known/openid-configuration"
)

// ServerMetadata finds the metadata of an issuer: at the location of RFC 8414 section 3, and at the
// two of OpenID Connect Discovery, with the issuer's path after the well-known path or before it. A
// later document adds the members that an earlier one lacks, if both name the same issuer.
//
// It returns [ErrNoMetadata] if every location responds that there is none, a [*ProtocolError] if a
// document is that of another issuer or must not be used, and a [*TransientError] if a location may
// respond otherwise later.
func (f *Fetcher) ServerMetadata(ctx context.Context, issuer string) (*ServerMetadata, error) {
	places, err := serverPlaces(issuer)
	if err != nil {
		return nil, err
	}
	return f.findServerMetadata(ctx, places, issuer)
}

// serverPlaces returns where the metadata of an issuer may be.
func serverPlaces(issuer string) ([]string, error) {
	u, err := parseEndpoint("the authorization server", issuer)
	if err != nil {
		return nil, err
	}
	if u.RawQuery != "" || u.ForceQuery {
		return nil, protocolErrorf(serverSpec+" section 2", "the issuer %q has a query",
			Sanitize(issuer))
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	places := []string{origin(u) + wellKnownOAuth + path, origin(u) + wellKnownOIDC + path}
	if path != "" {
		places = append(places, origin(u)+path+wellKnownOIDC)
	}
	return places, nil
}

func formOf(place string) string {
	if strings.Contains(place, wellKnownOIDC) {
		return FormOIDC
	}
	return FormRFC8414
}

// LegacyServerMetadata finds the authorization server of an MCP server without protected resource
// metadata (MCP 2025-03-26, "Server Metadata Discovery"): the one in the metadata at the MCP
// server's origin, or else the default endpoints there. It returns the errors of
// [Fetcher.ServerMetadata] except [ErrNoMetadata].
func (f *Fetcher) LegacyServerMetadata(ctx context.Context,
	serverURL string) (*ServerMetadata, error) {
	server, err := parseURL("the server's URL", withoutFragment(serverURL))
	if err != nil {
		return nil, err
	}
	places := []string{origin(server) + wellKnownOAuth, origin(server) + wellKnownOIDC}
	m, err := f.findServerMetadata(ctx, places, "")
	if errors.Is(err, ErrNoMetadata) {
		return legacyMetadata(serverURL), nil
	}
	if err != nil {
		return nil, err
	}
	if u, err := url.Parse(m.Issuer); err == nil && SameOrigin(u, server) {
		return m, nil
	}
	// An issuer of another origin is only a pointer: clients and tokens are bound to the issuer, so
	// its endpoints must come from its own metadata.
	named, err := f.ServerMetadata(ctx, m.Issuer)
	if errors.Is(err, ErrNoMetadata) {
		return nil, protocolErrorf(serverSpec+" section 3.3",
			"the metadata at %s is that of %q, which has no metadata itself", origin(server), Sanitize(m.Issuer))
	}
	return named, err
}

// legacyMetadata returns the default endpoints of MCP 2025-03-26 ("Fallbacks for Servers without
// Metadata Discovery") at the origin of serverURL, which must pass [CheckEndpoint]. None of it
// comes from the server; the client is assumed to be a public one, as that version prefers.
func legacyMetadata(serverURL string) *ServerMetadata {
	m := &ServerMetadata{Form: FormLegacy, TokenEndpointAuthMethodsSupported: []string{MethodNone}}
	u, err := parseURL("the server's URL", withoutFragment(serverURL))
	if err != nil {
		return m
	}
	m.Issuer = origin(u)
	m.AuthorizationEndpoint = m.Issuer + "/authorize"
	m.TokenEndpoint = m.Issuer + "/token"
	m.RegistrationEndpoint = m.Issuer + "/register"
	return m
}

// ParseServerMetadata parses a metadata document, fetched or stored. Its issuer must be the given
// one, but for one slash at the end; if issuer is "", it is not compared. It returns
// [ErrNoMetadata] if the JSON is no such document, and a [*ProtocolError] if the document must not
// be used.
func ParseServerMetadata(raw []byte, issuer, form string) (*ServerMetadata, error) {
	o, err := readDocument(raw)
	if errors.Is(err, errNoObject) ||
		err == nil && !o.has("issuer") && !o.has("authorization_endpoint") && !o.has("token_endpoint") {
		return nil, ErrNoMetadata
	}
	if err != nil {
		return nil, protocolErrorf(serverSpec+" section 3.2",
			"the authorization server's metadata cannot be read: %v", err)
	}
	if err := checkLinks(raw, serverSpec+" section 2"); err != nil {
		return nil, err
	}
	m := &ServerMetadata{
		Issuer:                            o.text("issuer"),
		ScopesSupported:                   scopeList(o, "scopes_supported"),
		GrantTypesSupported:               o.list("grant_types_supported"),
		TokenEndpointAuthMethodsSupported: o.list("token_endpoint_auth_methods_supported"),
		CodeChallengeMethodsSupported:     o.list("code_challenge_methods_supported"),

		TokenEndpointAuthSigningAlgValuesSupported: o.list("token_endpoint_auth_signing_alg_values_supported"),
		DPoPSigningAlgValuesSupported:              o.list("dpop_signing_alg_values_supported"),
		RequirePushedAuthorizationRequests:         o.flag("require_pushed_authorization_requests"),

		AuthorizationResponseIssParameterSupported: o.flag("authorization_response_iss_parameter_supported"),
		ClientIDMetadataDocumentSupported:          o.flag("client_id_metadata_document_supported"),

		Form: form,
		Raw:  json.RawMessage(raw),
	}
	if err := checkIssuer(m.Issuer, issuer); err != nil {
		return nil, err
	}
	// A server whose grants need no user has no authorization endpoint (RFC 8414 section 2).
	users := m.GrantTypesSupported == nil || slices.Contains(m.GrantTypesSupported, "authorization_code")
	for _, e := range []struct {
		name     string
		required bool
		field    *string
	}{
		{"authorization_endpoint", users, &m.AuthorizationEndpoint},
		{"token_endpoint", true, &m.TokenEndpoint},
		{"registration_endpoint", false, &m.RegistrationEndpoint},
		{"revocation_endpoint", false, &m.RevocationEndpoint},
	} {
		*e.field = o.text(e.name)
		if *e.field == "" {
			if e.required {
				err := protocolErrorf(serverSpec+" section 2", "the metadata of %q has no %s",
					Sanitize(m.Issuer), e.name)
				err.Missing, err.Setting = e.name, SettingServer
				return nil, err
			}
			continue
		}
		if _, err := parseEndpoint("the "+e.name, *e.field); err != nil {
			return nil, err
		}
	}
	m.PushedAuthorizationRequestEndpoint = optionalEndpoint(o, "pushed_authorization_request_endpoint")
	m.DeviceAuthorizationEndpoint = optionalEndpoint(o, "device_authorization_endpoint")
	m.UserinfoEndpoint = optionalEndpoint(o, "userinfo_endpoint")
	m.JWKSURI = optionalEndpoint(o, "jwks_uri")
	if aliases, err := readObject(o.raw("mtls_endpoint_aliases")); err == nil {
		m.aliases = aliases
	}
	return m, nil
}

// optionalEndpoint returns an endpoint that most logins do without: one that must not be used
// counts as absent.
func optionalEndpoint(o object, name string) string {
	endpoint := o.text(name)
	if CheckEndpoint(endpoint) != nil {
		return ""
	}
	return endpoint
}

// ForCertificates returns the metadata for a client that presents a certificate: with the
// endpoints that the server has for such clients (RFC 8705 section 5), but for those that it may
// not name.
func (m *ServerMetadata) ForCertificates(mayName func(endpoint string) bool) *ServerMetadata {
	over := *m
	for name, field := range map[string]*string{
		"token_endpoint": &over.TokenEndpoint, "registration_endpoint": &over.RegistrationEndpoint,
		"revocation_endpoint":                   &over.RevocationEndpoint,
		"pushed_authorization_request_endpoint": &over.PushedAuthorizationRequestEndpoint,
		"device_authorization_endpoint":         &over.DeviceAuthorizationEndpoint,
		"userinfo_endpoint":                     &over.UserinfoEndpoint,
	} {
		if alias := optionalEndpoint(m.aliases, name); alias != "" && mayName(alias) {
			*field = alias
		}
	}
	return &over
}

// checkIssuer compares a document's issuer with the one that it was requested for (RFC 8414 section
// 3.3). One slash at the end makes no difference, because resource metadata and the issuer's own
// disagree on it at several large providers.
func checkIssuer(got, want string) error {
	const spec = serverSpec + " section 3.3"
	if got == "" {
		err := protocolErrorf(spec, "the authorization server's metadata names no issuer")
		err.Missing, err.Setting = "issuer", SettingServer
		return err
	}
	if _, _, found := template(got); found {
		err := protocolErrorf(spec, "the authorization server's metadata names a template as its issuer, %q",
			Sanitize(got))
		err.Setting = SettingServer
		return err
	}
	if _, err := parseEndpoint("the issuer", got); err != nil {
		return err
	}
	if want != "" && !SameButSlash(got, want) {
		err := protocolErrorf(spec, "the metadata of %q names another issuer, %q", Sanitize(want),
			Sanitize(got))
		err.Setting = SettingServer
		return err
	}
	return nil
}

// PKCE returns a [*ProtocolError] unless the server supports PKCE with S256, which the MCP
// specification requires. The default endpoints of MCP 2025-03-26 are assumed to support it, as
// that version requires it, and so are configured endpoints, which have no document.
func (m *ServerMetadata) PKCE() error {
	switch {
	case m.Form == FormLegacy, m.Form == FormConfigured, slices.Contains(m.CodeChallengeMethodsSupported, "S256"):
		return nil
	case m.CodeChallengeMethodsSupported == nil:
		err := protocolErrorf("MCP authorization, code protection",
			"the metadata of the authorization server %q does not list PKCE", Sanitize(m.Issuer))
		err.Missing, err.Setting = "code_challenge_methods_supported", SettingPKCE
		return err
	}
	err := protocolErrorf("RFC 7636 section 4.2", "the authorization server %q does not support PKCE with S256",
		Sanitize(m.Issuer))
	err.Setting = SettingPKCE
	return err
}
