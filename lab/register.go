package lab

import (
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
		return response{status: http.StatusForbidden, header: contentType("text/plain; charset=utf-8"), body: []byte("Forbidden")}
	case RegistrationOff:
		return oauthError(http.StatusBadRequest, "dynamic_client_registration_disabled", "this environment registers no clients")
	}
	var asked registrationRequest
	if err := json.Unmarshal(x.body, &asked); err != nil {
		return oauthError(http.StatusBadRequest, "invalid_client_metadata", "not a JSON object")
	}
	if len(asked.RedirectURIs) == 0 {
		return oauthError(http.StatusBadRequest, "invalid_redirect_uri", "redirect_uris is empty")
	}
	for _, uri := range asked.RedirectURIs {
		if !acceptableRedirect(uri) {
			return oauthError(http.StatusBadRequest, "invalid_redirect_uri", "neither https nor loopback")
		}
	}
	for _, rule := range s.habits.RejectRegistrations {
		if rule.rejects(asked) {
			return rule.response()
		}
	}
	method := s.habits.RegisterMethod
	if method == "" {
		method = asked.Method
		if method == "" {
			method = MethodBasic
		}
		listed := s.methods()
		if s.habits.OmitMethods {
			listed = []string{MethodBasic, MethodPost, MethodNone}
		}
		if !slices.Contains(listed, method) {
			return oauthError(http.StatusBadRequest, "invalid_client_metadata", "token_endpoint_auth_method is not supported")
		}
	}
	if len(asked.GrantTypes) == 0 {
		asked.GrantTypes = []string{"authorization_code"}
	}
	withSecret := method != MethodNone
	if s.habits.RegisterSecret != nil {
		withSecret = *s.habits.RegisterSecret
	}

	now := s.clock.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &client{dynamic: true}
	c.ID = newID("client-") + s.habits.SecretAlphabet
	c.Method = method
	c.RedirectURIs = asked.RedirectURIs
	c.GrantTypes = asked.GrantTypes
	document := map[string]any{
		"client_id":           c.ID,
		"client_id_issued_at": now.Unix(),
		"redirect_uris":       asked.RedirectURIs,
		"grant_types":         asked.GrantTypes,
		"response_types":      []string{"code"},
	}
	if asked.ClientName != "" {
		document["client_name"] = asked.ClientName
	}
	if asked.Scope != "" {
		document["scope"] = asked.Scope
	}
	if !s.habits.RegisterSilent {
		document["token_endpoint_auth_method"] = method
	}
	if withSecret {
		c.Secret = s.secret("secret-", s.habits.SecretAlphabet)
		document["client_secret"] = c.Secret
		document["client_secret_expires_at"] = 0
		life := s.habits.SecretLifetime
		if s.state.secretLife != 0 {
			life = s.state.secretLife
		}
		if life != 0 {
			// Whole seconds are all that the response can say.
			c.secretEnds = now.Add(life).Truncate(time.Second)
			document["client_secret_expires_at"] = c.secretEnds.Unix()
		}
	}
	if s.habits.ManageClients {
		c.management = s.secret("management-", "")
		document["registration_access_token"] = c.management
		document["registration_client_uri"] = s.endpointURL("/register/") + newID("")
		c.managementURL = document["registration_client_uri"].(string)
	}
	s.state.clients[c.ID] = c
	return jsonResponse(http.StatusCreated, document)
}

// manage serves the deletion of a registration (RFC 7592 section 2.3).
func (s *Server) manage(x *exchange) response {
	if x.r.Method != http.MethodDelete {
		return oauthError(http.StatusMethodNotAllowed, "invalid_request", "only DELETE is supported")
	}
	token, _ := bearer(x.r)
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, c := range s.state.clients {
		if c.managementURL != "" && strings.HasSuffix(c.managementURL, x.r.URL.Path) && token == c.management {
			delete(s.state.clients, id)
			return response{status: http.StatusNoContent}
		}
	}
	return oauthError(http.StatusUnauthorized, "invalid_token", "not the registration access token of a client")
}
