package lab

import (
	"net/http"
	"time"
)

// Token types of RFC 8693 section 3 and of ID-JAGs.
const (
	tokenTypeIDToken = "urn:ietf:params:oauth:token-type:id_token"
	tokenTypeRefresh = "urn:ietf:params:oauth:token-type:refresh_token"
	tokenTypeAccess  = "urn:ietf:params:oauth:token-type:access_token"
	tokenTypeJWT     = "urn:ietf:params:oauth:token-type:jwt"
	tokenTypeIDJAG   = "urn:ietf:params:oauth:token-type:id-jag"
)

// jagLife is how long ID-JAGs are good.
const jagLife = 5 * time.Minute

// AllowExchange makes the server, as an enterprise's provider, issue ID-JAGs for the authorization
// server audience, in which the client is clientID there; empty means its id here. Without a call
// every audience is allowed.
func (s *Server) AllowExchange(audience, clientID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.audiences[audience] = clientID
}

// exchangeToken serves token exchange (RFC 8693) of an ID token, or of a refresh token, for an
// ID-JAG, and of a caller's token for an access token. The caller holds s.mu.
func (s *Server) exchangeToken(x *exchange, c *client) response {
	form := x.form
	if wanted := form.Get("requested_token_type"); wanted == "" || wanted == tokenTypeAccess {
		return s.exchangeCaller(x, c)
	}
	bad := func(code, why string) response { return s.tokenError(http.StatusBadRequest, code, why) }
	if form.Get("requested_token_type") != tokenTypeIDJAG {
		return bad("invalid_request", "requested_token_type is not id-jag")
	}
	subject, ok := s.subjectOf(form.Get("subject_token_type"), form.Get("subject_token"), c)
	if !ok {
		return bad("invalid_request", "subject_token is not valid")
	}
	audience := form.Get("audience")
	clientID, allowed := s.state.audiences[audience]
	if audience == "" || !allowed && len(s.state.audiences) > 0 {
		return bad("invalid_target", "audience is not an authorization server of this company")
	}
	if clientID == "" {
		clientID = c.ID
	}
	now := s.clock.now()
	claims := map[string]any{
		"iss": s.Issuer(), "sub": subject, "aud": audience, "client_id": clientID,
		"jti": newID(""), "iat": now.Unix(), "exp": now.Add(jagLife).Unix(),
	}
	for _, name := range []string{"resource", "scope"} {
		if value := form.Get(name); value != "" {
			claims[name] = value
		}
	}
	document := map[string]any{
		"access_token":      s.sign(typIDJAG, claims),
		"issued_token_type": tokenTypeIDJAG,
		"token_type":        "N_A",
		"expires_in":        int(jagLife.Seconds()),
	}
	if scope := form.Get("scope"); scope != "" {
		document["scope"] = scope
	}
	return s.tokenResponse(http.StatusOK, document)
}

// exchangeCaller exchanges the token with which a service was called for an access token. Who issued
// the former must be trusted, and it must be made out for this server too. The caller holds s.mu.
func (s *Server) exchangeCaller(x *exchange, c *client) response {
	bad := func(why string) response {
		return s.tokenError(http.StatusBadRequest, "invalid_request", "subject_token: "+why)
	}
	switch x.form.Get("subject_token_type") {
	case tokenTypeAccess, tokenTypeJWT:
	default:
		return bad("its type is not known")
	}
	t, why := s.trustedToken(x.form.Get("subject_token"))
	if why == "" {
		why = s.checkGrantAssertion(t, c)
	}
	if why != "" {
		return bad(why)
	}
	return s.grantWithoutUser(x, c)
}

// subjectOf returns whom a subject token of a client is about.
func (s *Server) subjectOf(tokenType, token string, c *client) (subject string, ok bool) {
	switch tokenType {
	case tokenTypeIDToken:
		t, ok := s.ownToken(token)
		if !ok || t.text("aud") != c.ID {
			return "", false
		}
		return t.text("sub"), true
	case tokenTypeRefresh:
		t := s.state.refresh[token]
		if t == nil || t.family.clientID != c.ID || t.family.revoked || !t.usedAt.IsZero() {
			return "", false
		}
		return t.family.by.subject(), true
	}
	return "", false
}
