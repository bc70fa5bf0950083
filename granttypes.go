package handstamp

import (
	"slices"
	"strings"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

// takesGrant returns an error if the authorization server takes no login with a browser, so that
// none is opened that could not help. A user who describes the server with its authorization endpoint knows
// better.
func (d *discovery) takesGrant(rec *record.Record, m *oauth.ServerMetadata) error {
	if len(m.GrantTypesSupported) == 0 || slices.Contains(m.GrantTypesSupported, "authorization_code") ||
		d.config.grantFor(rec) != nil || d.config.AuthorizationServer != nil && d.config.AuthorizationServer.AuthorizationEndpoint != "" {
		return nil
	}
	var grants []string
	for _, t := range m.GrantTypesSupported {
		if grants = append(grants, oauth.Sanitize(t)); len(grants) == 8 {
			break
		}
	}
	e := &Error{Kind: ErrInvalidConfig, Server: d.serverURL, Setting: "Grant",
		Message: oauth.Sanitize(m.Issuer) + " takes no login with a browser, but " + strings.Join(grants, ", ")}
	var options []string
	for _, o := range grantOptions {
		if slices.Contains(m.GrantTypesSupported, o.grantType) {
			options = append(options, o.option)
		}
	}
	if options == nil {
		e.Hint = "this program has none of these"
	} else {
		e.Hint = "set the client's Grant to " + strings.Join(options, " or ")
	}
	return e
}

// grantOptions are the values of Client.Grant for the grant types that a server may list.
var grantOptions = []struct{ grantType, option string }{
	{grantClientCredentials, "ClientCredentials"},
	{grantJWTBearer, "JWTBearer or Enterprise"},
	{grantTokenExchange, "TokenExchange"},
	{"urn:ietf:params:oauth:grant-type:device_code", "DeviceCode"},
}
