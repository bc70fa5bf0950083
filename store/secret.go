package store

import "github.com/handstamp/handstamp/internal/secret"

// Secret is a value that must not be seen: a token, a client secret, a
// verifier. Printing it with fmt, slog, encoding/json or encoding.TextMarshaler
// yields "[redacted]"; only its method Reveal and the record's own codec
// (Encode) give the value. Keep it in exported fields: fmt prints an unexported
// one without asking its methods.
type Secret = secret.String
