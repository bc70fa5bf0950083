package jose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// minRSABits is the size below which an RSA key must not sign (RFC 7518, section 3.3).
const minRSABits = 2048

// maxKeySetBytes bounds a JWK or a JWK set that is parsed.
const maxKeySetBytes = 1 << 20

// Key is a key with the members of a JWK that name it.
type Key struct {
	ID        string
	Algorithm string

	// Use is "sig", "enc", or "" for either.
	Use string

	// Certificates is the certificate chain of the key, its own first; usually there is none.
	Certificates []*x509.Certificate

	// Public is the public key. Signer is nil if only that is known.
	Public crypto.PublicKey
	Signer crypto.Signer
}

var (
	// ErrSymmetric is the error of a JWK with kty "oct".
	ErrSymmetric = errors.New("the JWK is a symmetric key (kty oct), which is a shared secret")

	// ErrInvalidJWK is the error of what is not a JWK.
	ErrInvalidJWK = errors.New("not a valid JWK")
)

// ParseKeys parses a JWK or a JWK set. Keys of a set that cannot be used are left out, as RFC
// 7517, section 5, has it; a single JWK that cannot be used is an error. No error shows any part
// of the key.
func ParseKeys(data []byte) ([]Key, error) {
	if len(data) > maxKeySetBytes {
		return nil, fmt.Errorf("%w: it is larger than %d bytes", ErrInvalidJWK, maxKeySetBytes)
	}
	var set struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("%w: it is not a JSON object", ErrInvalidJWK)
	}
	if set.Keys == nil {
		key, err := parseKey(data)
		if err != nil {
			return nil, err
		}
		return []Key{key}, nil
	}
	var keys []Key
	for _, raw := range *set.Keys {
		if key, err := parseKey(raw); err == nil {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

func parseKey(data []byte) (Key, error) {
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(data); err != nil {
		return Key{}, invalidJWK(err)
	}
	if _, symmetric := jwk.Key.([]byte); symmetric {
		return Key{}, ErrSymmetric
	}
	key := Key{ID: jwk.KeyID, Algorithm: jwk.Algorithm, Use: jwk.Use, Certificates: jwk.Certificates}
	if signer, ok := jwk.Key.(crypto.Signer); ok {
		if !isPair(signer) {
			return Key{}, fmt.Errorf("%w: its public and its private part are of two keys", ErrInvalidJWK)
		}
		key.Signer, key.Public = signer, signer.Public()
	} else {
		key.Public = jwk.Key
	}
	return key, CheckPublic(key.Public)
}

// isPair reports whether the public part that a JWK states is that of its private part. Otherwise
// no server could verify what the key signs. go-jose checks that of RSA and Ed25519 keys.
func isPair(signer crypto.Signer) bool {
	key, ok := signer.(*ecdsa.PrivateKey)
	if !ok {
		return true
	}
	private, err := key.ECDH()
	if err != nil {
		return true // a curve that is not supported, which is what the error is about
	}
	public, err := key.PublicKey.ECDH()
	return err == nil && private.PublicKey().Equal(public)
}

// invalidJWK has the reason only where go-jose words it: an error of a JSON decoder may show a
// number that it met, which may be a part of the key.
func invalidJWK(err error) error {
	if errors.Is(err, jose.ErrUnsupportedKeyType) {
		return fmt.Errorf("%w: its key type or curve is not supported", ErrInvalidJWK)
	}
	if reason, ok := strings.CutPrefix(err.Error(), "go-jose/go-jose: "); ok {
		return fmt.Errorf("%w: %s", ErrInvalidJWK, reason)
	}
	return ErrInvalidJWK
}

// MarshalPublic returns the public JWK of key.
func (k Key) MarshalPublic() ([]byte, error) { return k.marshal(k.Public) }

// MarshalPrivate returns the private JWK of key. It is an error if the private key is not in this
// process, as with a KMS.
func (k Key) MarshalPrivate() ([]byte, error) {
	switch k.Signer.(type) {
	case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
		return k.marshal(k.Signer)
	}
	return nil, errors.New("the private key is kept elsewhere and cannot be exported")
}

func (k Key) marshal(key any) ([]byte, error) {
	return jose.JSONWebKey{
		Key: key, KeyID: k.ID, Algorithm: k.Algorithm, Use: k.Use, Certificates: k.Certificates,
	}.MarshalJSON()
}

// Thumbprint returns the JWK thumbprint of a public key with SHA-256, encoded as base64url
// (RFC 7638).
func Thumbprint(public crypto.PublicKey) (string, error) {
	sum, err := (&jose.JSONWebKey{Key: public}).Thumbprint(crypto.SHA256)
	if err != nil {
		return "", errors.New("a key of this type has no JWK thumbprint")
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// certificateThumbprint is the value of x5t#S256 (RFC 7515, section 4.1.8).
func certificateThumbprint(certificate *x509.Certificate) string {
	sum := sha256.Sum256(certificate.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// CheckPublic reports whether a signature of the key may be used: it is an RSA key of 2048 bits
// or more, or a key on the curves P-256, P-384, P-521 or Ed25519.
func CheckPublic(public crypto.PublicKey) error {
	switch key := public.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits {
			return fmt.Errorf("the RSA key has %d bits: at least %d are needed", bits, minRSABits)
		}
		return nil
	case *ecdsa.PublicKey:
		if Algorithms(public) == nil {
			return fmt.Errorf("the curve %s is not supported: use P-256, P-384, P-521 or Ed25519",
				key.Params().Name)
		}
		return nil
	case ed25519.PublicKey:
		return nil
	}
	return fmt.Errorf("a key of type %T cannot sign a JWT: "+
		"use RSA, P-256, P-384, P-521 or Ed25519", public)
}

// Algorithms returns the algorithms that a key can sign with, the usual one first: of RSA keys
// RS256, which every server has, and of Ed25519 keys EdDSA rather than its new name (RFC 9864).
func Algorithms(public crypto.PublicKey) []string {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return []string{"RS256", "PS256", "RS384", "PS384", "RS512", "PS512"}
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return []string{"ES256"}
		case elliptic.P384():
			return []string{"ES384"}
		case elliptic.P521():
			return []string{"ES512"}
		}
	case ed25519.PublicKey:
		return []string{"EdDSA", "Ed25519"}
	}
	return nil
}

// MarshalKeySet returns the JWK set of JWKs.
func MarshalKeySet(jwks ...[]byte) []byte {
	return slices.Concat([]byte(`{"keys":[`), bytes.Join(jwks, []byte(",")), []byte(`]}`))
}
