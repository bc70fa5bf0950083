package lab_test

import (
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
	"math/big"
	"testing"
)

// key signs for a client.
type key struct {
	alg    string
	signer crypto.Signer
	public map[string]string // as a JWK
}

func b64(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

func unb64(t testing.TB, text string) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func newKey(t testing.TB, alg string) key {
	t.Helper()
	k := key{alg: alg}
	var err error
	switch alg {
	case "RS256", "PS256":
		var private *rsa.PrivateKey
		private, err = rsa.GenerateKey(rand.Reader, 2048)
		if err == nil {
			k.signer = private
			k.public = map[string]string{"kty": "RSA", "n": b64(private.N.Bytes()), "e": b64(big.NewInt(int64(private.E)).Bytes())}
		}
	case "ES256", "ES384":
		curve, crv, size := elliptic.P256(), "P-256", 32
		if alg == "ES384" {
			curve, crv, size = elliptic.P384(), "P-384", 48
		}
		var private *ecdsa.PrivateKey
		private, err = ecdsa.GenerateKey(curve, rand.Reader)
		if err == nil {
			point, _ := private.PublicKey.Bytes()
			k.signer = private
			k.public = map[string]string{"kty": "EC", "crv": crv, "x": b64(point[1 : 1+size]), "y": b64(point[1+size:])}
		}
	case "EdDSA":
		var public ed25519.PublicKey
		var private ed25519.PrivateKey
		public, private, err = ed25519.GenerateKey(rand.Reader)
		k.signer = private
		k.public = map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(public)}
	default:
		t.Fatalf("no key for %s", alg)
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// jwks is a set of the keys.
func jwks(t testing.TB, keys ...key) string {
	t.Helper()
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	for _, k := range keys {
		set.Keys = append(set.Keys, k.public)
	}
	return text(t, set)
}

func text(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// thumbprint is that of an EC key (RFC 7638).
func (k key) thumbprint() string {
	sum := sha256.Sum256([]byte(`{"crv":"` + k.public["crv"] + `","kty":"EC","x":"` + k.public["x"] + `","y":"` + k.public["y"] + `"}`))
	return b64(sum[:])
}

// sign makes a JWT; header is added to alg.
func (k key) sign(t testing.TB, header, claims map[string]any) string {
	t.Helper()
	full := map[string]any{"alg": k.alg}
	for name, value := range header {
		full[name] = value
	}
	signed := b64([]byte(text(t, full))) + "." + b64([]byte(text(t, claims)))
	sum, hash := sha256.Sum256([]byte(signed)), crypto.SHA256
	digest, options := sum[:], crypto.SignerOpts(hash)
	switch k.alg {
	case "PS256":
		options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	case "ES384":
		long := sha512.Sum384([]byte(signed))
		digest = long[:]
	case "EdDSA":
		digest, options = []byte(signed), crypto.Hash(0)
	}
	var signature []byte
	if private, ok := k.signer.(*ecdsa.PrivateKey); ok {
		r, s, err := ecdsa.Sign(rand.Reader, private, digest)
		if err != nil {
			t.Fatal(err)
		}
		size := (private.Params().BitSize + 7) / 8
		signature = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	} else {
		var err error
		if signature, err = k.signer.Sign(rand.Reader, digest, options); err != nil {
			t.Fatal(err)
		}
	}
	return signed + "." + b64(signature)
}

// signHS256 makes a JWT with a secret.
func signHS256(t testing.TB, secret string, claims map[string]any) string {
	t.Helper()
	signed := b64([]byte(`{"alg":"HS256"}`)) + "." + b64([]byte(text(t, claims)))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(signed))
	return signed + "." + b64(mac.Sum(nil))
}
