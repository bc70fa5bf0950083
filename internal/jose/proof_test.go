package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/handstamp/handstamp/secret"
)

// The key of RFC 9449, as in its section 6.1.
const rfc9449Key = `{"kty":"EC","crv":"P-256","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
"y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"}`

func proofKey(t testing.TB, supported ...string) *ProofKey {
	t.Helper()
	key, err := NewProofKey(supported)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// readProof verifies a proof with the key in its header, as a server does.
func readProof(t *testing.T, proof, algorithm string) (header, claims map[string]any) {
	t.Helper()
	signed, err := jose.ParseSignedCompact(proof, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(algorithm)})
	if err != nil {
		t.Fatal(err)
	}
	jwk := signed.Signatures[0].Header.JSONWebKey
	if jwk == nil || !jwk.IsPublic() || !jwk.Valid() {
		t.Fatalf("the header has no public key: %v", jwk)
	}
	return verified(t, proof, algorithm, jwk)
}

// The proofs of RFC 9449, sections 4.2 and 7.1, have the members that ours have.
func TestProofsAreLikeThoseOfTheRFC(t *testing.T) {
	const token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
	for _, c := range []struct {
		section, proof, method, target string
		options                        ProofOptions
	}{
		{"4.2", "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg",
			"POST", "https://server.example.com/token", ProofOptions{Now: time.Unix(1562262616, 0)}},
		{"7.1", "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA",
			"GET", "https://resource.example.org/protectedresource", ProofOptions{AccessToken: token, Now: time.Unix(1562262618, 0)}},
	} {
		wantHeader, wantClaims := readProof(t, c.proof, "ES256")
		key := proofKey(t)
		proof, err := key.Proof(c.method, c.target, c.options)
		if err != nil {
			t.Fatal(err)
		}
		header, claims := readProof(t, proof, "ES256")
		wantJWK, jwk := wantHeader["jwk"].(map[string]any), header["jwk"].(map[string]any)
		for _, name := range []string{"x", "y"} { // what differs from key to key
			if len(jwk[name].(string)) != len(wantJWK[name].(string)) {
				t.Errorf("section %s: %s is %v", c.section, name, jwk[name])
			}
			delete(jwk, name)
			delete(wantJWK, name)
		}
		delete(claims, "jti")
		delete(wantClaims, "jti")
		if got, want := fmt.Sprint(header, claims), fmt.Sprint(wantHeader, wantClaims); got != want {
			t.Errorf("section %s:\n got %s\nwant %s", c.section, got, want)
		}
	}
}

func TestProofNamesItsTarget(t *testing.T) {
	key := proofKey(t)
	for target, want := range map[string]string{
		"https://mcp.example/mcp?token=c4n4ry#frag": "https://mcp.example/mcp",
		"HTTPS://MCP.Example:443/Mcp":               "https://mcp.example/Mcp",
		"http://MCP.example:80":                     "http://mcp.example/",
		"https://mcp.example:80/":                   "https://mcp.example:80/",
		"http://localhost:8080/a%2Fb%20c":           "http://localhost:8080/a%2Fb%20c",
		"https://user:c4n4ry@mcp.example":           "https://mcp.example/",
		"https://[::1]:443/x":                       "https://[::1]/x",
		"https://[2001:DB8::1]/x":                   "https://[2001:db8::1]/x",
		"https://mcp.example:/x":                    "https://mcp.example/x",
		"https://mcp.example/a b\"c":                "https://mcp.example/a%20b%22c",
		"https://mcp.example/é":                     "https://mcp.example/%C3%A9",
		"https://mcp.example/a/../b/":               "https://mcp.example/a/../b/",
	} {
		proof, err := key.Proof("GET", target, ProofOptions{Now: noon})
		if err != nil {
			t.Errorf("%s: %v", target, err)
			continue
		}
		if _, claims := readProof(t, proof, "ES256"); claims["htu"] != want {
			t.Errorf("%s: htu %v, want %s", target, claims["htu"], want)
		}
	}
	for _, target := range []string{"", "/mcp", "mcp.example", "ftp://mcp.example/", "https:///c4n4ry", "https://mcp.example/%zz?c4n4ry"} {
		proof, err := key.Proof("GET", target, ProofOptions{})
		if err == nil || strings.Contains(err.Error(), "c4n4ry") {
			t.Errorf("%q: %q, %v", target, proof, err)
		}
	}
}

func TestProofTakesNonceAndToken(t *testing.T) {
	key := proofKey(t)
	for _, nonce := range []string{"eyJ7S_zG.eyJH0-Z.HX4w-7v", `quote " backslash \ é` + "\u2028<>&", ""} {
		proof, err := key.Proof("POST", "https://as.example/token", ProofOptions{Nonce: nonce, Now: noon})
		if err != nil {
			t.Fatal(err)
		}
		_, claims := readProof(t, proof, "ES256")
		if got, ok := claims["nonce"]; ok != (nonce != "") || ok && got != nonce {
			t.Errorf("nonce %q came as %q", nonce, got)
		}
		if _, ok := claims["ath"]; ok {
			t.Error("a proof without an access token has its hash")
		}
	}
	before := time.Now().Unix()
	proof, err := key.Proof("POST", "https://as.example/token", ProofOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, claims := readProof(t, proof, "ES256"); claims["iat"].(float64) < float64(before) {
		t.Errorf("iat is %v", claims["iat"])
	}
}

func TestProofIsUsedOnce(t *testing.T) {
	key := proofKey(t)
	var mu sync.Mutex
	var group sync.WaitGroup
	seen := make(map[any]bool)
	for range 10 {
		group.Go(func() {
			for range 100 {
				proof, err := key.Proof("POST", "https://mcp.example/mcp", ProofOptions{AccessToken: "t", Now: noon})
				if err != nil {
					t.Error(err)
					return
				}
				claims := object(t, decode(t, strings.Split(proof, ".")[1]))
				mu.Lock()
				seen[claims["jti"]] = true
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if len(seen) != 1000 {
		t.Errorf("1000 proofs have %d different values of jti", len(seen))
	}
}

func TestProofKeyIsKept(t *testing.T) {
	for _, algorithm := range proofAlgorithms {
		if testing.Short() && strings.Contains("PS384 RS384 PS512 RS512", algorithm) {
			continue // RSA keys take long to generate
		}
		key := proofKey(t, "XX999", algorithm)
		if key.Algorithm() != algorithm {
			t.Errorf("%s: the key signs with %s", algorithm, key.Algorithm())
		}
		jwk, err := key.PrivateJWK()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseProofKey(jwk)
		if err != nil {
			t.Fatalf("%s: %v", algorithm, err)
		}
		if again.Thumbprint() != key.Thumbprint() || again.Algorithm() != algorithm || again.header != key.header {
			t.Errorf("%s: another key was read", algorithm)
		}
		proof, err := again.Proof("GET", "https://mcp.example/", ProofOptions{Now: noon})
		if err != nil {
			t.Fatal(err)
		}
		if algorithm == "Ed25519" {
			continue // go-jose does not know the name
		}
		header, _ := readProof(t, proof, algorithm)
		for name := range header["jwk"].(map[string]any) {
			for _, private := range privateMembers {
				if name == private {
					t.Errorf("%s: the proof shows %s", algorithm, name)
				}
			}
		}
	}
}

func TestProofKeySuitsTheServer(t *testing.T) {
	for supported, want := range map[string]string{
		"": "ES256", "RS256 ES256": "ES256", "RS256 PS256": "PS256", "Ed25519 RS256": "Ed25519", "ES512": "ES512",
	} {
		if key := proofKey(t, strings.Fields(supported)...); key.Algorithm() != want {
			t.Errorf("for %q: %s, want %s", supported, key.Algorithm(), want)
		}
	}
	if _, err := NewProofKey([]string{"HS256", "ES256K"}); err == nil || !strings.Contains(err.Error(), "ES256K") {
		t.Errorf("algorithms that no key has: %v", err)
	}
}

// A key in a struct that is printed or encoded by mistake shows nothing of its private part.
func TestProofKeyIsNotShown(t *testing.T) {
	for _, algorithm := range []string{"EdDSA", "ES256"} {
		key := proofKey(t, algorithm)
		private, err := key.PrivateJWK()
		if err != nil {
			t.Fatal(err)
		}
		d := decode(t, object(t, []byte(private.Reveal()))["d"].(string))
		read := parse(t, private.Reveal())
		for _, v := range []any{read, key, *key} {
			if encoded, err := json.Marshal(v); !errors.Is(err, secret.ErrEncoded) {
				t.Errorf("a key is encoded: %s, %v", encoded, err)
			}
		}
		var shown []string
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			for _, v := range []any{key, *key, read, &read, []any{key, read}, struct{ K *ProofKey }{key}} {
				shown = append(shown, fmt.Sprintf(verb, v))
			}
		}
		for _, s := range shown {
			for _, form := range []string{string(d), fmt.Sprintf("%x", d), strings.Trim(fmt.Sprint(d), "[]"), strings.TrimSuffix(fmt.Sprintf("%#v", d)[7:], "}")} {
				if strings.Contains(s, form) {
					t.Errorf("%s: %q shows the private key", algorithm, s)
				}
			}
		}
	}
}

func TestStoredProofKeyThatIsNone(t *testing.T) {
	for name, jwk := range map[string]secret.String{
		"empty": "", "public": rfc9449Key, "set": `{"keys":[]}`, "text": "c4n4ry",
		"wrong algorithm": secret.String(strings.Replace(rfc7515EC, `{`, `{"alg":"RS256",`, 1)),
	} {
		if _, err := ParseProofKey(jwk); err == nil || strings.Contains(err.Error(), "c4n4ry") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// BenchmarkProof is a proof for a warm request, to be compared with BenchmarkES256Signature in
// the same run: at most 1.5 times as long.
func BenchmarkProof(b *testing.B) {
	key := proofKey(b)
	token := secret.String(strings.Repeat("t", 800))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := key.Proof("POST", "https://mcp.example/mcp", ProofOptions{AccessToken: token, Nonce: "nonce"}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkES256Signature is what the standard library needs for one signature.
func BenchmarkES256Signature(b *testing.B) {
	key := generate(b, "ES256").(*ecdsa.PrivateKey)
	message := []byte(strings.Repeat("m", 400))
	b.ReportAllocs()
	for b.Loop() {
		digest := sha256.Sum256(message)
		if _, err := key.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
			b.Fatal(err)
		}
	}
}
