package clientkey

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
)

// ErrEncoded is the error of an encoder that meets a key.
var ErrEncoded = errors.New("a client key is not encoded: encode its public part, " +
	"which its method JWK returns, or what RevealPrivateJWK returns")

// RevealPrivateJWK returns the private key as a JWK, for a file that only its user can read. It
// is an error if the key is in a KMS or an HSM.
func (k Key) RevealPrivateJWK() ([]byte, error) {
	jwk := k.published()
	jwk.Signer = k.signer
	data, err := jwk.MarshalPrivate()
	if err != nil {
		return nil, fmt.Errorf("client key: %w", err)
	}
	return data, nil
}

// RevealPrivatePEM returns the private key as PEM (PKCS #8), which has neither key ID nor
// algorithm. It is an error if the key is in a KMS or an HSM.
func (k Key) RevealPrivatePEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.signer)
	if err != nil {
		return nil, errors.New("client key: the private key is kept elsewhere and cannot be exported")
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// String returns algorithm and key ID.
func (k Key) String() string {
	if k.key == nil {
		return ""
	}
	return k.algorithm + " key " + k.id
}

// GoString implements [fmt.GoStringer].
func (k Key) GoString() string { return fmt.Sprintf("clientkey.Key(%q)", k.String()) }

// Format implements [fmt.Formatter], so that no verb reaches the private key.
func (k Key) Format(f fmt.State, verb rune) {
	switch {
	case verb == 'v' && f.Flag('#'):
		fmt.Fprint(f, k.GoString())
	case verb == 'q':
		fmt.Fprintf(f, "%q", k.String())
	default:
		fmt.Fprint(f, k.String())
	}
}

// LogValue implements [slog.LogValuer].
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText implements [encoding.TextMarshaler], which encoding/json and encoding/xml use: it
// fails with [ErrEncoded], so that neither the private key nor a part of it gets into a file.
func (k Key) MarshalText() ([]byte, error) { return nil, ErrEncoded }

// MarshalBinary implements [encoding.BinaryMarshaler], which encoding/gob uses, like MarshalText.
func (k Key) MarshalBinary() ([]byte, error) { return nil, ErrEncoded }
