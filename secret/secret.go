// Package secret has the type of every value that must not be shown: tokens, client secrets and
// verifiers, in [github.com/handstamp/handstamp] and wherever an application keeps one of its
// own. It encrypts nothing.
package secret

import (
	"errors"
	"fmt"
	"log/slog"
)

// String is a value that must not be shown: a token, a client secret, a verifier. Printing it
// with fmt or slog yields "[redacted]"; only [String.Reveal] returns the value. Encoding it with
// encoding/json, xml, gob or another encoder that uses a TextMarshaler or BinaryMarshaler is an
// error, so neither the value nor a placeholder gets into a file by mistake. Decoding works as
// for a string.
//
// The type cannot help where Go calls no method: in an unexported field of a struct that is
// printed whole, as the key of a map, and for the verbs %p and %w, which vet rejects. Keep it in
// exported fields, or do not print the struct.
type String string

const redacted = "[redacted]"

// ErrEncoded is the error of an encoder that meets a secret.
var ErrEncoded = errors.New("a secret is not encoded: " +
	"encode what its method Reveal returns")

// ErrPlaceholder is the error of decoding the text that is printed in place of a secret.
var ErrPlaceholder = errors.New(`"[redacted]" stands for a secret and is none: ` +
	"encode what the secret's method Reveal returns")

// IsPlaceholder reports whether s is the text that is printed in place of a secret.
func (s String) IsPlaceholder() bool { return s == redacted }

// Reveal returns the value. Each call deserves a look in a review.
func (s String) Reveal() string { return string(s) }

// String returns "[redacted]", or "" for the empty String, so that a log shows whether there is a
// secret.
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
