package lab

import (
	"net/http"
	"slices"
)

// Grant types of [Habits.Grants].
const (
	GrantClientCredentials = "client_credentials"
	GrantDeviceCode        = "urn:ietf:params:oauth:grant-type:device_code"
	GrantJWTBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	GrantTokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// grantNames are the names of the grant types in Counts.
var grantNames = map[string]string{
	"authorization_code":   "token:code",
	"refresh_token":        "token:refresh",
	GrantClientCredentials: "token:client_credentials",
	GrantDeviceCode:        "token:device",
	GrantJWTBearer:         "token:jwt_bearer",
	GrantTokenExchange:     "token:exchange",
}

// grantTypes is grant_types_supported.
func (s *Server) grantTypes() []string {
	return append([]string{"authorization_code", "refresh_token"}, s.habits.Grants...)
}

// grants reports whether a grant type is one of [Habits.Grants].
func (s *Server) grants(grant string) bool { return slices.Contains(s.habits.Grants, grant) }

// exchangeOther serves the grants of [Habits.Grants]. The caller holds s.mu.
func (s *Server) exchangeOther(x *exchange, c *client) response {
	grant := x.form.Get("grant_type")
	switch {
	case !s.grants(grant):
		return s.tokenError(http.StatusBadRequest, "unsupported_grant_type",
			"not one of grant_types_supported")
	case len(c.GrantTypes) > 0 && !slices.Contains(c.GrantTypes, grant):
		return s.tokenError(http.StatusBadRequest, "unauthorized_client",
			"the client may not use this grant")
	}
	switch grant {
	case GrantDeviceCode:
		return s.exchangeDevice(x, c)
	case GrantJWTBearer:
		return s.exchangeAssertion(x, c)
	case GrantTokenExchange:
		return s.exchangeToken(x, c)
	default:
		return s.exchangeClientCredentials(x, c)
	}
}

// exchangeClientCredentials serves the client credentials grant (RFC 6749 section 4.4), for
// confidential clients only and without a refresh token.
func (s *Server) exchangeClientCredentials(x *exchange, c *client) response {
	if c.Method == MethodNone {
		return s.tokenError(http.StatusBadRequest, "unauthorized_client", "the client is public")
	}
	return s.grantWithoutUser(x, c)
}

// grantWithoutUser issues an access token for the resource and the scope of a token request, and no
// refresh token.
func (s *Server) grantWithoutUser(x *exchange, c *client) response {
	if rejected := s.checkResource(x.form, s.ResourceURL()); rejected != "" {
		return s.tokenError(http.StatusBadRequest, "invalid_target", rejected)
	}
	scope, _, rejected := s.grantScope(x.form.Get("scope"))
	if rejected != "" {
		return s.tokenError(http.StatusBadRequest, "invalid_scope", rejected)
	}
	f := s.newFamily(c.ID, x.form.Get("resource"), scope)
	s.bind(f, x, c)
	out := s.newAccess(f, scope)
	if x.form.Get("grant_type") == GrantTokenExchange {
		out.tokenType = tokenTypeAccess
	}
	return s.grantResponse(out)
}
