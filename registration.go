package handstamp

import (
	"encoding/json"
	"fmt"
	"time"

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
