package handstamp

import (
	"cmp"
	"net/http"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/jose"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

// What the events of a login are about, by the names of [EventDecision.About].
const (
	aboutServer     = "authorization server"
	aboutClient     = "client"
	aboutAuthMethod = "token endpoint auth method"
	aboutGrant      = "grant"
	aboutResource   = "resource parameter"
	aboutScope      = "scope"
	aboutTokens     = "tokens"
	aboutPKCE       = "PKCE"
	aboutRequest    = "authorization request"
)

// loginBegins reports why a login begins.
func (n *narrator) loginBegins(req loginRequest) {
	why := "a request was rejected"
	switch {
	case req.byUser && req.force:
		why = "the user wants a new one"
	case req.byUser:
		why = "the stored login does not serve"
	case len(req.needed) > 0:
		why = "the request needs the scope " + strings.Join(req.needed, " ")
	case req.signInFor != "":
		why = "the server wants the user to sign in in another way, or again"
	case req.interactive:
		why = "no stored token serves"
	}
	n.report(StepLogin, "a login begins: %s", why)
}

// loginEnds reports how a login ended.
func (n *narrator) loginEnds(rec *record.Record, err error) {
	if err != nil {
		n.fail(StepLogin, err, "the login did not succeed")
		return
	}
	n.detail(StepLogin, "signed in", grantFields(rec.Grant)...)
}

// grantFields describes a grant without its tokens.
func grantFields(g *record.Grant) []EventField {
	expiry := "unknown"
	if !g.ExpiresAt.IsZero() {
		expiry = g.ExpiresAt.UTC().Format(time.RFC3339)
	}
	return []EventField{
		{"issuer", g.Issuer}, {"client_id", g.ClientID}, {"token_type", authScheme(g.TokenType)},
		{"expires_at", expiry}, {"refresh_token", yesOrNo(g.RefreshToken != "")},
		{"scope", g.ScopeGranted},
	}
}

func yesOrNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// challenged reports what the MCP server's response without a token means.
func (n *narrator) challenged(r *serverReply) {
	if r == nil {
		return
	}
	c := r.challenge
	fields := []EventField{
		{"resource_metadata", c.ResourceMetadata}, {"scope", c.Scope}, {"error", c.Error},
		{"acr_values", c.ACRValues}, {"max_age", c.MaxAge},
	}
	switch {
	case c.Found:
		n.detail(StepServer, "the MCP server requires a token", fields...)
	case r.wantsLogin():
		n.report(StepServer, "the MCP server requires a token (%d), and has no challenge", r.status)
	case r.mcp:
		n.report(StepServer, "the MCP server responds without a token (%d)", r.status)
	default:
		n.report(StepServer, "the MCP server's response is no challenge (%d)", r.status)
	}
}

// foundResource reports the resource metadata.
func (n *narrator) foundResource(rm *oauth.ResourceMetadata, err error) {
	switch {
	case err != nil:
		n.fail(StepResourceMetadata, err, "the resource metadata cannot be used")
	case rm == nil:
		n.report(StepResourceMetadata, "the MCP server has no resource metadata")
	default:
		n.detail(StepResourceMetadata, "the MCP server's metadata was found",
			EventField{"resource", rm.Resource},
			EventField{"authorization_servers", strings.Join(rm.AuthorizationServers, " ")},
			EventField{"scopes_supported", strings.Join(rm.ScopesSupported, " ")},
			EventField{"dpop_signing_alg_values_supported", strings.Join(rm.DPoPSigningAlgValuesSupported, " ")})
	}
}

// serverForms are sentences about where an authorization server's description is from.
var serverForms = map[string]string{
	oauth.FormRFC8414:    "the authorization server's metadata was found (RFC 8414)",
	oauth.FormOIDC:       "the authorization server's metadata was found (OpenID Connect Discovery)",
	oauth.FormLegacy:     "there is no metadata; the default endpoints of MCP 2025-03-26 are used",
	oauth.FormConfigured: "the authorization server is described by the configuration",
}

// foundServer reports the metadata of the authorization server.
func (n *narrator) foundServer(m *oauth.ServerMetadata, err error) {
	if err != nil {
		n.fail(StepServerMetadata, err, "no authorization server can be used")
		return
	}
	list := func(values []string) string { return strings.Join(values, " ") }
	n.detail(StepServerMetadata, cmp.Or(serverForms[m.Form], "the authorization server is known"),
		EventField{"issuer", m.Issuer},
		EventField{"authorization_endpoint", m.AuthorizationEndpoint},
		EventField{"token_endpoint", m.TokenEndpoint},
		EventField{"registration_endpoint", m.RegistrationEndpoint},
		EventField{"revocation_endpoint", m.RevocationEndpoint},
		EventField{"pushed_authorization_request_endpoint", m.PushedAuthorizationRequestEndpoint},
		EventField{"device_authorization_endpoint", m.DeviceAuthorizationEndpoint},
		EventField{"token_endpoint_auth_methods_supported", list(m.TokenEndpointAuthMethodsSupported)},
		EventField{"code_challenge_methods_supported", list(m.CodeChallengeMethodsSupported)},
		EventField{"grant_types_supported", list(m.GrantTypesSupported)},
		EventField{"scopes_supported", list(m.ScopesSupported)},
		EventField{"dpop_signing_alg_values_supported", list(m.DPoPSigningAlgValuesSupported)},
		EventField{"authorization_response_iss_parameter_supported",
			yesOrNo(m.AuthorizationResponseIssParameterSupported)},
		EventField{"client_id_metadata_document_supported", yesOrNo(m.ClientIDMetadataDocumentSupported)},
		EventField{"require_pushed_authorization_requests", yesOrNo(m.RequirePushedAuthorizationRequests)})
}

// planned reports the choices of a login's plan.
func (l *loginFlow) planned() {
	n, p := l.events, l.plan
	if !n.listens() {
		return
	}
	if p.stored {
		n.decide(StepLogin, aboutServer, p.server.Issuer,
			"that of the login before: nothing is discovered")
	}
	grant, why := "authorization_code", "a user signs in with a browser"
	if g := l.config.grantFor(l.rec); g != nil {
		grant, why = g.grantType(), "as configured"
		if l.config.Grant == nil {
			why = "that of the stored login"
		}
		if _, ok := g.(Enterprise); ok {
			why += ", with a grant of the company's identity provider"
		}
	}
	n.decide(StepLogin, aboutGrant, grant, why)
	resource := cmp.Or(p.resource.Param(), "omitted")
	n.decide(StepLogin, aboutResource, resource, p.resource.Reason)
	scope := cmp.Or(l.scope, "none")
	n.decide(StepLogin, aboutScope, scope, p.scopeReason)
	tokens := "Bearer"
	if p.proofs {
		tokens = "DPoP"
	}
	n.decide(StepLogin, aboutTokens, tokens, p.proofsReason)
}

// reason returns why a login requests bound tokens, or not.
func (m DPoPMode) reason(resource, challenge bool) string {
	switch {
	case m != DPoPAuto:
		return "as configured"
	case resource:
		return "the resource metadata offers DPoP"
	case challenge:
		return "the MCP server's challenge is for DPoP"
	}
	return "the MCP server offers no DPoP"
}

// clientSources are the reasons for a client.
var clientSources = map[string]string{
	record.SourceConfigured:       "as configured",
	record.SourceMetadataDocument: "a client ID metadata document",
	record.SourceDynamic:          "registered at this server before",
}

// chosen reports the client and how it authenticates.
func (l *loginClients) chosen() {
	reason := cmp.Or(clientSources[l.client.Source], "an assertion needs none")
	if l.justRegistered {
		reason = "registered just now by RFC 7591"
	}
	l.events.decide(StepRegistration, aboutClient, cmp.Or(l.client.ID, "none"), reason)
	l.events.authMethod(l.authMethod, l.plan.server.TokenEndpointAuthMethodsSupported)
}

// authMethod reports how a client authenticates at the token endpoint, and why.
func (n *narrator) authMethod(choice authMethodChoice, listed []string) {
	reason := choice.reason
	switch {
	case choice.source != record.MethodDefault:
	case choice.method == oauth.MethodPrivateKeyJWT:
		reason += ", and a key is at hand"
	case oauth.UsesCertificate(choice.method):
		reason += ", and a client certificate is at hand"
	}
	if len(listed) > 0 {
		reason += "; the server lists " + strings.Join(listed, ", ")
	}
	n.decide(StepAuthMethod, aboutAuthMethod, choice.String(), reason)
}

// String returns the method, and what is unusual about it.
func (f authForm) String() string {
	switch {
	case f.formID:
		return f.method + " with client_id in the form"
	case f.forEndpoint:
		return f.method + " made out for the token endpoint"
	}
	return f.method
}

// authorizes reports the authorization request that the browser opens.
func (l codeLogin) authorizes(rawURL string) {
	n, as := l.events, l.plan.server
	if !n.listens() {
		return
	}
	pkce := "the server lists it"
	switch {
	case l.config.identityProvider:
		pkce = "at an identity provider it is used in any case"
	case as.Form == oauth.FormLegacy:
		pkce = "MCP 2025-03-26 requires it"
	case as.PKCE() != nil:
		pkce = "the server does not list it, which is accepted as configured"
	case as.CodeChallengeMethodsSupported == nil:
		pkce = "there is no document that could list it"
	}
	n.decide(StepAuthorization, aboutPKCE, "S256", pkce)
	n.authorizationURL(rawURL)
}

// pushes reports whether the authorization request is pushed.
func (l codeLogin) pushes() {
	choice, reason := "pushed", "by RFC 9126, which the server offers"
	switch as := l.plan.server; {
	case as.PushedAuthorizationRequestEndpoint == "":
		choice, reason = "in the browser's URL", "the server has no endpoint to push it to"
	case as.RequirePushedAuthorizationRequests:
		reason = "by RFC 9126, which the server requires"
	}
	l.events.decide(StepAuthorization, aboutRequest, choice, reason)
}

// identity begins a request for an identity token. The function that it returns reports it.
func (n *narrator) identity(platform string, req *http.Request) func(*http.Response, error) {
	n.report(StepIdentity, "the token is requested from the identity service of %s", platform)
	return n.sent(purposeIdentity, req, nil)
}

// presents reports the token of another issuer that a grant presents.
func (n *narrator) presents(what, token string) {
	if !n.listens() {
		return
	}
	claims, err := jose.UnverifiedClaims(token)
	if err != nil {
		n.report(StepIdentity, "%s was obtained; it is no JWT", what)
		return
	}
	expiry := ""
	if !claims.Expiry.IsZero() {
		expiry = claims.Expiry.UTC().Format(time.RFC3339)
	}
	n.detail(StepIdentity, what+" was obtained",
		EventField{"audience", strings.Join(claims.Audience, " ")}, EventField{"expires_at", expiry})
}
