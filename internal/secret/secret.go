// Package secret has the type of every value that must not be seen. It is a leaf:
// the protocol, the session and the stores all use it, and it imports none of them.
package secret

import (
	"fmt"
	"log/slog"
)

// String is a value that must not be seen: a token, a client secret, a
// verifier. Printing it with fmt, slog, encoding/json or encoding.TextMarshaler
// yields "[redacted]"; only Reveal gives the value. Reading is not hindered:
// encoding/json decodes into it as into a string.
//
// The type can't help where Go asks no method: in an unexported field of a
// struct that is printed whole, as the key of a map, and for the verbs %p and
// %w, which vet rejects. Keep it in exported fields, or don't print the struct.
type String string

const redacted = "[redacted]"

// Reveal returns the value itself. Each call is a place to look at in a review.
func (s String) Reveal() string { return string(s) }

// String returns "[redacted]", or "" for the empty String, so that "no secret"
// can be told from "a secret" in a log.
func (s String) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString implements fmt.GoStringer.
func (s String) GoString() string { return fmt.Sprintf("%q", s.String()) }

// Format implements fmt.Formatter, so that no verb for strings or numbers
// reaches the bytes.
func (s String) Format(f fmt.State, verb rune) {
	if verb == 'q' || (verb == 'v' && f.Flag('#')) {
		fmt.Fprintf(f, "%q", s.String())
		return
	}
	fmt.Fprint(f, s.String())
}

// MarshalText implements encoding.TextMarshaler; encoding/json uses it too.
func (s String) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue implements slog.LogValuer.
func (s String) LogValue() slog.Value { return slog.StringValue(s.String()) }
