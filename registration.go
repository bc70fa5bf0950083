package handstamp

import (
	"fmt"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/store"
)

// Registration is a client as the authorization server knows it.
type Registration struct {
	// Issuer is the authorization server that the client belongs to. Empty in
	// Client.Registration: whichever the MCP server names.
	Issuer string

	ClientID     string
	ClientSecret store.Secret

	// SecretExpiresAt is zero if the secret does not expire. One that has ended is
	// not used: with OnRegister the next login registers a client anew, without it
	// the next login fails with ErrClientRejected.
	SecretExpiresAt time.Time

	// TokenEndpointAuthMethod is how the client authenticates at the token
	// endpoint: "none", "client_secret_basic" or "client_secret_post". It is
	// part of the registration: give it back with the secret. Empty where it is
	// not known; Handstamp then finds out, once.
	TokenEndpointAuthMethod string

	RedirectURIs []string

	// Response is the whole registration response (RFC 7591, section 3.2.1): set
	// in OnRegister, read in ForeignLogin, not looked at in Client.Registration.
	Response store.Secret
}

// Format implements fmt.Formatter: the secret is not seen, whatever the verb and
// whatever the Registration is a part of.
func (r Registration) Format(f fmt.State, _ rune) {
	type plain Registration
	fmt.Fprintf(f, "%+v", plain(r))
}

// configurationFor returns the user's configuration if it is about the stored
// client, at its issuer.
func (s *session) configurationFor(c *store.Client) *Registration {
	r := s.c.Registration
	if r == nil || r.ClientID != c.ID || r.Issuer != "" && !sameIssuer(r.Issuer, c.Issuer) {
		return nil
	}
	return r
}

// withConfiguredSecret lays the user's configuration over a stored client.
func (s *session) withConfiguredSecret(c *store.Client) *store.Client {
	r := s.configurationFor(c)
	if r == nil || r.ClientSecret == "" {
		return c
	}
	over := *c
	over.Proven = c.Proven && c.Secret == r.ClientSecret
	over.Secret, over.SecretExpiresAt = r.ClientSecret, r.SecretExpiresAt
	return &over
}

// activeRegistration returns the client that the user configured, unless its secret has
// ended and the application takes the registration that replaces it.
func (s *session) activeRegistration() *Registration {
	r := s.c.Registration
	if r != nil && s.c.OnRegister != nil && r.ClientSecret != "" && hasPassed(r.SecretExpiresAt, time.Now()) {
		return nil
	}
	return r
}

// secretExpired reports whether a client cannot authenticate any more because its
// secret has ended (RFC 7591, section 3.2.1, client_secret_expires_at). A grant
// obtained with it after that shows that the server does not mean it, or that the
// two clocks disagree.
func secretExpired(c *store.Client, g *store.Grant, now time.Time) bool {
	if c.Secret == "" || c.Method == oauth.MethodNone || !hasPassed(c.SecretExpiresAt, now) {
		return false
	}
	return g == nil || g.ClientID != c.ID || g.Issuer != c.Issuer || !g.ObtainedAt.After(c.SecretExpiresAt)
}

// hasPassed reports whether a time that may be unset is over.
func hasPassed(t, now time.Time) bool { return !t.IsZero() && now.After(t) }
