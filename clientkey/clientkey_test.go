package clientkey_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"io"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/internal/jose"
)

func generate(t testing.TB, algorithm string) *clientkey.Key {
	t.Helper()
	key, err := clientkey.Generate(algorithm)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// kms is a signer whose private key is elsewhere.
type kms struct{ signer crypto.Signer }

func (k kms) Public() crypto.PublicKey { return k.signer.Public() }

func (k kms) Sign(rand io.Reader, digest []byte, options crypto.SignerOpts) ([]byte, error) {
	return k.signer.Sign(rand, digest, options)
}

// mute is a signer without a public key, as one that could not reach its KMS.
type mute struct{ kms }

func (mute) Public() crypto.PublicKey { return nil }

func TestAlgorithmFollowsTheKey(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		signer       crypto.Signer
		asked, want  string
		errorNames   []string
		alternatives string
	}{
		{signer: rsaKey(), want: "RS256"},
		{signer: rsaKey(), asked: "PS512", want: "PS512"},
		{signer: rsaKey(), asked: "ES256", errorNames: []string{"an RSA key", `"ES256"`, "RS256", "PS256"}},
		{signer: ecKey(t, elliptic.P256()), want: "ES256"},
		{signer: ecKey(t, elliptic.P384()), want: "ES384"},
		{signer: ecKey(t, elliptic.P521()), want: "ES512"},
		{signer: ecKey(t, elliptic.P256()), asked: "ES384", errorNames: []string{"a P-256 key", `"ES384"`, "use ES256"}},
		{signer: ecKey(t, elliptic.P256()), asked: "HS256", errorNames: []string{"a P-256 key", `"HS256"`}},
		{signer: ecKey(t, elliptic.P521()), asked: "RS256", errorNames: []string{"a P-521 key"}},
		{signer: ed, want: "EdDSA"},
		{signer: ed, asked: "Ed25519", want: "Ed25519"},
		{signer: ed, asked: "none", errorNames: []string{"an Ed25519 key"}},
		{signer: kms{ecKey(t, elliptic.P384())}, want: "ES384"},
		{signer: nil, errorNames: []string{"no signer"}},
		{signer: mute{}, errorNames: []string{"cannot sign"}},
		{signer: ecKey(t, elliptic.P224()), errorNames: []string{"P-224"}},
	} {
		key, err := clientkey.New(c.signer, clientkey.Options{Algorithm: c.asked})
		if c.want != "" && (err != nil || key.Algorithm() != c.want) {
			t.Errorf("%T with %q: %v, %v, want %s", c.signer, c.asked, key, err, c.want)
		}
		if c.want == "" && err == nil {
			t.Errorf("%T with %q: %v, want an error", c.signer, c.asked, key)
		}
		for _, name := range c.errorNames {
			if err != nil && !strings.Contains(err.Error(), name) {
				t.Errorf("the error does not name %s: %v", name, err)
			}
		}
	}
}

func TestAlgorithmForTheServer(t *testing.T) {
	for _, c := range []struct{ made, supported, want string }{
		{"RS256", "", "RS256"},
		{"RS256", "ES256 RS256", "RS256"},
		{"RS256", "PS256", ""}, // chosen by the user
		{"ES256", "RS256 PS256", ""},
		{"EdDSA", "Ed25519", ""},
		{"any RSA", "", "RS256"},
		{"any RSA", "PS512 PS256 ES256", "PS256"},
		{"any RSA", "RS512", "RS512"},
		{"any RSA", "ES256 HS256", ""},
		{"any Ed25519", "Ed25519", "Ed25519"},
		{"any Ed25519", "EdDSA Ed25519", "EdDSA"},
	} {
		key := generateAny(t, c.made)
		got, err := key.AlgorithmFor(strings.Fields(c.supported))
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s for %q: %q, %v, want %q", c.made, c.supported, got, err, c.want)
		}
		if err != nil && (!strings.Contains(err.Error(), key.Algorithm()) ||
			!strings.Contains(err.Error(), strings.Fields(c.supported)[0])) {
			t.Errorf("the error does not name both sides: %v", err)
		}
	}
}

func generateAny(t *testing.T, kind string) *clientkey.Key {
	t.Helper()
	var signer crypto.Signer = rsaKey()
	switch kind {
	case "any RSA":
	case "any Ed25519":
		_, ed, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		signer = ed
	default:
		return generate(t, kind)
	}
	key, err := clientkey.New(signer, clientkey.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestGenerate(t *testing.T) {
	for asked, want := range map[string]string{"": "ES256", "RS256": "RS256", "PS384": "PS384", "ES512": "ES512", "EdDSA": "EdDSA"} {
		if key := generate(t, asked); key.Algorithm() != want || len(key.ID()) != 43 {
			t.Errorf("%q: %v", asked, key)
		}
	}
	if _, err := clientkey.Generate("HS256"); err == nil || !strings.Contains(err.Error(), "HS256") {
		t.Errorf("HS256: %v", err)
	}
}

func TestWeakRSAKeyIsRejected(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := clientkey.New(weak, clientkey.Options{}); err == nil || !strings.Contains(err.Error(), "1024 bits") {
		t.Errorf("%v", err)
	}
}

// What the server gets has kid, use and algorithm, and nothing private.
func TestPublishedKey(t *testing.T) {
	for _, c := range []struct {
		key *clientkey.Key
		alg any
	}{
		{generate(t, "ES256"), "ES256"},
		{generate(t, "PS256"), "PS256"},
		{generateAny(t, "any RSA"), nil}, // signs with what the server supports
	} {
		var set struct{ Keys []map[string]any }
		if err := json.Unmarshal(c.key.JWKS(), &set); err != nil || len(set.Keys) != 1 {
			t.Fatalf("%s: %v", c.key.JWKS(), err)
		}
		jwk := set.Keys[0]
		if jwk["kid"] != c.key.ID() || jwk["use"] != "sig" || jwk["alg"] != c.alg {
			t.Errorf("%v: %s", c.key, c.key.JWK())
		}
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi"} {
			if jwk[private] != nil {
				t.Errorf("%v: the published key has %s", c.key, private)
			}
		}
		if !bytes.Contains(c.key.JWKS(), c.key.JWK()) {
			t.Error("the set has not the key")
		}
		c.key.JWK()[0] = 'x'
		if c.key.JWK()[0] == 'x' {
			t.Error("a caller can change the key")
		}
	}
}

func TestCertificateNamesTheKey(t *testing.T) {
	signer := ecKey(t, elliptic.P256())
	certificate := certify(t, signer)
	key, err := clientkey.New(signer, clientkey.Options{Certificate: certificate})
	if err != nil || key.Certificate() != certificate || !bytes.Contains(key.JWK(), []byte(`"x5c":["`)) {
		t.Fatalf("%v, %v", key, err)
	}
	_, err = clientkey.New(ecKey(t, elliptic.P256()), clientkey.Options{Certificate: certificate})
	if err == nil || !strings.Contains(err.Error(), "certificate is for another key") {
		t.Errorf("another key: %v", err)
	}
}

func certify(t testing.TB, signer crypto.Signer) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// A key that cannot be exported signs as well as one that can, in many goroutines at once.
func TestKeyOfAKMSSigns(t *testing.T) {
	for _, signer := range []crypto.Signer{rsaKey(), ecKey(t, elliptic.P256()), ecKey(t, elliptic.P521())} {
		key, err := clientkey.New(kms{signer}, clientkey.Options{ID: "hsm/1"})
		if err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() { authenticate(t, key, signer.Public()) })
		}
		group.Wait()
		_, err = key.RevealPrivateJWK()
		_, errPEM := key.RevealPrivatePEM()
		if err == nil || errPEM == nil || !strings.Contains(err.Error(), "cannot be exported") {
			t.Errorf("the private key of a KMS: %v, %v", err, errPEM)
		}
	}
}

// authenticate has key sign an assertion, which a server with the key's JWK set verifies.
func authenticate(t *testing.T, key *clientkey.Key, public crypto.PublicKey) {
	t.Helper()
	claims := jose.AssertionClaims{ClientID: "client", Audience: "https://as.example", Type: jose.TypeJWT}
	token, err := jose.Assertion(key, key.Algorithm(), claims, now())
	if err != nil {
		t.Error(err)
		return
	}
	got, err := jose.VerifyIDToken(token.Reveal(), key.JWKS(), jose.Expected{Issuer: "client", ClientID: "https://as.example", Now: now()})
	if err != nil || got.Subject != "client" {
		t.Errorf("%v: %+v, %v", key, got, err)
	}
	if !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(public) {
		t.Error("the key has another public key")
	}
}
