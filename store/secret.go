package store

import "github.com/handstamp/handstamp/internal/secret"

// Secret is a value that must not be seen: a token, a client secret, a
// verifier. Printing it with fmt or slog yields "[redacted]"; only its method
//
//	func (s Secret) Reveal() string
//
// and the record's own codec ([Encode]) give the value. Encoding a struct that holds one, with
// encoding/json, xml, gob or the like, is an error, since it would either show the secret or save
// a placeholder in its place; handstamp.Registration has RevealJSON for applications that keep
// one. Decoding works as for a string, and "[redacted]" is an error.
//
// Make one with a conversion: Secret("…"). Keep it in exported fields: fmt prints an unexported
// one without asking its methods.
type Secret = secret.String
