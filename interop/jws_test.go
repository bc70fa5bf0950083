package interop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"
)

// signer signs JWTs by hand, with the standard library alone: what the servers take is to
// be known from more than the product's own code.
type signer struct {
	alg    string
	key    crypto.Signer
	secret []byte // of HS256
}

// newSigner makes a key for an algorithm.
func newSigner(t *testing.T, alg string) signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch alg {
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "RS256", "PS256":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		t.Fatalf("no such algorithm: %s", alg)
	}
	if err != nil {
		t.Fatal(err)
	}
	return signer{alg: alg, key: key}
}

func b64(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

// jwk returns the public key (RFC 7517).
func (s signer) jwk() map[string]string {
	switch key := s.key.Public().(type) {
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			panic(err)
		}
		return map[string]string{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}
	case ed25519.PublicKey:
		return map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(key)}
	case *rsa.PublicKey:
		return map[string]string{"kty": "RSA", "n": b64(key.N.Bytes()), "e": "AQAB"}
	}
	panic("no such key")
}

// jwks returns the public key as a client's set of keys.
func (s signer) jwks() map[string]any {
	key := s.jwk()
	key["alg"], key["use"], key["kid"] = s.alg, "sig", s.thumbprint()
	return map[string]any{"keys": []any{key}}
}

// thumbprint is that of RFC 7638: json.Marshal sorts the members.
func (s signer) thumbprint() string {
	raw, err := json.Marshal(s.jwk())
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(raw)
	return b64(sum[:])
}

// sign returns a JWT (RFC 7515).
func (s signer) sign(header, claims map[string]any) string {
	header = maps.Clone(header)
	header["alg"] = s.alg
	var input string
	for i, part := range []map[string]any{header, claims} {
		raw, err := json.Marshal(part)
		if err != nil {
			panic(err)
		}
		input += []string{"", "."}[i] + b64(raw)
	}
	digest := sha256.Sum256([]byte(input))
	var signature []byte
	var err error
	switch key := s.key.(type) {
	case nil:
		mac := hmac.New(sha256.New, s.secret)
		mac.Write([]byte(input))
		signature = mac.Sum(nil)
	case *ecdsa.PrivateKey:
		r, v, signErr := ecdsa.Sign(rand.Reader, key, digest[:])
		if err = signErr; err == nil {
			signature = append(r.FillBytes(make([]byte, 32)), v.FillBytes(make([]byte, 32))...)
		}
	case ed25519.PrivateKey:
		signature = ed25519.Sign(key, []byte(input))
	case *rsa.PrivateKey:
		if s.alg == "PS256" {
			signature, err = rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:],
				&rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			signature, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
		}
	}
	if err != nil {
		panic(err)
	}
	return input + "." + b64(signature)
}

// assertion authenticates a client (RFC 7523), with claims that differ; nil takes one away.
func (s signer) assertion(client string, audience any, differ map[string]any) string {
	now := time.Now().Unix()
	claims := map[string]any{"iss": client, "sub": client, "aud": audience,
		"iat": now, "exp": now + 60, "jti": rand.Text()}
	maps.Copy(claims, differ)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	header := map[string]any{}
	if s.key != nil {
		header["kid"] = s.thumbprint()
	}
	if typ, ok := claims["typ"]; ok {
		header["typ"] = typ
		delete(claims, "typ")
	}
	return s.sign(header, claims)
}

// proof is a DPoP proof (RFC 9449), with claims that differ.
func (s signer) proof(method, url string, differ map[string]any) string {
	claims := map[string]any{"htm": method, "htu": url, "iat": time.Now().Unix(), "jti": rand.Text()}
	maps.Copy(claims, differ)
	return s.sign(map[string]any{"typ": "dpop+jwt", "jwk": s.jwk()}, claims)
}

// ath is the hash of an access token in a proof.
func ath(token string) map[string]any {
	sum := sha256.Sum256([]byte(token))
	return map[string]any{"ath": b64(sum[:])}
}

// claims returns what a JWT says, which is not verified.
func claims(t *testing.T, jwt string) (claims struct {
	Aud   any
	Exp   int64
	Scope string
	Cnf   map[string]string
}) {
	t.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Fatalf("this is no JWT: it has %d parts", len(parts))
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(raw, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims
}
