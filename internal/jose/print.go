package jose

import (
	"fmt"

	"github.com/handstamp/handstamp/secret"
)

// Format implements fmt.Formatter: it prints the key ID, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "key %q", k.ID) }

// MarshalText implements encoding.TextMarshaler: an encoder fails with secret.ErrEncoded.
func (k Key) MarshalText() ([]byte, error) { return nil, secret.ErrEncoded }

// Format implements fmt.Formatter: it prints the thumbprint, whatever the verb.
func (k ProofKey) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "DPoP key %s", k.thumbprint) }

// MarshalText implements encoding.TextMarshaler: an encoder fails with secret.ErrEncoded.
func (k ProofKey) MarshalText() ([]byte, error) { return nil, secret.ErrEncoded }
