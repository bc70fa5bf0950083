// Package secret has the type of every value that must not be seen: tokens, client secrets and
// verifiers, in [github.com/handstamp/handstamp] and wherever an application keeps one of its own.
package secret

import (
	"errors"
	"fmt"
	"log/slog"
)

// String is a value that must not be seen: a token, a client secret, a
// verifier. Printing it with fmt or slog yields "[redacted]"; only Reveal gives the
// value. Encoding it (encoding/json, xml, gob and whatever else asks for a TextMarshaler or
// BinaryMarshaler) is an error: neither the value nor a placeholder in its place gets
// into a file unasked. Reading is not hindered: encoding/json decodes into it as into a string.
//
// The type can't help where Go asks no method: in an unexported field of a
// struct that is printed whole, as the key of a map, and for the verbs %p and
// %w, which vet rejects. Keep it in exported fields, or don't print the struct.
type String string

const redacted = "[redacted]"

// ErrEncoded is the error of an encoder that meets a secret.
var ErrEncoded = errors.New("a secret is not encoded unasked: " +
	"encode what its method Reveal returns")

// ErrPlaceholder is the error of reading what was printed, rather than encoded, as a secret.
var ErrPlaceholder = errors.New(`"[redacted]" stands for a secret and is none: ` +
	"encode what the secret's method Reveal returns")

// IsPlaceholder reports whether s is what is printed in place of a secret, and so cannot be one.
func (s String) IsPlaceholder() bool { return s == redacted }

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

// MarshalText implements encoding.TextMarshaler, which encoding/json, encoding/xml and most
// other encoders use: it fails with ErrEncoded, unless s is empty.
func (s String) MarshalText() ([]byte, error) {
	if s != "" {
		return nil, ErrEncoded
	}
	return []byte{}, nil
}

// UnmarshalText implements encoding.TextUnmarshaler. It fails with ErrPlaceholder if text is what
// a secret prints as.
func (s *String) UnmarshalText(text []byte) error {
	if read := String(text); !read.IsPlaceholder() {
		*s = read
		return nil
	}
	return ErrPlaceholder
}

// MarshalBinary implements encoding.BinaryMarshaler, which encoding/gob uses, like MarshalText.
func (s String) MarshalBinary() ([]byte, error) { return s.MarshalText() }

// UnmarshalBinary implements encoding.BinaryUnmarshaler, like UnmarshalText.
func (s *String) UnmarshalBinary(data []byte) error { return s.UnmarshalText(data) }

// LogValue implements slog.LogValuer.
func (s String) LogValue() slog.Value { return slog.StringValue(s.String()) }
