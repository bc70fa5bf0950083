// Package clientkey has the private key with which an OAuth client authenticates itself: the
// token endpoint auth method private_key_jwt (RFC 7523, section 2.2; OpenID Connect Core, section
// 9). The key is in a file, as PEM or JWK ([Parse]), or wherever a [crypto.Signer] reaches: in a
// KMS, an HSM, a TPM ([New]). The server gets its public part, as [Key.JWKS] returns it.
package clientkey

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/internal/jose"
)

// Options has what names a key and how it signs. The zero value is fine.
type Options struct {
	// ID is the key ID (kid) by which the server finds the key. It is the one of the JWK if it is
	// empty, else the JWK thumbprint (RFC 7638). Of a JWK set with several private keys, it is
	// the one to use.
	ID string

	// Algorithm is the JWS algorithm to sign with: RS256, RS384, RS512, PS256, PS384 or PS512 with
	// an RSA key, ES256 with P-256, ES384 with P-384, ES512 with P-521, EdDSA (or Ed25519, as RFC
	// 9864 has it) with Ed25519. If it is empty it is the one of the JWK; else an RSA key signs
	// with RS256, or with what the server supports ([Key.AlgorithmFor]).
	Algorithm string

	// Certificate is the key's certificate, for servers that find the key by it: the header of
	// an assertion has its SHA-256 thumbprint (x5t#S256), as Microsoft Entra ID needs it.
	Certificate *x509.Certificate
}

// Key is a private key with which a client authenticates itself. It implements [crypto.Signer].
// Printing it, or encoding it, shows nothing of the private key. It is safe for concurrent use.
type Key struct {
	// A pointer, so that fmt prints nothing of it even where it calls no methods.
	*key
}

type key struct {
	signer      crypto.Signer
	public      crypto.PublicKey
	id          string
	algorithm   string
	fixed       bool // algorithm was chosen by the user or the JWK
	certificate *x509.Certificate
	jwk         []byte
}

// New returns the key that signer holds. The signer is called with [crypto/rand.Reader], by
// several goroutines at once. It is an error if the key is of another kind than those that
// [Options] lists, an RSA key of less than 2048 bits, or one that does not fit the options.
func New(signer crypto.Signer, options Options) (*Key, error) {
	if signer == nil {
		return nil, errors.New("client key: there is no signer")
	}
	k, err := newKey(signer, options)
	if err != nil {
		return nil, fmt.Errorf("client key: %w", err)
	}
	return k, nil
}

// Generate generates a key for an algorithm (see [Options]), ES256 if it is empty. RSA keys have
// 2048 bits.
func Generate(algorithm string) (*Key, error) {
	if algorithm == "" {
		algorithm = "ES256"
	}
	signer, err := jose.Generate(algorithm)
	if err != nil {
		return nil, fmt.Errorf("client key: %w", err)
	}
	return New(signer, Options{Algorithm: algorithm})
}

func newKey(signer crypto.Signer, options Options) (*Key, error) {
	k := &key{
		signer: signer, public: signer.Public(), id: options.ID,
		algorithm: options.Algorithm, fixed: options.Algorithm != "", certificate: options.Certificate,
	}
	if err := jose.CheckPublic(k.public); err != nil {
		return nil, err
	}
	algorithms := jose.Algorithms(k.public)
	if !k.fixed {
		k.algorithm = algorithms[0]
	}
	if !slices.Contains(algorithms, k.algorithm) {
		return nil, fmt.Errorf("%s cannot sign with %q: use %s",
			describe(k.public), k.algorithm, strings.Join(algorithms, " or "))
	}
	if k.certificate != nil && !certifies(k.certificate, k.public) {
		return nil, errors.New("the certificate is for another key")
	}
	var err error
	if k.id == "" {
		if k.id, err = jose.Thumbprint(k.public); err != nil {
			return nil, err
		}
	}
	k.jwk, err = k.published().MarshalPublic()
	return &Key{k}, err
}

func certifies(certificate *x509.Certificate, public crypto.PublicKey) bool {
	certified, ok := certificate.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	return ok && certified.Equal(public)
}

// published is the key as the server learns it. An algorithm that was not chosen may differ from
// server to server, so it is not in it.
func (k *key) published() jose.Key {
	jwk := jose.Key{ID: k.id, Use: "sig", Public: k.public}
	if k.fixed || len(jose.Algorithms(k.public)) == 1 {
		jwk.Algorithm = k.algorithm
	}
	if k.certificate != nil {
		jwk.Certificates = []*x509.Certificate{k.certificate}
	}
	return jwk
}

// ID returns the key ID (kid).
func (k Key) ID() string { return k.id }

// Algorithm returns the JWS algorithm of the key, for example "ES256".
func (k Key) Algorithm() string { return k.algorithm }

// Certificate returns the certificate of the key, nil if it has none.
func (k Key) Certificate() *x509.Certificate { return k.certificate }

// AlgorithmFor returns the algorithm to sign with for a server that supports these, as its
// metadata lists them in token_endpoint_auth_signing_alg_values_supported (RFC 8414, section 2).
// It is the key's own if the server lists it, or lists none. An RSA key for which no algorithm was
// chosen signs with any of RS256 to RS512 and PS256 to PS512.
func (k Key) AlgorithmFor(supported []string) (string, error) {
	candidates := jose.Algorithms(k.public)
	if k.fixed {
		candidates = []string{k.algorithm}
	}
	if len(supported) == 0 {
		return k.algorithm, nil
	}
	for _, algorithm := range candidates {
		if slices.Contains(supported, algorithm) {
			return algorithm, nil
		}
	}
	return "", fmt.Errorf("the client key signs with %s, the authorization server supports %s",
		strings.Join(candidates, " or "), strings.Join(supported, ", "))
}

// JWK returns the public key as a JWK (RFC 7517), with kid, use and, if it is only one, alg.
func (k Key) JWK() []byte { return slices.Clone(k.jwk) }

// JWKS returns the JWK set of the public key: the value of jwks in the client's registration or
// metadata document, and what is served at its jwks_uri.
func (k Key) JWKS() []byte { return jose.MarshalKeySet(k.jwk) }

// Public returns the public key.
func (k Key) Public() crypto.PublicKey { return k.public }

// Sign implements [crypto.Signer].
func (k Key) Sign(rand io.Reader, digest []byte, options crypto.SignerOpts) ([]byte, error) {
	return k.signer.Sign(rand, digest, options)
}

// describe names the kind of a key.
func describe(public crypto.PublicKey) string {
	switch jose.Algorithms(public)[0] {
	case "ES256":
		return "a P-256 key"
	case "ES384":
		return "a P-384 key"
	case "ES512":
		return "a P-521 key"
	case "EdDSA":
		return "an Ed25519 key"
	}
	return "an RSA key"
}
