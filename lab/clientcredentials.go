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

// extraGrants are the grant types of [Habits.Grants], with their names in Counts.
var extraGrants = map[string]string{
	GrantClientCredentials: "token:client_credentials",
	GrantDeviceCode:        "token:device",
	GrantJWTBearer:         "token:jwt_bearer",
	GrantTokenExchange:     "token:exchange",
}

// grantTypes is grant_types_supported.
func (s *Server) grantTypes() []string {
	return append([]string{"authorization_code", "refresh_token"}, s.habits.Grants...)
}

// exchangeOther serves the grants of [Habits.Grants]. The caller holds s.mu.
func (s *Server) exchangeOther(x *exchange, c *client) response {
	grant := x.form.Get("grant_type")
	switch {
	case !slices.Contains(s.habits.Grants, grant):
		return s.tokenError(http.StatusBadRequest, "unsupported_grant_type", "not one of grant_types_supported")
	case len(c.GrantTypes) > 0 && !slices.Contains(c.GrantTypes, grant):
		return s.tokenError(http.StatusBadRequest, "unauthorized_client", "the client may not use this grant")
	}
	switch grant {
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
	return s.grantResponse(s.newAccess(f, scope))
}
