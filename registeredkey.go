package handstamp

import (
	"fmt"

	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/internal/jose"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

// keyThumbprint returns the thumbprint of a key if a client authenticates with it (RFC 7638), else
// "".
func keyThumbprint(key *clientkey.Key, method string) string {
	if key == nil || method != oauth.MethodPrivateKeyJWT {
		return ""
	}
	thumbprint, err := jose.Thumbprint(key.Public())
	if err != nil { // of a kind that has none
		return ""
	}
	return thumbprint
}

// hasOtherKey reports whether a client was registered with another key than the configured one.
func hasOtherKey(c *record.Client, configured *clientkey.Key) bool {
	return configured != nil && c.KeyThumbprint != "" &&
		c.KeyThumbprint != keyThumbprint(configured, oauth.MethodPrivateKeyJWT)
}

// otherKey returns the error of a refresh with a client that was registered with another key than
// the configured one: the server would end the login.
func (r *refresher) otherKey(c *record.Client) error {
	if !hasOtherKey(c, r.config.Key) {
		return nil
	}
	return &Error{Kind: ErrClientRejected, Server: r.serverURL,
		Message: fmt.Sprintf("the client was registered with another key than %s", r.config.Key.ID()),
		Hint:    "configure the key that it was registered with, or log in anew"}
}
