package lab

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// register serves dynamic client registration (RFC 7591).
func (s *Server) register(x *exchange) response {
	if x.r.Method != http.MethodPost {
		return oauthError(http.StatusMethodNotAllowed, "invalid_request", "registration is a POST")
	}
	switch s.habits.ClosedRegistration {
	case RegistrationAllowlist:
		return response{
			status: http.StatusForbidden, header: contentType("text/plain; charset=utf-8"), body: []byte("Forbidden"),
		}
	case RegistrationOff:
		return oauthError(http.StatusBadRequest, "dynamic_client_registration_disabled",
			"this environment registers no clients")
	}
	var request registrationRequest
	if err := json.Unmarshal(x.body, &request); err != nil {
		return oauthError(http.StatusBadRequest, "invalid_client_metadata", "not a JSON object")
	}
	if rejected := s.checkRegistration(&request); rejected != nil {
		return *rejected
	}
	return jsonResponse(http.StatusCreated, s.addClient(request))
}

// checkRegistration returns an error response if a registration request is not valid or a rule
// rejects it. It sets the method and the grant types with which the client is registered.
func (s *Server) checkRegistration(r *registrationRequest) *response {
	reject := func(code, description string) *response {
		rejected := oauthError(http.StatusBadRequest, code, description)
		return &rejected
	}
	if len(r.RedirectURIs) == 0 && (len(r.GrantTypes) == 0 || slices.Contains(r.GrantTypes, "authorization_code")) {
		return reject("invalid_redirect_uri", "redirect_uris is empty")
	}
	if slices.ContainsFunc(r.RedirectURIs, func(uri string) bool { return !acceptableRedirect(uri) }) {
		return reject("invalid_redirect_uri", "neither https nor loopback")
	}
	for _, rule := range s.habits.RejectRegistrations {
		if rule.rejects(*r) {
			rejected := rule.response()
			return &rejected
		}
	}
	r.Method = cmp.Or(s.habits.RegisterMethod, r.Method, MethodBasic)
	listed := s.methods()
	if s.habits.OmitMethods {
		listed = []string{MethodBasic, MethodPost, MethodNone}
	}
	if s.habits.RegisterMethod == "" && !slices.Contains(listed, r.Method) {
		return reject("invalid_client_metadata", "token_endpoint_auth_method is not supported")
	}
	if r.Method == MethodPrivateKeyJWT && r.JWKS == nil && r.JWKSURI == "" {
		return reject("invalid_client_metadata", "private_key_jwt needs jwks or jwks_uri")
	}
	if len(r.GrantTypes) == 0 {
		r.GrantTypes = []string{"authorization_code"}
	}
	return nil
}

// addClient registers a client and returns the registration response (RFC 7591 section 3.2.1).
func (s *Server) addClient(r registrationRequest) map[string]any {
	now := s.clock.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &client{dynamic: true}
	c.ID = newID("client-") + s.habits.SecretAlphabet
	c.Method, c.RedirectURIs, c.GrantTypes = r.Method, r.RedirectURIs, r.GrantTypes
	r.describe(&c.ConfiguredClient)
	document := map[string]any{
		"client_id":           c.ID,
		"client_id_issued_at": now.Unix(),
		"redirect_uris":       r.RedirectURIs,
		"grant_types":         r.GrantTypes,
		"response_types":      []string{"code"},
	}
	for name, value := range map[string]string{"client_name": r.ClientName, "scope": r.Scope} {
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
	if r.JWKSURI != "" {
		document["jwks_uri"] = r.JWKSURI
	}
	withSecret := slices.Contains([]string{MethodBasic, MethodPost, MethodSecretJWT}, r.Method)
	if s.habits.RegisterSecret != nil {
		withSecret = *s.habits.RegisterSecret
	}
	if withSecret {
		s.addSecret(c, now, document)
	}
	if s.habits.ManageClients {
		c.management = s.secret("management-", "")
		c.managementURL = s.endpointURL("/register/") + newID("")
		document["registration_access_token"] = c.management
		document["registration_client_uri"] = c.managementURL
	}
	s.state.clients[c.ID] = c
	return document
}

// addSecret issues the secret of a new client. The caller holds s.mu.
func (s *Server) addSecret(c *client, now time.Time, document map[string]any) {
	c.Secret = s.secret("secret-", s.habits.SecretAlphabet)
	document["client_secret"] = c.Secret
	document["client_secret_expires_at"] = 0
	if life := cmp.Or(s.state.secretLife, s.habits.SecretLifetime); life != 0 {
		c.secretEnds = now.Add(life).Truncate(time.Second) // the response has whole seconds
		document["client_secret_expires_at"] = c.secretEnds.Unix()
	}
}

// manage serves the deletion of a registration (RFC 7592 section 2.3).
func (s *Server) manage(x *exchange) response {
	if x.r.Method != http.MethodDelete {
		return oauthError(http.StatusMethodNotAllowed, "invalid_request",
			"only DELETE is supported")
	}
	token, _ := bearer(x.r)
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, c := range s.state.clients {
		if c.managementURL != "" && strings.HasSuffix(c.managementURL, x.r.URL.Path) &&
			token == c.management {
			delete(s.state.clients, id)
			return response{status: http.StatusNoContent}
		}
	}
	return oauthError(http.StatusUnauthorized, "invalid_token",
		"not the registration access token of a client")
}
