package lab

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
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
	if failed := s.checkPermission(x, request.Statement); failed != nil {
		return *failed
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
	if len(r.RedirectURIs) == 0 && r.redirects() {
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
	if !r.consistent() {
		return reject("invalid_client_metadata", "response_types has code, and grant_types has not")
	}
	if !r.authenticates() {
		return reject("invalid_client_metadata", r.Method+" needs jwks, jwks_uri or a subject")
	}
	r.DPoPBound = r.DPoPBound || s.habits.DPoP.RegisterBound
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
	c := &client{dynamic: true, issuedAt: now}
	c.ID = newID("client-") + s.habits.SecretAlphabet
	c.apply(r)
	withSecret := slices.Contains([]string{MethodBasic, MethodPost, MethodSecretJWT}, r.Method)
	if s.habits.RegisterSecret != nil {
		withSecret = *s.habits.RegisterSecret
	}
	if withSecret {
		s.addSecret(c, now)
	}
	if s.habits.ManageClients {
		c.management = s.secret("management-", "")
		c.managementURL = s.endpointURL("/register/") + newID("")
	}
	s.state.clients[c.ID] = c
	return s.registrationResponse(c)
}

// addSecret issues the secret of a client. The caller holds s.mu.
func (s *Server) addSecret(c *client, now time.Time) {
	c.Secret = s.secret("secret-", s.habits.SecretAlphabet)
	if life := cmp.Or(s.state.secretLife, s.habits.SecretLifetime); life != 0 {
		c.secretEnds = now.Add(life).Truncate(time.Second) // the response has whole seconds
	}
}
