package jose

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/secret"
)

var expected = Expected{Issuer: "https://idp.example", ClientID: "client", Nonce: "n1", Now: noon}

func idClaims() map[string]any {
	return map[string]any{
		"iss": expected.Issuer, "sub": "u1", "aud": "client", "nonce": "n1", "email": "ada@example.com",
		"iat": noon.Unix(), "exp": noon.Add(time.Hour).Unix(),
	}
}

// issue signs an id token as an issuer does.
func issue(t *testing.T, key crypto.Signer, header, claims map[string]any) string {
	t.Helper()
	encoded, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	token, err := compact(base64.RawURLEncoding.EncodeToString(encoded), payload, func(input []byte) ([]byte, error) {
		return sign(key, header["alg"].(string), input)
	})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func keySet(t *testing.T, keys ...Key) []byte {
	t.Helper()
	var jwks [][]byte
	for _, key := range keys {
		jwk, err := key.MarshalPublic()
		if err != nil {
			t.Fatal(err)
		}
		jwks = append(jwks, jwk)
	}
	return MarshalKeySet(jwks...)
}

func TestIDTokenIsVerified(t *testing.T) {
	for _, algorithm := range []string{"RS256", "PS384", "ES256", "ES512", "EdDSA"} {
		key := generate(t, algorithm)
		token := issue(t, key, map[string]any{"alg": algorithm, "kid": "k1"}, idClaims())
		keys := keySet(t, Key{ID: "k0", Public: generate(t, algorithm).Public()}, Key{ID: "k1", Use: "sig", Algorithm: algorithm, Public: key.Public()})
		got, err := VerifyIDToken(token, keys, expected)
		if err != nil || got.Subject != "u1" || got.Email != "ada@example.com" {
			t.Errorf("%s: %+v, %v", algorithm, got, err)
		}
		// Every character of the token counts; of long ones, some are enough.
		for i := 0; i < len(token); i += 1 + len(token)/200 {
			changed := []byte(token)
			changed[i] ^= 1
			if _, err := VerifyIDToken(string(changed), keys, expected); err == nil && !sameBytes(token, string(changed)) {
				t.Fatalf("%s: changed at %d, it is still verified", algorithm, i)
			}
		}
	}
}

// sameBytes reports whether two tokens are the same but for unused bits of base64.
func sameBytes(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		p, errP := base64.RawURLEncoding.DecodeString(x[i])
		q, errQ := base64.RawURLEncoding.DecodeString(y[i])
		if errP != nil || errQ != nil || string(p) != string(q) {
			return false
		}
	}
	return true
}

func TestIDTokenOfAnotherKey(t *testing.T) {
	key, other := generate(t, "ES256"), generate(t, "ES256")
	token := issue(t, key, map[string]any{"alg": "ES256", "kid": "k1"}, idClaims())
	nameless := issue(t, key, map[string]any{"alg": "ES256"}, idClaims())
	for _, c := range []struct {
		name, token string
		keys        []Key
		ok          bool
	}{
		{"rotated", token, []Key{{ID: "k2", Public: key.Public()}}, false},
		{"other key by the same name", token, []Key{{ID: "k1", Public: other.Public()}}, false},
		{"two keys by the same name", token, []Key{{ID: "k1", Public: other.Public()}, {ID: "k1", Public: key.Public()}}, true},
		{"key for encryption", token, []Key{{ID: "k1", Use: "enc", Public: key.Public()}}, false},
		{"key for another algorithm", token, []Key{{ID: "k1", Algorithm: "ES384", Public: key.Public()}}, false},
		{"token without a name", nameless, []Key{{ID: "k0", Public: other.Public()}, {ID: "k1", Public: key.Public()}}, true},
		{"key without a name", token, []Key{{Public: key.Public()}}, true},
		{"no key", token, nil, false},
	} {
		_, err := VerifyIDToken(c.token, keySet(t, c.keys...), expected)
		if c.ok != (err == nil) || !c.ok && !errors.Is(err, ErrKeyNotFound) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// What a forger tries: no signature, and an HMAC with the public key or the client secret.
func TestForgedIDToken(t *testing.T) {
	key := generate(t, "RS256")
	keys := keySet(t, Key{ID: "k1", Public: key.Public()})
	payload, err := json.Marshal(idClaims())
	if err != nil {
		t.Fatal(err)
	}
	mac := func(input []byte) ([]byte, error) { return signSecret(secret.String(keys), "HS256", input), nil }
	for header, sign := range map[string]func([]byte) ([]byte, error){
		`{"alg":"none"}`:  func([]byte) ([]byte, error) { return nil, nil },
		`{"alg":"HS256"}`: mac,
		`{"alg":"RS256"}`: mac,
		`{"alg":"RS256","b64":false,"crit":["b64"]}`: mac,
	} {
		token, err := compact(base64.RawURLEncoding.EncodeToString([]byte(header)), payload, sign)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := VerifyIDToken(token, keys, expected); err == nil {
			t.Errorf("%s: %+v", header, got)
		}
	}
	embedded := issue(t, generate(t, "ES256"), map[string]any{"alg": "ES256", "jwk": json.RawMessage(rfc9449Key)}, idClaims())
	if _, err := VerifyIDToken(embedded, keys, expected); !errors.Is(err, ErrKeyNotFound) {
		t.Errorf("a key of the token's own: %v", err)
	}
}

// Another kind of JWT of the same issuer is not an id token (RFC 8725, section 3.11).
func TestOtherTypesOfJWTAreNotIDTokens(t *testing.T) {
	key := generate(t, "ES256")
	keys := keySet(t, Key{Public: key.Public()})
	for typ, ok := range map[any]bool{
		nil: true, "JWT": true, "jwt": true, "id_token+jwt": true, "": true,
		"at+jwt": false, "application/AT+JWT": false, "logout+jwt": false, "oauth-id-jag+jwt": false,
		TypeClientAuthentication: false,
	} {
		header := map[string]any{"alg": "ES256", "typ": typ}
		if typ == nil {
			delete(header, "typ")
		}
		if _, err := VerifyIDToken(issue(t, key, header, idClaims()), keys, expected); (err == nil) != ok {
			t.Errorf("typ %v: %v", typ, err)
		}
	}
}

func TestIDTokenClaimsAreChecked(t *testing.T) {
	key := generate(t, "EdDSA")
	keys := keySet(t, Key{Public: key.Public()})
	unix := func(d time.Duration) int64 { return noon.Add(d).Unix() }
	for _, c := range []struct {
		name, says string
		claims     map[string]any
		is         error
	}{
		{"right", "", nil, nil},
		{"other issuer", "https://evil.example", map[string]any{"iss": "https://evil.example"}, nil},
		{"issuer with a slash", "issuer", map[string]any{"iss": "https://idp.example/"}, nil},
		{"no subject", "subject", map[string]any{"sub": nil}, nil},
		{"other client", "another client", map[string]any{"aud": "other"}, nil},
		{"no audience", "another client", map[string]any{"aud": nil}, nil},
		{"several clients, of which it is ours", "", map[string]any{"aud": []string{"other", "client"}, "azp": "client"}, nil},
		{"several clients", "several clients", map[string]any{"aud": []string{"other", "client"}}, nil},
		{"several clients, of which it is another's", "several clients", map[string]any{"aud": []string{"other", "client"}, "azp": "other"}, nil},
		{"expired", "expired at 2026-07-28T11:58:00Z", map[string]any{"exp": unix(-2 * time.Minute)}, ErrExpired},
		{"expired a little by our clock", "", map[string]any{"exp": unix(-30 * time.Second)}, nil},
		{"no expiry", "exp", map[string]any{"exp": nil}, nil},
		{"expiry is text", "exp", map[string]any{"exp": "2026"}, nil},
		{"no date", "iat", map[string]any{"iat": nil}, nil},
		{"from the future", "clocks", map[string]any{"iat": unix(5 * time.Minute)}, ErrNotYetValid},
		{"from the near future", "", map[string]any{"iat": unix(30 * time.Second)}, nil},
		{"not before", "clocks", map[string]any{"nbf": unix(5 * time.Minute)}, ErrNotYetValid},
		{"other nonce", "another login", map[string]any{"nonce": "n2"}, nil},
		{"no nonce", "another login", map[string]any{"nonce": nil}, nil},
	} {
		claims := idClaims()
		maps.Copy(claims, c.claims)
		_, err := VerifyIDToken(issue(t, key, map[string]any{"alg": "EdDSA"}, claims), keys, expected)
		if (c.says == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.says) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func FuzzVerifyIDToken(f *testing.F) {
	set := fmt.Sprintf(`{"keys":[%s]}`, rfc9449Key)
	f.Add(unsigned(`{"iss":"https://idp.example"}`), set)
	f.Add("eyJhbGciOiJub25lIn0.e30.", set)
	f.Add("eyJhbGciOiJFUzI1NiJ9.e30.", `{"keys":[{}]}`)
	f.Fuzz(func(t *testing.T, token, keys string) {
		if claims, err := VerifyIDToken(token, []byte(keys), expected); err == nil {
			t.Errorf("%q is verified: %+v", token, claims)
		}
	})
}
