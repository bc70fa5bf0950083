package lab

import (
	"net/http"
	"slices"
	"strings"
)

// typIDJAG is the typ of an identity assertion JWT authorization grant
// (draft-ietf-oauth-identity-assertion-authz-grant section 3).
const typIDJAG = "oauth-id-jag+jwt"

// profileIDJAG is the grant's name in authorization_grant_profiles_supported.
const profileIDJAG = "urn:ietf:params:oauth:grant-profile:id-jag"

// TrustIssuer makes the server accept the assertions of an issuer with the keys of a JWK set, in
// the JWT bearer grant (RFC 7523 section 2.1) and in software statements. An empty set undoes it.
func (s *Server) TrustIssuer(issuer, jwks string) {
	keys, err := parseJWKS([]byte(jwks))
	s.mu.Lock()
	defer s.mu.Unlock()
	if jwks == "" || err != nil {
		delete(s.state.trusted, issuer)
		return
	}
	s.state.trusted[issuer] = keys
}

// tokenClient authenticates the client of a token request. A workload needs no client: it is its
// assertion's subject.
func (s *Server) tokenClient(x *exchange) (*client, *response) {
	if x.form.Get("grant_type") == GrantJWTBearer && x.seen == (credentials{}) {
		t, err := parseJWT(x.form.Get("assertion"))
		if err == nil && t.header.Typ != typIDJAG {
			return &client{ConfiguredClient: ConfiguredClient{ID: t.text("sub"), Method: MethodNone}}, nil
		}
	}
	return s.authenticate(x)
}

// exchangeAssertion serves the JWT bearer grant. The caller holds s.mu.
func (s *Server) exchangeAssertion(x *exchange, c *client) response {
	t, why := s.trustedToken(x.form.Get("assertion"))
	if why == "" {
		why = s.checkGrantAssertion(t, c)
	}
	if why != "" {
		return s.tokenError(http.StatusBadRequest, "invalid_grant", "assertion: "+why)
	}
	resource, named := x.form.Get("resource"), t.list("resource")
	if resource != "" && named != nil && !slices.Contains(named, resource) {
		return s.tokenError(http.StatusBadRequest, "invalid_target",
			"the assertion is for another resource")
	}
	if allowed := t.text("scope"); allowed != "" {
		if x.form.Get("scope") == "" {
			x.form.Set("scope", allowed)
		}
		if !narrower(x.form.Get("scope"), allowed) {
			return s.tokenError(http.StatusBadRequest, "invalid_scope", "more than the assertion has")
		}
	}
	return s.grantWithoutUser(x, c)
}

// trustedToken verifies a token of an issuer that the server trusts.
func (s *Server) trustedToken(text string) (t *jwt, why string) {
	t, err := parseJWT(text)
	if err != nil {
		return nil, "not a JWT"
	}
	keys, trusted := s.state.trusted[t.text("iss")]
	if !trusted {
		return nil, "the issuer is not trusted"
	}
	if err := t.verifySet(keys); err != nil {
		return nil, err.Error()
	}
	return t, ""
}

// checkGrantAssertion returns what is wrong with an assertion as a grant to a client, or nothing.
func (s *Server) checkGrantAssertion(t *jwt, c *client) (why string) {
	if why := s.checkTimes(t, 100*365*day); why != "" {
		return why
	}
	if t.text("sub") == "" {
		return "sub is missing"
	}
	audiences := t.audience()
	if t.header.Typ != typIDJAG {
		// RFC 7523 section 3: the token endpoint's URL may be the audience too.
		if !slices.Contains(audiences, s.Issuer()) &&
			!slices.Contains(audiences, s.endpointURL("/token")) {
			return "aud is not this server"
		}
		return ""
	}
	named := t.list("resource")
	same := func(resource string) bool {
		return strings.TrimSuffix(resource, "/") == strings.TrimSuffix(s.ResourceURL(), "/")
	}
	switch {
	case !slices.Equal(audiences, []string{s.Issuer()}):
		return "aud is not the issuer"
	case t.text("client_id") != c.ID:
		return "client_id is another client"
	case named != nil && !slices.ContainsFunc(named, same):
		return "resource is not served here"
	case t.text("jti") == "":
		return "jti is missing"
	case !s.firstUse("id-jag", t.text("iss")+" "+t.text("jti")):
		s.state.audit.AssertionReuses++
		return "jti has been used"
	}
	return ""
}
