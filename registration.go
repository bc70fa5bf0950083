package handstamp

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
)

// Registration is a client as the authorization server knows it.
//
// An application that keeps one stores what [Registration.RevealJSON] returns; json.Unmarshal
// reads that back. json.Marshal fails on a Registration that holds a secret.
type Registration struct {
	// Issuer is the authorization server that the client belongs to. Empty in
	// Client.Registration: whichever the MCP server names.
	Issuer string

	ClientID     string
	ClientSecret secret.String

	// SecretExpiresAt is zero if the secret does not expire. One that has ended is
	// not used: with OnRegister the next login registers a client anew, without it
	// the next login fails with ErrClientRejected.
	SecretExpiresAt time.Time

	// TokenEndpointAuthMethod is how the client authenticates at the token
	// endpoint: "none", "client_secret_basic" or "client_secret_post". It is
	// part of the registration: give it back with the secret. Empty where it is
	// not known; Handstamp then finds out, once.
	TokenEndpointAuthMethod string

	// RedirectURIs are those that the client was registered with. Give them back, too: a
	// login listens there, since many servers compare redirect URIs byte by byte.
	RedirectURIs []string

	// Response is the whole registration response (RFC 7591, section 3.2.1): set
	// in OnRegister, read in ImportedLogin, not looked at in Client.Registration.
	Response secret.String
}

// Format implements fmt.Formatter: the secret is not seen, whatever the verb and
// whatever the Registration is a part of.
func (r Registration) Format(f fmt.State, _ rune) {
	type plain Registration
	fmt.Fprintf(f, "%+v", plain(r))
}

// RevealJSON returns the registration as JSON with its secrets in the clear, for an application
// that keeps it in a safe place. json.Unmarshal reads it back. Each call is a place to look at in
// a review.
func (r Registration) RevealJSON() ([]byte, error) {
	return json.Marshal(struct {
		plainRegistration
		ClientSecret, Response string
	}{plainRegistration(r), r.ClientSecret.Reveal(), r.Response.Reveal()})
}

// plainRegistration is a Registration without its methods.
type plainRegistration Registration

// check finds what cannot be a registration: the placeholder that a secret prints as, where an
// application has saved that.
func (r *Registration) check() error {
	if r == nil || !r.ClientSecret.IsPlaceholder() {
		return nil
	}
	return &Error{Kind: ErrInvalidConfig,
		Message: `the client secret is "[redacted]", which stands for a secret and is none`,
		Hint:    "save the registration as Registration.RevealJSON returns it"}
}

// configurationFor returns the user's configuration if it is about the stored
// client, at its issuer.
func (s *session) configurationFor(c *record.Client) *Registration {
	r := s.c.Registration
	if r == nil || r.ClientID != c.ID || r.Issuer != "" && !sameIssuer(r.Issuer, c.Issuer) {
		return nil
	}
	return r
}

// belongsElsewhere reports whether the user's configuration has the stored client at another
// issuer than the one where it was used. It is used at the configured one only.
func (s *session) belongsElsewhere(c *record.Client) bool {
	r := s.c.Registration
	return r != nil && r.Issuer != "" && r.ClientID == c.ID && c.Source == record.SourceConfigured &&
		c.Issuer != "" && !sameIssuer(r.Issuer, c.Issuer)
}

// withConfiguredSecret lays the user's configuration over a stored client.
func (s *session) withConfiguredSecret(c *record.Client) *record.Client {
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
func secretExpired(c *record.Client, g *record.Grant, now time.Time) bool {
	if c.Secret == "" || c.Method == oauth.MethodNone || !hasPassed(c.SecretExpiresAt, now) {
		return false
	}
	return g == nil || g.ClientID != c.ID || g.Issuer != c.Issuer || !g.ObtainedAt.After(c.SecretExpiresAt)
}

// hasPassed reports whether a time that may be unset is over.
func hasPassed(t, now time.Time) bool { return !t.IsZero() && now.After(t) }
