package lab

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// The algorithms of RFC 7518 and RFC 8037 that the servers know.
const (
	AlgRS256 = "RS256"
	AlgPS256 = "PS256"
	AlgES256 = "ES256"
	AlgES384 = "ES384"
	AlgEdDSA = "EdDSA"
	// AlgEd25519 is the same with the name of RFC 9864; it is taken only where a habit lists it.
	AlgEd25519 = "Ed25519"
	AlgHS256   = "HS256"
)

// publicAlgorithms are those with a public key.
var publicAlgorithms = []string{AlgES256, AlgRS256, AlgPS256, AlgES384, AlgEdDSA}

// jwt is a JSON Web Token (RFC 7519) in the compact form of RFC 7515, parsed and not verified.
type jwt struct {
	header    jwtHeader
	claims    map[string]any
	signed    string // what the signature is of
	signature []byte
}

type jwtHeader struct {
	Alg  string          `json:"alg"`
	Typ  string          `json:"typ,omitempty"`
	Kid  string          `json:"kid,omitempty"`
	JWK  json.RawMessage `json:"jwk,omitempty"`
	Crit []string        `json:"crit,omitempty"`
}

func parseJWT(text string) (*jwt, error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, errors.New("not three parts")
	}
	var raw [3][]byte
	for i, part := range parts {
		var err error
		if raw[i], err = base64.RawURLEncoding.Strict().DecodeString(part); err != nil {
			return nil, errors.New("not base64url")
		}
	}
	t := &jwt{signed: parts[0] + "." + parts[1], signature: raw[2]}
	if json.Unmarshal(raw[0], &t.header) != nil || json.Unmarshal(raw[1], &t.claims) != nil {
		return nil, errors.New("header or claims are not JSON objects")
	}
	if t.header.Crit != nil {
		return nil, errors.New("critical headers are not known") // RFC 7515 section 4.1.11
	}
	return t, nil
}

// text returns a claim that is a string.
func (t *jwt) text(name string) string {
	s, _ := t.claims[name].(string)
	return s
}

// number returns a claim that is a NumericDate (RFC 7519 section 2).
func (t *jwt) number(name string) (float64, bool) {
	n, ok := t.claims[name].(float64)
	return n, ok
}

// jwk is a public key (RFC 7517, RFC 7518 section 6, RFC 8037 section 2).
type jwk struct {
	Kty string   `json:"kty"`
	Crv string   `json:"crv,omitempty"`
	X   string   `json:"x,omitempty"`
	Y   string   `json:"y,omitempty"`
	N   string   `json:"n,omitempty"`
	E   string   `json:"e,omitempty"`
	D   string   `json:"d,omitempty"` // never in a public key
	K   string   `json:"k,omitempty"` // likewise
	Kid string   `json:"kid,omitempty"`
	Alg string   `json:"alg,omitempty"`
	Use string   `json:"use,omitempty"`
	X5C []string `json:"x5c,omitempty"`
	X5T string   `json:"x5t#S256,omitempty"`
}

func decodeInt(text string) *big.Int {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return new(big.Int)
	}
	return new(big.Int).SetBytes(raw)
}

// curve returns a curve by its name in RFC 7518, section 6.2.1.1, nil for one that no algorithm here uses.
func curve(name string) elliptic.Curve {
	switch name {
	case "P-256":
		return elliptic.P256()
	case "P-384":
		return elliptic.P384()
	}
	return nil
}

// public returns the key for crypto.
func (k jwk) public() (crypto.PublicKey, error) {
	if k.D != "" || k.K != "" {
		return nil, errors.New("the key is not a public one")
	}
	switch k.Kty {
	case "RSA":
		n, e := decodeInt(k.N), decodeInt(k.E)
		if n.BitLen() < 2048 || !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 {
			return nil, errors.New("the RSA key is too short or its exponent is not usable")
		}
		return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
	case "EC":
		curve := curve(k.Crv)
		if curve == nil {
			return nil, fmt.Errorf("curve %q is not known", k.Crv)
		}
		return parsePoint(curve, k.X, k.Y)
	case "OKP":
		raw, err := base64.RawURLEncoding.DecodeString(k.X)
		if err != nil || k.Crv != "Ed25519" || len(raw) != ed25519.PublicKeySize {
			return nil, errors.New("not an Ed25519 key")
		}
		return ed25519.PublicKey(raw), nil
	}
	return nil, fmt.Errorf("keys of type %q are not known", k.Kty)
}

// parsePoint reads the coordinates of an EC key, which have the curve's full length (RFC 7518
// section 6.2.1.2).
func parsePoint(curve elliptic.Curve, x, y string) (crypto.PublicKey, error) {
	rawX, errX := base64.RawURLEncoding.DecodeString(x)
	rawY, errY := base64.RawURLEncoding.DecodeString(y)
	size := (curve.Params().BitSize + 7) / 8
	if errX != nil || errY != nil || len(rawX) != size || len(rawY) != size {
		return nil, errors.New("coordinates of the wrong length")
	}
	return ecdsa.ParseUncompressedPublicKey(curve, bytes.Join([][]byte{{4}, rawX, rawY}, nil))
}

// thumbprint is the key's hash (RFC 7638).
func (k jwk) thumbprint() string {
	var text string
	switch k.Kty {
	case "RSA":
		text = fmt.Sprintf(`{"e":%q,"kty":"RSA","n":%q}`, k.E, k.N)
	case "EC":
		text = fmt.Sprintf(`{"crv":%q,"kty":"EC","x":%q,"y":%q}`, k.Crv, k.X, k.Y)
	default:
		text = fmt.Sprintf(`{"crv":%q,"kty":"OKP","x":%q}`, k.Crv, k.X)
	}
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// verify checks the signature with a public key; the algorithm must be one for such a key.
func (t *jwt) verify(k jwk) error {
	public, err := k.public()
	if err != nil {
		return err
	}
	if k.Alg != "" && k.Alg != t.header.Alg {
		return fmt.Errorf("the key is for %s", k.Alg)
	}
	if k.Use != "" && k.Use != "sig" {
		return errors.New("the key is not for signatures")
	}
	if !verifySignature(public, t.header.Alg, []byte(t.signed), t.signature) {
		return errors.New("the signature does not match")
	}
	return nil
}

func verifySignature(public crypto.PublicKey, alg string, signed, signature []byte) bool {
	sum := sha256.Sum256(signed)
	switch key := public.(type) {
	case *rsa.PublicKey:
		switch alg {
		case AlgRS256:
			return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
		case AlgPS256: // RFC 7518 section 3.5: a salt as long as the hash
			options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
			return rsa.VerifyPSS(key, crypto.SHA256, sum[:], signature, options) == nil
		}
	case *ecdsa.PublicKey:
		switch {
		case alg == AlgES256 && key.Curve == elliptic.P256():
			return verifyEC(key, sum[:], signature)
		case alg == AlgES384 && key.Curve == elliptic.P384():
			long := sha512.Sum384(signed)
			return verifyEC(key, long[:], signature)
		}
	case ed25519.PublicKey:
		return (alg == AlgEdDSA || alg == AlgEd25519) && ed25519.Verify(key, signed, signature)
	}
	return false
}

// verifyEC checks R and S, one behind the other (RFC 7518 section 3.4).
func verifyEC(key *ecdsa.PublicKey, sum, signature []byte) bool {
	size := (key.Curve.Params().BitSize + 7) / 8
	if len(signature) != 2*size {
		return false
	}
	r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
	return ecdsa.Verify(key, sum, r, s)
}

// verifySecret checks an HS256 signature.
func (t *jwt) verifySecret(secret string) error {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(t.signed))
	if t.header.Alg != AlgHS256 || secret == "" || !hmac.Equal(mac.Sum(nil), t.signature) {
		return errors.New("the signature does not match")
	}
	return nil
}

// verifySet checks the signature with the key of a set that the token names, or with each if it
// names none.
func (t *jwt) verifySet(set []jwk) error {
	err := errors.New("no key of the set fits")
	for _, k := range set {
		if t.header.Kid != "" && k.Kid != t.header.Kid {
			continue
		}
		if err = t.verify(k); err == nil {
			return nil
		}
	}
	return err
}

// parseJWKS reads a JWK set (RFC 7517 section 5).
func parseJWKS(raw []byte) ([]jwk, error) {
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := json.Unmarshal(raw, &set); err != nil {
		return nil, errors.New("not a JWK set")
	}
	return set.Keys, nil
}

// encodeJSON is the base64url encoding of a value as JSON.
func encodeJSON(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// signRS256 makes a token.
func signRS256(key *rsa.PrivateKey, header jwtHeader, claims map[string]any) string {
	header.Alg = AlgRS256
	text := encodeJSON(header) + "." + encodeJSON(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err) // the key is ours
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// rsaJWK is the public key of key.
func rsaJWK(key *rsa.PrivateKey) jwk {
	k := jwk{
		Kty: "RSA", Alg: AlgRS256, Use: "sig",
		N: base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
		E: base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	}
	k.Kid = k.thumbprint()
	return k
}
