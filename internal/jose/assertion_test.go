package jose

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/secret"
)

// clientKey is a ClientKey without package clientkey, which imports this one.
type clientKey struct {
	crypto.Signer
	id          string
	certificate *x509.Certificate
}

func (k clientKey) ID() string                     { return k.id }
func (k clientKey) Certificate() *x509.Certificate { return k.certificate }

var claims = AssertionClaims{ClientID: "https://app.example/client.json", Audience: "https://as.example"}

func TestAssertionClaimsTheClient(t *testing.T) {
	key := clientKey{Signer: generate(t, "ES256"), id: "key 1"}
	token, err := Assertion(key, "ES256", claims, noon)
	if err != nil {
		t.Fatal(err)
	}
	header, got := verified(t, token.Reveal(), "ES256", key.Public())
	for name, want := range map[string]any{
		"iss": claims.ClientID, "sub": claims.ClientID, "aud": "https://as.example",
		"iat": float64(noon.Unix()), "exp": float64(noon.Unix() + 60), "nbf": nil,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if want := fmt.Sprint(map[string]any{"alg": "ES256", "kid": "key 1", "typ": "client-authentication+jwt"}); fmt.Sprint(header) != want {
		t.Errorf("header %v, want %s", header, want)
	}
	if id, _ := got["jti"].(string); len(id) != 22 {
		t.Errorf("jti %q", id)
	}
}

func TestAssertionIsFreshEachTime(t *testing.T) {
	key, seen := clientKey{Signer: generate(t, "EdDSA")}, make(map[any]bool)
	for range 1000 {
		token, err := Assertion(key, "EdDSA", claims, noon)
		if err != nil {
			t.Fatal(err)
		}
		_, got := verified(t, token.Reveal(), "EdDSA", key.Public())
		if seen[got["jti"]] {
			t.Fatalf("jti %v is used twice", got["jti"])
		}
		seen[got["jti"]] = true
	}
}

func TestAssertionOptions(t *testing.T) {
	signer := generate(t, "PS256")
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	key, c := clientKey{signer, "k", certificate}, claims
	c.Type, c.Lifetime = TypeJWT, 5*time.Minute
	token, err := Assertion(key, "PS256", c, noon)
	if err != nil {
		t.Fatal(err)
	}
	header, got := verified(t, token.Reveal(), "PS256", key.Public())
	sum := sha256.Sum256(der)
	if header["typ"] != "JWT" || got["exp"] != float64(noon.Unix()+300) ||
		header["x5t#S256"] != base64.RawURLEncoding.EncodeToString(sum[:]) {
		t.Errorf("header %v, claims %v", header, got)
	}
	for name, c := range map[string]AssertionClaims{
		"too long":    {ClientID: "c", Audience: "a", Lifetime: 5*time.Minute + 1},
		"negative":    {ClientID: "c", Audience: "a", Lifetime: -time.Second},
		"no client":   {Audience: "a"},
		"no audience": {ClientID: "c"},
	} {
		if _, err := Assertion(key, "PS256", c, noon); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := Assertion(key, "ES256", claims, noon); err == nil || !strings.Contains(err.Error(), "ES256") {
		t.Errorf("an algorithm of another key: %v", err)
	}
}

func TestSecretAssertion(t *testing.T) {
	for _, algorithm := range secretAlgorithms {
		// go-jose rejects a secret shorter than the hash, so that it verifies only the long one.
		for _, key := range []secret.String{"short", secret.String(strings.Repeat("s", 64))} {
			token, err := SecretAssertion(key, algorithm, claims, noon)
			if err != nil {
				t.Fatal(err)
			}
			input := token.Reveal()[:strings.LastIndexByte(token.Reveal(), '.')]
			mac := hmac.New(hashOf(algorithm).New, []byte(key.Reveal()))
			mac.Write([]byte(input))
			if want := input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)); token.Reveal() != want {
				t.Errorf("%s: %s, want %s", algorithm, token.Reveal(), want)
			}
			if len(key) == 64 {
				header, got := verified(t, token.Reveal(), algorithm, []byte(key.Reveal()))
				if header["typ"] != TypeClientAuthentication || header["kid"] != nil || got["iss"] != claims.ClientID {
					t.Errorf("%s: header %v, claims %v", algorithm, header, got)
				}
			}
		}
	}
	for name, try := range map[string]func() (secret.String, error){
		"no secret": func() (secret.String, error) { return SecretAssertion("", "HS256", claims, noon) },
		"RS256":     func() (secret.String, error) { return SecretAssertion("s", "RS256", claims, noon) },
		"none":      func() (secret.String, error) { return SecretAssertion("s", "none", claims, noon) },
	} {
		if _, err := try(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// RFC 7515, appendix A.1.
func TestSecretSignatureIsThatOfTheRFC(t *testing.T) {
	key := decode(t, "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
	token, err := compact("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", decode(t, rfc7515Payload), func(input []byte) ([]byte, error) {
		return signSecret(secret.String(key), "HS256", input), nil
	})
	if want := "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"; err != nil || !strings.HasSuffix(token, "."+want) {
		t.Errorf("%s, %v", token, err)
	}
}

func TestSecretAlgorithm(t *testing.T) {
	for supported, want := range map[string]string{
		"": "HS256", "RS256 HS512 HS256": "HS256", "HS512 HS384": "HS384", "RS256 ES256": "",
	} {
		got, err := SecretAlgorithm(strings.Fields(supported))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("of %q: %q, %v", supported, got, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "ES256") || !strings.Contains(err.Error(), "HS256")) {
			t.Errorf("the error does not name both sides: %v", err)
		}
	}
}
