package jose

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// unsigned is a JWT whose signature verifies with no key.
func unsigned(payload string) string {
	return "eyJhbGciOiJSUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
}

func TestUnverifiedClaims(t *testing.T) {
	got, err := UnverifiedClaims(unsigned(`{"iss":"https://idp.example","sub":"u1","aud":["a","b"],"exp":1785240000.5,` +
		`"iat":1785236400,"email":"ada@example.com","preferred_username":"ada","name":"Ada","azp":"a","nonce":"n","acr":"mfa"}`))
	want := Claims{
		Issuer: "https://idp.example", Subject: "u1", Audience: []string{"a", "b"}, Expiry: got.Expiry, IssuedAt: got.IssuedAt,
		Email: "ada@example.com", PreferredUsername: "ada", Name: "Ada", AuthorizedParty: "a", Nonce: "n", ACR: "mfa",
	}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) || got.Expiry.Unix() != 1785240000 || got.IssuedAt.Unix() != 1785236400 {
		t.Errorf("%+v, %v", got, err)
	}
}

// One claim of another type than usual does not hide the others.
func TestOddClaims(t *testing.T) {
	for payload, want := range map[string]Claims{
		`{"sub":"u1","email":7,"aud":"a","exp":"soon","name":{"x":1}}`:    {Subject: "u1", Audience: []string{"a"}},
		`{"sub":"u1","exp":1e300,"iat":-5,"aud":["a",null,3],"nbf":null}`: {Subject: "u1", Audience: []string{"a"}},
		`{"SUB":"other case","Email":"x@example.com"}`:                    {},
		`{}`: {},
	} {
		if got, err := UnverifiedClaims(unsigned(payload)); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %+v, %v", payload, got, err)
		}
	}
}

func TestNoJWT(t *testing.T) {
	for name, token := range map[string]string{
		"empty": "", "opaque": "c4n4ry-opaque", "two parts": "a.b", "encrypted": "a.b.c.d.e",
		"no base64": "a.c4n4ry!.c", "no JSON": unsigned("c4n4ry"), "null": unsigned("null"), "array": unsigned("[]"),
		"twice": unsigned(`{"sub":"c4n4ry","sub":"u2"}`), "large": unsigned(`{"sub":"` + strings.Repeat("x", maxTokenBytes) + `"}`),
	} {
		if got, err := UnverifiedClaims(token); err == nil || strings.Contains(err.Error(), "c4n4ry") {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func FuzzUnverifiedClaims(f *testing.F) {
	f.Add(unsigned(`{"sub":"u1","aud":["a"],"exp":1}`))
	f.Add(unsigned(`{"exp":1e999}`))
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		claims, err := UnverifiedClaims(token)
		if err != nil {
			return
		}
		if _, err := claims.Expiry.MarshalJSON(); err != nil {
			t.Errorf("exp is a time that has no text: %v", err)
		}
	})
}
