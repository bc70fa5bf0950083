package lab

import (
	"maps"
	"net/http"
	"net/url"
	"time"
)

// Values of [Habits.PAR].
const (
	PAROffered  = "offered"
	PARRequired = "required" // an authorization request that was not pushed is rejected
)

// pushedLifetime is how long a pushed request may wait.
const pushedLifetime = time.Minute

// pushedRequest is an authorization request that a client has pushed (RFC 9126).
type pushedRequest struct {
	clientID string
	form     url.Values
	ends     time.Time
}

// push serves pushed authorization requests (RFC 9126 section 2).
func (s *Server) push(x *exchange) response {
	s.lookUp(x)
	s.mu.Lock()
	defer s.mu.Unlock()
	bad := func(code, why string) response { return s.tokenError(http.StatusBadRequest, code, why) }
	if x.r.Method != http.MethodPost {
		return s.tokenError(http.StatusMethodNotAllowed, "invalid_request",
			"a request is pushed with POST")
	}
	if x.r.URL.RawQuery != "" || x.form.Has("request_uri") {
		return bad("invalid_request", "parameters belong in the body, and request_uri is not one")
	}
	c, failed := s.authenticate(x)
	if failed != nil {
		return *failed
	}
	if failed := s.proveKey(x, c); failed != nil {
		return *failed
	}
	if code, why := s.checkPushed(x, c); code != "" {
		return bad(code, why)
	}
	ends := s.clock.now().Add(pushedLifetime)
	pushed := pushedRequest{clientID: c.ID, form: maps.Clone(x.form), ends: ends}
	for _, name := range []string{"client_secret", "client_assertion", "client_assertion_type"} {
		pushed.form.Del(name)
	}
	if x.key != "" {
		pushed.form.Set("dpop_jkt", x.key) // RFC 9449 section 10.1
	}
	handle := s.secret("urn:ietf:params:oauth:request_uri:", "")
	s.state.pushed[handle] = pushed
	a := jsonResponse(http.StatusCreated,
		map[string]any{"request_uri": handle, "expires_in": int(pushedLifetime.Seconds())})
	return a.withNonce(x.nonce)
}

// checkPushed returns the error code and the description of what is wrong with the parameters of a
// pushed request, or nothing.
func (s *Server) checkPushed(x *exchange, c *client) (code, why string) {
	if jkt := x.form.Get("dpop_jkt"); x.key != "" && jkt != "" && jkt != x.key {
		return "invalid_dpop_proof", "dpop_jkt is another key"
	}
	if x.form.Get("client_id") != c.ID {
		return "invalid_request", "client_id is missing, or another client's"
	}
	if !s.redirectAllowed(c, x.form.Get("redirect_uri")) {
		return "invalid_request", "redirect_uri is not one of the client's"
	}
	if code, why := s.checkAuthorization(x.form); code != "" {
		return code, why
	}
	if _, _, rejected := s.grantScope(x.form.Get("scope")); rejected != "" {
		return "invalid_scope", rejected
	}
	return "", ""
}

// pull replaces the parameters of an authorization request with those that its client has pushed,
// which works once (RFC 9126 section 4). It returns false if there are none.
func (s *Server) pull(x *exchange) bool {
	handle := x.form.Get("request_uri")
	if handle == "" {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	pushed, ok := s.state.pushed[handle]
	if !ok || pushed.clientID != x.form.Get("client_id") || !s.clock.now().Before(pushed.ends) {
		return false
	}
	if x.endpoint != "authorize:preflight" {
		delete(s.state.pushed, handle)
	}
	x.form, x.pulled = pushed.form, true
	return true
}
