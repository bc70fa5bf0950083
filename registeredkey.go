package handstamp

import (
	"fmt"

	"github.com/handstamp/handstamp/internal/jose"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

// keyThumbprint returns the thumbprint of the configured key if a client authenticates with it
// (RFC 7638), else "".
func (cfg *configuration) keyThumbprint(method string) string {
	if cfg.Key == nil || method != oauth.MethodPrivateKeyJWT {
		return ""
	}
	thumbprint, err := jose.Thumbprint(cfg.Key.Public())
	if err != nil { // of a kind that has none
		return ""
	}
	return thumbprint
}

// hasOtherKey reports whether a client was registered with another key than the configured one.
func (cfg *configuration) hasOtherKey(c *record.Client) bool {
	return cfg.Key != nil && c.KeyThumbprint != "" &&
		c.KeyThumbprint != cfg.keyThumbprint(oauth.MethodPrivateKeyJWT)
}

// keyUsable returns an error if the server takes client assertions and none that the configured key
// can sign.
func (cfg *configuration) keyUsable(as *oauth.ServerMetadata) error {
	if cfg.Key == nil ||
		cfg.strongMethod(as.TokenEndpointAuthMethodsSupported) != oauth.MethodPrivateKeyJWT {
		return nil
	}
	_, err := cfg.Key.AlgorithmFor(as.TokenEndpointAuthSigningAlgValuesSupported)
	return err
}

// otherKey returns the error of a refresh with a client that was registered with another key than
// the configured one: the server would end the login.
func (r *refresher) otherKey(c *record.Client) error {
	if !r.config.hasOtherKey(c) {
		return nil
	}
	return &Error{Kind: ErrClientRejected, Server: r.serverURL,
		Message: fmt.Sprintf("the client was registered with another key than %s", r.config.Key.ID()),
		Hint:    "configure the key that it was registered with, or log in anew"}
}
