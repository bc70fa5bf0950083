package lab

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// Registrations is what dynamic registration requires in addition to metadata, and how registrations are
// managed where [Habits.ManageClients] is set.
type Registrations struct {
	// InitialToken is the initial access token that a registration must have (RFC 7591 section 3).
	// Empty means none.
	InitialToken string `json:"initial_token,omitempty"`
	// Statement requires a software_statement, of an issuer that [Server.TrustIssuer] was called for.
	Statement bool `json:"statement,omitempty"`
	// RotateToken replaces the registration access token with every read and update (RFC 7592
	// section 3).
	RotateToken bool `json:"rotate_token,omitempty"`
	// ReplaceSecret replaces a secret that expires, or has expired, with every update.
	ReplaceSecret bool `json:"replace_secret,omitempty"`
}

// checkPermission returns an error response to a registration without the initial access token or
// the software statement that the habits require.
func (s *Server) checkPermission(x *exchange, statement string) *response {
	var failed response
	required := s.habits.Registrations
	if token, _ := bearer(x.r); required.InitialToken != "" && token != required.InitialToken {
		failed = oauthError(http.StatusUnauthorized, "invalid_token",
			"an initial access token is required")
		failed.header.Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		return &failed
	}
	if !required.Statement {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, why := s.trustedToken(statement)
	_, expires := jwtEnd(t)
	switch {
	case statement == "":
		failed = oauthError(http.StatusBadRequest, "invalid_software_statement",
			"software_statement is required")
	case why == "the issuer is not trusted":
		failed = oauthError(http.StatusBadRequest, "unapproved_software_statement", why)
	case why != "":
		failed = oauthError(http.StatusBadRequest, "invalid_software_statement", why)
	case expires && s.checkTimes(t, 100*365*day) != "":
		failed = oauthError(http.StatusBadRequest, "invalid_software_statement", "it has expired")
	default:
		return nil
	}
	return &failed
}

// jwtEnd is the exp claim, if the token has one.
func jwtEnd(t *jwt) (float64, bool) {
	if t == nil {
		return 0, false
	}
	return t.number("exp")
}

// manage serves the client configuration endpoint (RFC 7592 section 2).
func (s *Server) manage(x *exchange) response {
	token, _ := bearer(x.r)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.managed(x.r.URL.Path, token)
	switch {
	case c == nil:
		return oauthError(http.StatusUnauthorized, "invalid_token",
			"not the registration access token of a client")
	case x.r.Method == http.MethodGet:
	case x.r.Method == http.MethodPut:
		if failed := s.update(x, c); failed != nil {
			return *failed
		}
	case x.r.Method == http.MethodDelete:
		delete(s.state.clients, c.ID)
		return response{status: http.StatusNoContent}
	default:
		return oauthError(http.StatusMethodNotAllowed, "invalid_request", "only GET, PUT and DELETE")
	}
	if s.habits.Registrations.RotateToken {
		c.management = s.secret("management-", "")
	}
	return jsonResponse(http.StatusOK, s.registrationResponse(c))
}

// managed is the client of a registration access token.
func (s *Server) managed(path, token string) *client {
	for _, c := range s.state.clients {
		if c.managementURL != "" && strings.HasSuffix(c.managementURL, path) && token == c.management {
			return c
		}
	}
	return nil
}

// update replaces the metadata of a client (RFC 7592 section 2.2). The caller holds s.mu.
func (s *Server) update(x *exchange, c *client) *response {
	reject := func(why string) *response {
		rejected := oauthError(http.StatusBadRequest, "invalid_client_metadata", why)
		return &rejected
	}
	var members map[string]json.RawMessage
	var request registrationRequest
	var own struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	for _, into := range []any{&members, &request, &own} {
		if json.Unmarshal(x.body, into) != nil {
			return reject("not a JSON object of client metadata")
		}
	}
	for _, name := range []string{
		"registration_access_token", "registration_client_uri",
		"client_secret_expires_at", "client_id_issued_at",
	} {
		if members[name] != nil {
			return reject(name + " must not be in an update")
		}
	}
	switch {
	case own.ID != c.ID:
		return reject("client_id is missing or another client's")
	case members["client_secret"] != nil && own.Secret != c.Secret:
		return reject("client_secret is not the client's")
	}
	if rejected := s.checkRegistration(&request); rejected != nil {
		return rejected
	}
	c.apply(request)
	if c.Secret != "" && !c.secretEnds.IsZero() && s.habits.Registrations.ReplaceSecret {
		s.addSecret(c, s.clock.now())
	}
	return nil
}

// apply makes the metadata of a registration request the client's.
func (c *client) apply(r registrationRequest) {
	c.registered = r
	c.Method = r.Method
	c.RedirectURIs, c.GrantTypes = slices.Clone(r.RedirectURIs), slices.Clone(r.GrantTypes)
	r.describe(&c.ConfiguredClient)
}

// registrationResponse is the response about a client (RFC 7591 section 3.2.1, RFC 7592 section 3).
// The caller holds s.mu.
func (s *Server) registrationResponse(c *client) map[string]any {
	r := c.registered
	document := map[string]any{
		"client_id":           c.ID,
		"client_id_issued_at": c.issuedAt.Unix(),
		"redirect_uris":       r.RedirectURIs,
		"grant_types":         r.GrantTypes,
		"response_types":      []string{"code"},
	}
	if !r.redirects() {
		document["response_types"] = []string{}
	}
	for name, value := range map[string]string{
		"client_name": r.ClientName, "scope": r.Scope, "jwks_uri": r.JWKSURI,
		"tls_client_auth_subject_dn": r.SubjectDN, "software_statement": r.Statement,
	} {
		if value != "" {
			document[name] = value
		}
	}
	if !s.habits.RegisterSilent {
		document["token_endpoint_auth_method"] = r.Method
	}
	if r.JWKS != nil {
		document["jwks"] = r.JWKS
	}
	if r.DPoPBound {
		document["dpop_bound_access_tokens"] = true
	}
	if c.Secret != "" {
		document["client_secret"], document["client_secret_expires_at"] = c.Secret, 0
		if !c.secretEnds.IsZero() {
			document["client_secret_expires_at"] = c.secretEnds.Unix()
		}
	}
	if c.managementURL != "" {
		document["registration_access_token"] = c.management
		document["registration_client_uri"] = c.managementURL
	}
	return document
}
