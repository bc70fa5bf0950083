package lab

import (
	"net/http"
	"net/url"
	"slices"
	"time"
)

// exchangeRefresh serves the refresh token grant (RFC 6749 section 6). The
// caller holds s.mu.
func (s *Server) exchangeRefresh(x *exchange, c *client) response {
	form := x.form
	t := s.state.refresh[form.Get("refresh_token")]
	if t == nil || t.family.clientID != c.ID {
		s.state.audit.Rejected++
		return s.deadGrant("no such refresh token")
	}
	f := t.family
	f.presented[t.generation]++
	if f.revoked {
		if !t.usedAt.IsZero() {
			s.state.audit.Reuses++
		}
		s.state.audit.Rejected++
		return s.deadGrant("the grant is revoked")
	}
	if !f.boundTo(x) {
		s.state.audit.Rejected++
		return s.deadGrant("the grant is bound to another key")
	}
	if s.habits.GrantsEnforced && len(c.GrantTypes) > 0 &&
		!slices.Contains(c.GrantTypes, "refresh_token") {
		return s.tokenError(http.StatusBadRequest, "unauthorized_client", "the client is not registered for refresh_token")
	}
	if rejected := s.checkResource(form, s.boundResource(f.resource)); rejected != "" {
		if s.habits.Resource == ResourceRequired {
			s.markUsed(t)
			t.noGrace = true
		}
		s.state.audit.Rejected++
		return s.tokenError(http.StatusBadRequest, "invalid_target", rejected)
	}
	if wrong := s.checkRefreshScope(form); wrong != nil {
		s.state.audit.Rejected++
		return *wrong
	}
	scope := f.scope
	if form.Get("scope") != "" {
		scope = form.Get("scope")
	}
	if !narrower(scope, f.scope) {
		s.state.audit.Rejected++
		return s.tokenError(http.StatusBadRequest, "invalid_scope", "more than was granted")
	}

	successor, how := s.rotate(t)
	if how == rotationRejected {
		s.state.audit.Rejected++
		return s.deadGrant("the refresh token has been used")
	}
	s.state.audit.Refreshes++
	f.key = x.key
	if s.habits.MTLS.BoundTokens {
		f.certificate = certificateThumbprint(x.r)
	}
	out := s.newAccess(f, scope)
	if how == rotationNewPair {
		out.refresh = successor.value
	}
	return s.grantResponse(out)
}

// boundTo reports whether a request has the key and the certificate of the refresh tokens.
func (f *family) boundTo(x *exchange) bool {
	return (f.refreshKey == "" || f.refreshKey == x.key) &&
		(f.refreshCertificate == "" || f.refreshCertificate == certificateThumbprint(x.r))
}

// The outcomes of a rotation.
type rotationOutcome int

const (
	rotationRejected rotationOutcome = iota
	rotationNewPair
	rotationAccessOnly
)

// rotate decides by the habits what the use of t returns: a refresh token, an access token alone,
// or an error. t may have been used before. The caller holds s.mu.
func (s *Server) rotate(t *refreshToken) (*refreshToken, rotationOutcome) {
	unused := t.usedAt.IsZero()
	if !unused {
		s.state.audit.Reuses++
	}
	strict := s.habits.Rotation == RotateStrict || s.habits.Rotation == ""
	if t.noGrace {
		return s.rejectReuse(t, strict)
	}
	switch s.habits.Rotation {
	case RotateNone:
		return nil, rotationAccessOnly
	case RotateRepeat:
		return t, rotationNewPair
	case RotateUntilUsed:
		return s.rotateUntilUsed(t)
	}
	if unused {
		return s.replace(t)
	}
	if s.clock.now().Sub(t.usedAt) <= s.habits.Grace {
		switch s.habits.Rotation {
		case RotateGrace:
			return s.replace(t)
		case RotateGraceAccess:
			return nil, rotationAccessOnly
		case RotateSame:
			return t.successor, rotationNewPair
		}
	}
	return s.rejectReuse(t, s.habits.Rotation != RotateStrictKeep)
}

// replace issues the successor of t.
func (s *Server) replace(t *refreshToken) (*refreshToken, rotationOutcome) {
	t.successor = s.newRefresh(t.family, t.generation+1)
	s.markUsed(t)
	return t.successor, rotationNewPair
}

// rotateUntilUsed implements [RotateUntilUsed].
func (s *Server) rotateUntilUsed(t *refreshToken) (*refreshToken, rotationOutcome) {
	f := t.family
	if t != f.current && t != f.previous {
		return s.rejectReuse(t, false)
	}
	successor, how := s.replace(t)
	f.previous, f.current = t, successor
	return successor, how
}

// rejectReuse rejects a used refresh token, and with revoke revokes its family.
func (s *Server) rejectReuse(t *refreshToken, revoke bool) (*refreshToken, rotationOutcome) {
	if revoke {
		s.revokeFamily(t.family)
	}
	return nil, rotationRejected
}

// newRefresh issues a refresh token. The caller holds s.mu.
func (s *Server) newRefresh(f *family, generation int) *refreshToken {
	t := &refreshToken{value: s.secret("refresh-", ""), family: f, generation: generation}
	s.state.refresh[t.value] = t
	for len(f.issued) <= generation {
		f.issued = append(f.issued, 0)
		f.presented = append(f.presented, 0)
	}
	f.issued[generation]++
	if f.current == nil {
		f.current = t
	}
	return t
}

// markUsed records the first use of a refresh token.
func (s *Server) markUsed(t *refreshToken) {
	if t.usedAt.IsZero() {
		t.usedAt = s.clock.now()
	}
}

// deadGrant returns the response to a refresh token that is no longer valid.
func (s *Server) deadGrant(why string) response {
	code := s.habits.DeadGrant
	if code == "" {
		code = "invalid_grant"
	}
	status := s.habits.DeadGrantStatus
	if status == 0 {
		status = http.StatusBadRequest
	}
	if body := s.habits.DeadGrantBody; body != "" {
		return s.literalError(status, body, code)
	}
	return s.tokenError(status, code, "refresh_token is invalid: "+why)
}

// checkRefreshScope reports what is wrong with the scope of a refresh, by the
// habits.
func (s *Server) checkRefreshScope(form url.Values) *response {
	var a response
	switch {
	case s.habits.RefreshScope == RefreshScopeRequired && form.Get("scope") == "":
		a = s.tokenError(http.StatusBadRequest, "invalid_request",
			"AADSTS90009: the application is requesting a token for itself: scope is missing")
	case s.habits.RefreshScope == RefreshScopeRejected && form.Has("scope"):
		a = s.tokenError(http.StatusBadRequest, "invalid_scope", "unknown scope")
	default:
		return nil
	}
	return &a
}

// Audit is what the authorization server counted since Start or Reset.
type Audit struct {
	Codes           int // codes exchanged
	CodeReuses      int // codes that were sent again
	Refreshes       int // refreshes that were granted
	Rejected        int // refreshes that were rejected, client authentication aside
	Reuses          int // used refresh tokens that were sent again, accepted or not
	AssertionReuses int // client assertions with a jti that had been used
	Proofs          int // DPoP proofs, accepted or not
	ProofReuses     int // those with a jti that an earlier one had
	Downgrades      int // bound tokens that came as Bearer where DPoP is known
	EarlyPolls      int // polls of a device before its interval was over
	EndedSecrets    int // requests with a secret that was right, and past its end
	FamiliesRevoked int // grants revoked: for reuse, by request, by the test

	Families []FamilyAudit
}

// FamilyAudit is what grew out of one authorization. The first refresh token of
// a family has generation 0.
type FamilyAudit struct {
	ClientID  string
	Resource  string // on the first leg
	Scope     string // granted
	Revoked   bool
	Issued    []int // refresh tokens, by generation, since the authorization
	Presented []int // requests that carried one, by generation, since Reset
}

// Audit returns the counts.
func (s *Server) Audit() Audit {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.state.audit
	for _, f := range s.state.families {
		out.Families = append(out.Families, FamilyAudit{
			ClientID:  f.clientID,
			Resource:  f.resource,
			Scope:     f.scope,
			Revoked:   f.revoked,
			Issued:    slices.Clone(f.issued),
			Presented: slices.Clone(f.presented),
		})
	}
	return out
}

// Tokens are what a client holds after an authorization.
type Tokens struct {
	Access  string
	Refresh string
	// Expires is when the access token ends, by the server's clock.
	Expires time.Time
}

// String tells that there are tokens.
func (Tokens) String() string { return "[redacted]" }

// GoString likewise.
func (Tokens) GoString() string { return "[redacted]" }

// Issue authorizes a client without a browser: the tokens are as good as those
// of a login with this resource and scope.
func (s *Server) Issue(clientID, resource, scope string) Tokens {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.newFamily(clientID, resource, scope)
	out := s.newAccess(f, scope)
	return Tokens{
		Access:  out.access,
		Refresh: s.newRefresh(f, 0).value,
		Expires: s.state.access[out.access].ends,
	}
}
