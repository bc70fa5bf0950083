package jose

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestThumbprintsAreThoseOfTheRFCs(t *testing.T) {
	for _, c := range []struct{ section, jwk, thumbprint string }{
		{"RFC 7638, section 3.1", `{"kty":"RSA","e":"AQAB","alg":"RS256","kid":"2011-04-29","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}`,
			"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
		{"RFC 8037, appendix A.3", rfc8037Ed, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},
		{"RFC 9449, section 6.1", rfc9449Key, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},
	} {
		if got, err := Thumbprint(parse(t, c.jwk).Public); err != nil || got != c.thumbprint {
			t.Errorf("%s: %s, %v", c.section, got, err)
		}
	}
	if _, err := Thumbprint("no key"); err == nil {
		t.Error("what is no key has a thumbprint")
	}
}

func TestParseKeys(t *testing.T) {
	set := `{"keys":[` + rfc7515RSA + `,{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"},{"kty":"oct","k":"AA"},7,` +
		`{"kty":"OKP","crv":"X25519","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"},` + rfc8037Ed + `]}`
	keys, err := ParseKeys([]byte(set))
	if err != nil || len(keys) != 2 || Algorithms(keys[0].Public)[0] != "RS256" || Algorithms(keys[1].Public)[0] != "EdDSA" {
		t.Errorf("of a set with two usable keys: %d keys, %v", len(keys), err)
	}
	if keys, err := ParseKeys([]byte(`{"keys":[]}`)); err != nil || len(keys) != 0 {
		t.Errorf("an empty set: %d keys, %v", len(keys), err)
	}
	secret := "c4n4ry"
	for name, data := range map[string]string{
		"nothing":            "",
		"null":               "null",
		"array":              "[]",
		"no type":            `{"d":"` + secret + `"}`,
		"a number as key":    `{"kty":"EC","crv":"P-256","d":31337}`,
		"unsupported curve":  `{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA","d":"` + secret + `"}`,
		"point not on curve": `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"}`,
		"cut":                rfc7515RSA[:len(rfc7515RSA)-9],
		"too large":          `{"kty":"` + strings.Repeat("x", maxKeySetBytes) + `"}`,
		"keys is no array":   `{"keys":{}}`,
	} {
		_, err := ParseKeys([]byte(data))
		if !errors.Is(err, ErrInvalidJWK) {
			t.Errorf("%s: %v", name, err)
		} else if m := err.Error(); strings.Contains(m, secret) || strings.Contains(m, "31337") || strings.Contains(m, "go-jose") {
			t.Errorf("%s: the error shows too much: %v", name, err)
		}
	}
	if _, err := ParseKeys([]byte(`{"kty":"oct","k":"c2VjcmV0"}`)); !errors.Is(err, ErrSymmetric) {
		t.Errorf("a symmetric key: %v", err)
	}
}

func TestWeakKeysAreRejected(t *testing.T) {
	small := `{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("v", 170) + `"}`
	if _, err := ParseKeys([]byte(small)); err == nil || !strings.Contains(err.Error(), "at least 2048") {
		t.Errorf("an RSA key of 1024 bits: %v", err)
	}
	huge := `{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("v", 4000) + `"}`
	if _, err := ParseKeys([]byte(huge)); err == nil {
		t.Errorf("an RSA key that takes minutes to verify with: %v", err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckPublic(p224.Public()); err == nil || !strings.Contains(err.Error(), "P-224") {
		t.Errorf("P-224: %v", err)
	}
	if err := CheckPublic(nil); err == nil {
		t.Error("nil is a key")
	}
}

// A private JWK that states the public key of another one is no key: no server could verify what it
// signs.
func TestKeysOfTwoPairsAreRejected(t *testing.T) {
	for algorithm, members := range map[string][]string{
		"ES256": {"x", "y"}, "ES384": {"x", "y"}, "ES512": {"x", "y"}, "EdDSA": {"x"}, "RS256": {"n"},
	} {
		one, other := privateMembersOf(t, algorithm), privateMembersOf(t, algorithm)
		if _, err := ParseKeys(encodeMembers(t, one)); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
		for _, name := range members {
			one[name] = other[name]
		}
		if keys, err := ParseKeys(encodeMembers(t, one)); !errors.Is(err, ErrInvalidJWK) {
			t.Errorf("%s: %v, %v", algorithm, keys, err)
		}
	}
}

// privateMembersOf returns the members of a new private JWK.
func privateMembersOf(t *testing.T, algorithm string) map[string]any {
	t.Helper()
	signer := generate(t, algorithm)
	text, err := Key{Signer: signer, Public: signer.Public()}.MarshalPrivate()
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(text, &members); err != nil {
		t.Fatal(err)
	}
	return members
}

func encodeMembers(t *testing.T, members map[string]any) []byte {
	t.Helper()
	text, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// members are those of a private key, of any type (RFC 7518, section 6; RFC 8037).
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}

// A key that was read can be written and read again, and its public JWK has nothing private.
func FuzzParseKeys(f *testing.F) {
	for _, seed := range []string{
		rfc7515RSA, rfc7515EC, rfc8037Ed, rfc9449Key, `{"keys":[` + rfc7515EC + `]}`, `{"kty":"oct","k":"AA"}`,
		`{"kty":"OKP","crv":"Ed25519","x":"","d":""}`, `{"keys":[null,{}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := ParseKeys(data)
		if err != nil {
			return
		}
		for _, key := range keys {
			thumbprint, err := Thumbprint(key.Public)
			if err != nil {
				t.Fatal(err)
			}
			public, err := key.MarshalPublic()
			if err != nil {
				t.Fatal(err)
			}
			var members map[string]any
			if err := json.Unmarshal(public, &members); err != nil {
				t.Fatal(err)
			}
			for name := range members {
				if slices.Contains(privateMembers, name) {
					t.Errorf("the public JWK has %s", name)
				}
			}
			again, err := ParseKeys(public)
			if err != nil || len(again) != 1 {
				t.Fatalf("%s cannot be read: %v", public, err)
			}
			if got, _ := Thumbprint(again[0].Public); got != thumbprint || again[0].ID != key.ID {
				t.Errorf("%s reads as another key", public)
			}
		}
	})
}
