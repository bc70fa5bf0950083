package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/handstamp/handstamp/secret"
)

// ProofKey is the key of DPoP proofs (RFC 9449). It is safe for concurrent use.
type ProofKey struct {
	signer     crypto.Signer
	algorithm  string
	header     string // encoded
	thumbprint string
}

// proofAlgorithms are those that a proof key is made for, in the order of preference.
var proofAlgorithms = []string{
	"ES256", "EdDSA", "Ed25519", "ES384", "ES512",
	"PS256", "RS256", "PS384", "RS384", "PS512", "RS512",
}

// NewProofKey generates a key for the best of the algorithms that the server supports, ES256 if
// it names none.
func NewProofKey(supported []string) (*ProofKey, error) {
	algorithm := proofAlgorithms[0]
	if len(supported) > 0 {
		i := slices.IndexFunc(proofAlgorithms, func(a string) bool {
			return slices.Contains(supported, a)
		})
		if i < 0 {
			return nil, fmt.Errorf("no DPoP algorithm of the server is supported: it names %s",
				strings.Join(supported, ", "))
		}
		algorithm = proofAlgorithms[i]
	}
	signer, err := Generate(algorithm)
	if err != nil {
		return nil, err
	}
	return newProofKey(signer, algorithm)
}

// Generate generates a private key for an algorithm. RSA keys have 2048 bits.
func Generate(algorithm string) (crypto.Signer, error) {
	switch algorithm {
	case "ES256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA", "Ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case "RS256", "PS256", "RS384", "PS384", "RS512", "PS512":
		return rsa.GenerateKey(rand.Reader, minRSABits)
	}
	return nil, fmt.Errorf("no key can be made for the algorithm %q: use one of %s",
		algorithm, strings.Join(proofAlgorithms, ", "))
}

// ParseProofKey parses what [ProofKey.PrivateJWK] returned.
func ParseProofKey(jwk secret.String) (*ProofKey, error) {
	keys, err := ParseKeys([]byte(jwk.Reveal()))
	if err != nil {
		return nil, fmt.Errorf("the DPoP key: %w", err)
	}
	if len(keys) != 1 || keys[0].Signer == nil {
		return nil, errors.New("the DPoP key is not one private JWK")
	}
	key, algorithms := keys[0], Algorithms(keys[0].Public)
	if key.Algorithm == "" {
		key.Algorithm = algorithms[0]
	}
	if !slices.Contains(algorithms, key.Algorithm) {
		return nil, fmt.Errorf("the DPoP key cannot sign with %s", key.Algorithm)
	}
	return newProofKey(key.Signer, key.Algorithm)
}

func newProofKey(signer crypto.Signer, algorithm string) (*ProofKey, error) {
	thumbprint, err := Thumbprint(signer.Public())
	if err != nil {
		return nil, err
	}
	jwk, err := Key{Public: signer.Public()}.MarshalPublic()
	if err != nil {
		return nil, err
	}
	header, err := json.Marshal(struct {
		Type      string          `json:"typ"`
		Algorithm string          `json:"alg"`
		Key       json.RawMessage `json:"jwk"`
	}{"dpop+jwt", algorithm, jwk})
	if err != nil {
		return nil, err
	}
	return &ProofKey{
		signer: signer, algorithm: algorithm, thumbprint: thumbprint,
		header: base64.RawURLEncoding.EncodeToString(header),
	}, nil
}

// PrivateJWK returns the key as text for the record.
func (k *ProofKey) PrivateJWK() (secret.String, error) {
	key := Key{Algorithm: k.algorithm, Public: k.signer.Public(), Signer: k.signer}
	jwk, err := key.MarshalPrivate()
	return secret.String(jwk), err
}

// Algorithm returns the JWS algorithm of the proofs, for example "ES256".
func (k *ProofKey) Algorithm() string { return k.algorithm }

// Thumbprint returns the JWK thumbprint of the public key: the value of dpop_jkt, and of cnf.jkt
// in an access token that is bound to the key (RFC 9449, sections 6.1 and 10).
func (k *ProofKey) Thumbprint() string { return k.thumbprint }

// ProofOptions is what a proof has in addition to the request.
type ProofOptions struct {
	// AccessToken is the token that the request presents; none at the token endpoint.
	AccessToken secret.String

	// Nonce is the last one that the server of the request provided, if any.
	Nonce string

	// Now is the time of the request by the server's clock, the present if it is zero.
	Now time.Time
}

// Proof returns a fresh DPoP proof for one request (RFC 9449, section 4.2). target is the URL of
// the request; its query and its fragment do not get into the proof.
func (k *ProofKey) Proof(method, target string, o ProofOptions) (string, error) {
	htu, err := proofTarget(target)
	if err != nil {
		return "", err
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	payload := make([]byte, 0, 256)
	payload = append(payload, `{"jti":"`...)
	payload = append(payload, newID()...)
	payload = append(payload, `","htm":`...)
	payload = appendJSON(payload, method)
	payload = append(payload, `,"htu":`...)
	payload = appendJSON(payload, htu)
	payload = append(payload, `,"iat":`...)
	payload = strconv.AppendInt(payload, o.Now.Unix(), 10)
	if o.AccessToken != "" {
		sum := sha256.Sum256([]byte(o.AccessToken.Reveal()))
		payload = append(payload, `,"ath":"`...)
		payload = base64.RawURLEncoding.AppendEncode(payload, sum[:])
		payload = append(payload, '"')
	}
	if o.Nonce != "" {
		payload = append(payload, `,"nonce":`...)
		payload = appendJSON(payload, o.Nonce)
	}
	proof, err := compact(k.header, append(payload, '}'), func(input []byte) ([]byte, error) {
		return sign(k.signer, k.algorithm, input)
	})
	if err != nil {
		return "", fmt.Errorf("signing a DPoP proof: %w", err)
	}
	return proof, nil
}

// errProofTarget does not show the URL, whose query may have a secret.
var errProofTarget = errors.New("a DPoP proof needs an absolute http or https URL")

// proofTarget returns the URL for the claim htu: without user, query and fragment, normalized by
// case, default port and empty path. The path stays as it is sent: a server that normalizes does
// so to both that it compares, and one that does not compares with what it received.
func proofTarget(target string) (string, error) {
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", errProofTarget
	}
	host := strings.ToLower(u.Host)
	if port := u.Port(); port == "443" && u.Scheme == "https" || port == "80" && u.Scheme == "http" {
		host = strings.TrimSuffix(host, ":"+port)
	} else if port == "" {
		host = strings.TrimSuffix(host, ":")
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return u.Scheme + "://" + host + path, nil
}

// appendJSON appends s as a JSON string.
func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			encoded, _ := json.Marshal(s) // a string always has a JSON form
			return append(b, encoded...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
