package lab

import "net/http"

// revoke serves token revocation (RFC 7009): a refresh token takes its family
// with it, an access token goes alone, and an unknown token is no error.
func (s *Server) revoke(x *exchange) response {
	s.lookUp(x)
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.r.Method != http.MethodPost {
		return s.tokenError(http.StatusMethodNotAllowed, "invalid_request", "revocation is a POST")
	}
	if name := repeated(x.form); name != "" {
		return s.tokenError(http.StatusBadRequest, "invalid_request", name+" is given twice")
	}
	c, failed := s.authenticate(x)
	if failed != nil {
		return *failed
	}
	if s.habits.RevokeWantsSecret && !x.form.Has("client_secret") {
		return s.tokenError(http.StatusBadRequest, "invalid_request",
			"client_secret: Field required")
	}
	if failed := s.proveRevocation(x, c); failed != nil {
		return *failed
	}
	token := x.form.Get("token")
	if token == "" {
		return s.tokenError(http.StatusBadRequest, "invalid_request", "token is missing")
	}
	if t := s.state.refresh[token]; t != nil && t.family.clientID == c.ID && s.mayRevoke(x, t.family.refreshKey) {
		s.revokeFamily(t.family)
	}
	if t := s.state.access[token]; t != nil && t.family.clientID == c.ID && s.mayRevoke(x, t.key) {
		t.revoked = true
	}
	return response{status: http.StatusOK}.withNonce(x.nonce)
}
