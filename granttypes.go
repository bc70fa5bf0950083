package handstamp

import (
	"slices"
	"strings"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

// checkCodeGrant returns an error if a login needs a browser and the authorization server does not
// list that grant, or no PKCE. A user who describes the server with its authorization endpoint knows
// which grants it takes.
func (d *discovery) checkCodeGrant(rec *record.Record, m *oauth.ServerMetadata) error {
	described := d.config.AuthorizationServer
	switch {
	case d.config.grantFor(rec) != nil:
		return nil
	case described != nil && described.AuthorizationEndpoint != "":
	case len(m.GrantTypesSupported) > 0 && !slices.Contains(m.GrantTypesSupported, "authorization_code"):
		return d.noCodeGrant(m)
	}
	if d.config.InsecureAllowMissingPKCE {
		return nil
	}
	return m.PKCE()
}

// noCodeGrant returns the error that names the grants which the server takes.
func (d *discovery) noCodeGrant(m *oauth.ServerMetadata) error {
	var grants []string
	for _, t := range m.GrantTypesSupported[:min(8, len(m.GrantTypesSupported))] {
		grants = append(grants, oauth.Sanitize(t))
	}
	e := &Error{Kind: ErrInvalidConfig, Server: d.serverURL, Setting: "Grant",
		Hint:    "this program has none of these",
		Message: oauth.Sanitize(m.Issuer) + " takes no login with a browser, but " + strings.Join(grants, ", ")}
	var options []string
	for _, o := range grantOptions {
		if slices.Contains(m.GrantTypesSupported, o.grantType) {
			options = append(options, o.option)
		}
	}
	if options != nil {
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
