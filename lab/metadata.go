package lab

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// headerOnlyPath is where ResourceHeader keeps the resource's metadata.
const headerOnlyPath = "/about/resource.json"

const (
	resourceWellKnown = "/.well-known/oauth-protected-resource"
	serverWellKnown   = "/.well-known/oauth-authorization-server"
	openIDWellKnown   = "/.well-known/openid-configuration"
)

// resourceMetadataPath is where the resource's metadata is (RFC 9728 section
// 3.1), or empty.
func (s *Server) resourceMetadataPath() string {
	switch s.habits.ResourceForm {
	case ResourceNone:
		return ""
	case ResourceRoot:
		return resourceWellKnown
	case ResourceHeader:
		return headerOnlyPath
	default:
		return resourceWellKnown + s.mcpPath()
	}
}

// resourceMetadata serves RFC 9728.
func (s *Server) resourceMetadata(x *exchange) response {
	if path := s.resourceMetadataPath(); path == "" || x.r.URL.Path != path {
		return notFound(x)
	}
	document := map[string]any{
		"resource":                 s.ResourceURL(),
		"authorization_servers":    s.listedIssuers(),
		"bearer_methods_supported": []string{"header"},
	}
	switch s.habits.DPoP.Resource {
	case DPoPRequired:
		document["dpop_bound_access_tokens_required"] = true
		fallthrough
	case DPoPOffered:
		document["dpop_signing_alg_values_supported"] = s.habits.DPoP.algorithms()
	}
	if s.habits.MTLS.BoundTokens {
		document["tls_client_certificate_bound_access_tokens"] = true
	}
	// offline_access is the authorization server's business (MCP's SEP-2207).
	if scopes := s.habits.ScopesSupported; scopes != nil {
		document["scopes_supported"] = scopes
	}
	return jsonResponse(http.StatusOK, document)
}

// listedIssuers are the authorization servers as the resource names them.
func (s *Server) listedIssuers() []string {
	s.mu.Lock()
	moved := s.movedTo
	s.mu.Unlock()
	var before []string
	if moved != nil {
		s = moved
	} else {
		for _, issuer := range s.habits.ListedBefore {
			before = append(before, strings.ReplaceAll(issuer, "ORIGIN", s.origin))
		}
	}
	issuer := s.origin + s.habits.IssuerPath
	if s.habits.IssuerSlash == SlashResource || s.habits.IssuerSlash == SlashBoth {
		issuer += "/"
	}
	return append(before, issuer)
}

// MoveTo makes other the authorization server of this MCP server: the metadata
// names it, and only its access tokens work. Nil undoes it.
func (s *Server) MoveTo(other *Server) {
	if other != nil {
		resource := s.ResourceURL()
		other.serves.Store(&resource)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.movedTo = other
}

// serverMetadataPath is where the server's metadata is (RFC 8414 section 3.1;
// OpenID Connect Discovery 1.0 section 4), or empty.
func (s *Server) serverMetadataPath() string {
	switch s.habits.ServerForm {
	case ServerNone:
		return ""
	case ServerOIDCInsert:
		return openIDWellKnown + s.habits.IssuerPath
	case ServerOIDCAppend:
		return s.habits.IssuerPath + openIDWellKnown
	default:
		return serverWellKnown + s.habits.IssuerPath
	}
}

// serverMetadata serves RFC 8414.
func (s *Server) serverMetadata(x *exchange) response {
	second := s.habits.SplitMetadata && x.r.URL.Path == openIDWellKnown+s.habits.IssuerPath
	openID := s.habits.OpenID && x.r.URL.Path == s.habits.IssuerPath+openIDWellKnown
	if path := s.serverMetadataPath(); !second && !openID && (path == "" || x.r.URL.Path != path) {
		return notFound(x)
	}
	h := s.habits
	document := map[string]any{
		"issuer":                   s.Issuer(),
		"authorization_endpoint":   s.endpointURL("/authorize"),
		"token_endpoint":           s.endpointURL("/token"),
		"revocation_endpoint":      s.endpointURL("/revoke"),
		"response_types_supported": []string{"code"},
		"grant_types_supported":    s.grantTypes(),
	}
	s.describeClients(document)
	s.describeGrants(document)
	s.describeOpenID(document)
	if !h.OmitPKCE {
		document["code_challenge_methods_supported"] = []string{"S256"}
	}
	if scopes := s.scopesSupported(); scopes != nil {
		document["scopes_supported"] = scopes
	}
	switch h.Iss {
	case "", IssOn, IssWrong, IssMissing:
		document["authorization_response_iss_parameter_supported"] = true
	}
	if h.SplitMetadata && !second {
		delete(document, "registration_endpoint")
		delete(document, "code_challenge_methods_supported")
	}
	if h.MTLS.Aliases {
		document["mtls_endpoint_aliases"] = s.mtlsAliases(document)
	}
	for name, value := range h.Endpoints {
		document[name] = strings.ReplaceAll(value, "ORIGIN", s.origin)
	}
	return jsonResponse(http.StatusOK, document)
}

// describeClients adds to the metadata how clients are known and authenticate.
func (s *Server) describeClients(document map[string]any) {
	h := s.habits
	if !h.NoRegistration {
		document["registration_endpoint"] = s.endpointURL("/register")
	}
	if h.ClientIDMetadata {
		document["client_id_metadata_document_supported"] = true
	}
	if !h.OmitMethods {
		document["token_endpoint_auth_methods_supported"] = s.methods()
	}
	if algorithms := s.assertionMetadata(); algorithms != nil {
		document["token_endpoint_auth_signing_alg_values_supported"] = algorithms
	}
	if h.DPoP.Supported {
		document["dpop_signing_alg_values_supported"] = h.DPoP.algorithms()
	}
	if h.MTLS.BoundTokens {
		document["tls_client_certificate_bound_access_tokens"] = true
	}
}

// describeGrants adds to the metadata what grants beside the code, and authorization requests, can
// have.
func (s *Server) describeGrants(document map[string]any) {
	h := s.habits
	if h.PAR != "" {
		document["pushed_authorization_request_endpoint"] = s.endpointURL("/par")
		document["require_pushed_authorization_requests"] = h.PAR == PARRequired
	}
	if s.grants(GrantDeviceCode) {
		document["device_authorization_endpoint"] = s.endpointURL("/device_authorization")
	}
	if h.DetailTypes != nil {
		document["authorization_details_types_supported"] = h.DetailTypes
	}
	if h.StepUp.ACR != nil {
		document["acr_values_supported"] = h.StepUp.ACR
	}
	if s.grants(GrantJWTBearer) {
		document["authorization_grant_profiles_supported"] = []string{profileIDJAG}
	}
	if s.grants(GrantTokenExchange) {
		document["identity_chaining_requested_token_types_supported"] = []string{tokenTypeIDJAG}
	}
}

// describeOpenID adds to the metadata what OpenID Connect Discovery 1.0 section 3 has.
func (s *Server) describeOpenID(document map[string]any) {
	h := s.habits
	if s.signs() {
		document["jwks_uri"] = s.endpointURL("/jwks")
	}
	if h.OpenID {
		document["userinfo_endpoint"] = s.endpointURL("/userinfo")
	}
	if h.OpenID || h.ServerForm == ServerOIDCInsert || h.ServerForm == ServerOIDCAppend {
		document["subject_types_supported"] = []string{"public"}
		document["id_token_signing_alg_values_supported"] = []string{AlgRS256}
	}
}

// methods is token_endpoint_auth_methods_supported.
func (s *Server) methods() []string {
	if len(s.habits.Methods) == 0 {
		return []string{MethodNone, MethodPost, MethodBasic}
	}
	return s.habits.Methods
}

// scopesSupported is what the authorization server lists; nil means nothing.
func (s *Server) scopesSupported() []string {
	scopes := slices.Clone(s.habits.ScopesSupported)
	listed := []string{OfflineListed, OfflineConsent, OfflineForbidden, OfflineNotAllowed}
	if slices.Contains(listed, s.habits.Offline) && !slices.Contains(scopes, scopeOffline) {
		scopes = append(scopes, scopeOffline)
	}
	return scopes
}

// challenges are the WWW-Authenticate headers of the MCP server: for each scheme that it takes, the
// error for the one that the request used.
func (s *Server) challenges(x *exchange, code, scope string) []string {
	dpop := s.readCredential(x.r).dpop
	bearerCode, dpopCode := code, ""
	if dpop {
		bearerCode, dpopCode = "", code
	}
	algs := [2]string{"algs", strings.Join(s.habits.DPoP.algorithms(), " ")}
	switch resource := s.habits.DPoP.Resource; {
	case resource == "" || resource == DPoPSilent && !dpop:
		return []string{s.challenge("Bearer", code, scope)}
	case resource == DPoPOffered:
		return []string{
			s.challenge("Bearer", bearerCode, scope), s.challenge("DPoP", dpopCode, scope, algs),
		}
	default:
		return []string{s.challenge("DPoP", code, scope, algs)}
	}
}

// challenge is a WWW-Authenticate header of the MCP server (RFC 6750 section 3, RFC 9449 section
// 7.1, RFC 9728 section 5.1).
func (s *Server) challenge(scheme, code, scope string, more ...[2]string) string {
	var params []string
	add := func(name, value string) {
		if value != "" {
			params = append(params, name+`="`+value+`"`)
		}
	}
	add("error", code)
	add("scope", scope)
	for _, param := range more {
		add(param[0], param[1])
	}
	switch {
	case s.habits.ChallengeMetadata != "":
		add("resource_metadata", s.habits.ChallengeMetadata)
	case s.habits.ResourceForm == "", s.habits.ResourceForm == ResourceHeader:
		add("resource_metadata", s.mcpOrigin+s.resourceMetadataPath())
	}
	if len(params) == 0 {
		return scheme
	}
	return scheme + " " + strings.Join(params, ", ")
}

// isMetadataURL reports whether a client_id is the URL of a client ID metadata
// document.
func isMetadataURL(id string) bool {
	u, err := url.Parse(id)
	return err == nil && u.Host != "" && u.Path != "" && u.Path != "/" &&
		(u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()))
}
