package record

import (
	"time"

	"github.com/handstamp/handstamp/secret"
)

// SuspendedLogin is a login between its authorization request and the response (RFC 6749, section
// 4.1): what another process needs to check the response and to exchange the code. It is in a
// record of its own, together with the client, the metadata and the key of the login.
type SuspendedLogin struct {
	At time.Time `json:"at"`

	// State, Issuer and Nonce are what the response and an id token have to name, and Verifier is
	// that of PKCE (RFC 7636).
	State    secret.String `json:"state"`
	Issuer   string        `json:"expected_issuer"`
	Nonce    string        `json:"nonce,omitempty"`
	Verifier secret.String `json:"code_verifier"`

	// What was requested, and what to request if the server rejects that.
	RedirectURI string   `json:"redirect_uri"`
	Scope       string   `json:"scope,omitempty"`
	Fallback    []string `json:"fallback_scopes,omitempty"`
	Resource    Resource `json:"resource"`
	ACRValues   string   `json:"acr_values,omitempty"`
	MaxAge      string   `json:"max_age,omitempty"`
	Forced      bool     `json:"forced,omitempty"`

	// Proofs says that tokens are requested that are bound to the record's key, and
	// ProofAlgorithms which proofs the servers take.
	Proofs          bool     `json:"proofs,omitempty"`
	ProofAlgorithms []string `json:"proof_algorithms,omitempty"`

	// How far the login has come.
	Attempts        int     `json:"attempts,omitempty"`
	Requests        int     `json:"requests,omitempty"`
	Registered      bool    `json:"just_registered,omitempty"`
	UnknownClientID string  `json:"unknown_client_id,omitempty"`
	Unknown         Unknown `json:"-"`
}
