package clientdocument

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/clientkey"
)

const location = "https://app.example/oauth/client.json"

func generate(t testing.TB, algorithm string) *clientkey.Key {
	t.Helper()
	key, err := clientkey.Generate(algorithm)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// good is a document without a finding.
func good() map[string]any {
	return map[string]any{
		"client_id": location, "client_name": "Example", "application_type": "native",
		"redirect_uris": []string{"http://127.0.0.1:3000/callback"}, "token_endpoint_auth_method": "none",
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
	}
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// one demands exactly one finding, which says want; none if want is empty. A want that starts with
// "?" is a warning.
func one(t *testing.T, name string, found []Finding, want string) {
	t.Helper()
	text, warning := strings.CutPrefix(want, "?")
	switch {
	case want == "" && len(found) > 0:
		t.Errorf("%s: found %v", name, found)
	case want == "":
	case len(found) != 1 || !strings.Contains(found[0].Text, text) || found[0].Error == warning:
		t.Errorf("%s: found %+v, want %q", name, found, want)
	case strings.ContainsAny(found[0].Text, "\n") || strings.HasSuffix(found[0].Text, "."):
		t.Errorf("%s: not a sentence like the others: %q", name, found[0].Text)
	}
}

// The document that the MCP specification of 2026-07-28 has as its example has no error.
func TestDocumentOfTheSpecificationIsAccepted(t *testing.T) {
	const example = `{"client_id": "https://app.example.com/oauth/client-metadata.json", "client_name": "Example MCP Client",
"client_uri": "https://app.example.com", "logo_uri": "https://app.example.com/logo.png",
"redirect_uris": ["http://127.0.0.1:3000/callback", "http://localhost:3000/callback"],
"grant_types": ["authorization_code"], "response_types": ["code"], "token_endpoint_auth_method": "none"}`
	for _, finding := range Check("https://app.example.com/oauth/client-metadata.json", []byte(example)) {
		if finding.Error {
			t.Error(finding.Text)
		}
	}
}

func TestDocumentMembersAreChecked(t *testing.T) {
	key, other := generate(t, "ES256"), generate(t, "ES384")
	private, err := key.RevealPrivateJWK()
	if err != nil {
		t.Fatal(err)
	}
	jwt := func(members map[string]any) map[string]any {
		members["token_endpoint_auth_method"] = "private_key_jwt"
		return members
	}
	set := func(keys ...string) json.RawMessage {
		return json.RawMessage(`{"keys":[` + strings.Join(keys, ",") + `]}`)
	}
	long := strings.Repeat("x", maxBytes)
	for _, c := range []struct {
		name, says string
		members    map[string]any // null takes one away
	}{
		{"good", "", nil},
		{"unknown member", "", map[string]any{"client_name#de": "Beispiel", "x": 1}},
		{"large", "?servers may read 5120 at most", map[string]any{"x": long}},
		{"other ID", "must be the same", map[string]any{"client_id": "https://app.example/client.json"}},
		{"ID in another case", "must be the same", map[string]any{"client_id": "https://APP.example/oauth/client.json"}},
		{"no ID", "client_id is missing", map[string]any{"client_id": nil}},
		{"no name", "client_name is missing", map[string]any{"client_name": nil}},
		{"blank name", "client_name is missing", map[string]any{"client_name": " "}},
		{"home page of no kind", "client_uri is not the URL", map[string]any{"client_uri": "javascript:alert(1)"}},
		{"logo by http", "?logo_uri does not start with https", map[string]any{"logo_uri": "http://app.example/x.png"}},

		{"no redirect URI", "redirect_uris is missing", map[string]any{"redirect_uris": nil}},
		{"empty redirect URIs", "redirect_uris is missing", map[string]any{"redirect_uris": []string{}}},
		{"one redirect URI as a string", "redirect_uris is not a list of strings", map[string]any{"redirect_uris": "http://127.0.0.1/"}},
		{"name of the wrong type", "client_name is not a string", map[string]any{"client_name": 7}},
		{"ID of the wrong type", "client_id is not a string", map[string]any{"client_id": []string{location}}},
		{"method of the wrong type", "token_endpoint_auth_method is not a string", map[string]any{"token_endpoint_auth_method": []string{"none"}}},
		{"null", "client_name is missing", map[string]any{"client_name": json.RawMessage("null")}},
		{"IPv6", "", map[string]any{"redirect_uris": []string{"http://[::1]/callback"}}},
		{"private-use scheme", "", map[string]any{"redirect_uris": []string{"com.example.app:/callback"}}},
		{"scheme without a dot", "?without a dot", map[string]any{"redirect_uris": []string{"myapp://callback"}}},
		{"relative", "not an absolute URI", map[string]any{"redirect_uris": []string{"/callback"}}},
		{"http elsewhere", "must start with https", map[string]any{"redirect_uris": []string{"http://app.example/callback"}}},
		{"looks like loopback", "must start with https", map[string]any{"redirect_uris": []string{"http://127.0.0.1.evil.example/"}}},
		{"fragment", "fragment", map[string]any{"redirect_uris": []string{"https://app.example/callback#"}}},
		{"wildcard", "wildcard", map[string]any{"redirect_uris": []string{"https://*.app.example/callback"}}},
		{"script", "scheme javascript", map[string]any{"redirect_uris": []string{"JavaScript:alert(1)"}}},
		{"no host", "no host", map[string]any{"redirect_uris": []string{"https:/callback"}}},
		{"password", "password", map[string]any{"redirect_uris": []string{"https://u:p@app.example/callback"}}},
		{"web with loopback", "write native", map[string]any{"application_type": "web"}},
		{"no application type with loopback", "?write native", map[string]any{"application_type": nil}},
		{"unknown application type", `"desktop" instead of native or web`, map[string]any{"application_type": "desktop"}},
		{"web application", "", map[string]any{"application_type": nil, "redirect_uris": []string{"https://app.example/callback"}}},

		{"no refresh tokens", "?refresh_token", map[string]any{"grant_types": []string{"authorization_code"}}},
		{"default grant", "?refresh_token", map[string]any{"grant_types": nil}},
		{"implicit", "?implicit", map[string]any{"grant_types": []string{"authorization_code", "refresh_token", "implicit"}}},
		{"no code", "response_types does not have code", map[string]any{"response_types": []string{"token"}}},
		{"code without its grant", "grant_types does not have authorization_code", map[string]any{"grant_types": []string{"urn:ietf:params:oauth:grant-type:device_code"}}},
		{"client credentials without a key", "use private_key_jwt", map[string]any{"grant_types": []string{"authorization_code", "refresh_token", "client_credentials"}}},
		{"client credentials alone", "?redirect_uris is missing", jwt(map[string]any{"jwks": set(string(key.JWK())), "redirect_uris": nil,
			"application_type": nil, "grant_types": []string{"client_credentials"}, "response_types": nil})},

		{"no method", "?some servers take it for client_secret_basic", map[string]any{"token_endpoint_auth_method": nil}},
		{"secret method", "no server has a secret", map[string]any{"token_endpoint_auth_method": "client_secret_jwt"}},
		{"unknown method", "?not known", map[string]any{"token_endpoint_auth_method": "magic"}},
		{"secret", "client_secret: everyone can read", map[string]any{"client_secret": "c4n4ry"}},
		{"expiry of a secret", "client_secret_expires_at: everyone", map[string]any{"client_secret_expires_at": 0}},
		{"key", "", jwt(map[string]any{"jwks": set(string(key.JWK()))})},
		{"two keys", "", jwt(map[string]any{"jwks": set(string(key.JWK()), string(other.JWK()))})},
		{"key elsewhere", "", jwt(map[string]any{"jwks_uri": "https://app.example/jwks.json"})},
		{"no key", "add jwks or jwks_uri", jwt(map[string]any{})},
		{"both", "both jwks and jwks_uri", jwt(map[string]any{"jwks": set(string(key.JWK())), "jwks_uri": "https://app.example/jwks.json"})},
		{"keys by http", "jwks_uri must start with https", jwt(map[string]any{"jwks_uri": "http://app.example/jwks.json"})},
		{"keys on this machine", "?not a public address", jwt(map[string]any{"jwks_uri": "https://127.0.0.1/jwks.json"})},
		{"no URL", "jwks_uri is not a URL", jwt(map[string]any{"jwks_uri": "jwks.json"})},
		{"private key", "shows its private part", jwt(map[string]any{"jwks": set(string(private))})},
		{"JWK instead of a set", `with a list "keys"`, jwt(map[string]any{"jwks": json.RawMessage(key.JWK())})},
		{"empty set", "can verify a signature", jwt(map[string]any{"jwks": set()})},
		{"only for encryption", "can verify a signature", jwt(map[string]any{"jwks": set(strings.Replace(string(key.JWK()), `"sig"`, `"enc"`, 1))})},
		{"unusable key beside", "?1 of 2 keys", jwt(map[string]any{"jwks": set(string(key.JWK()), `{"kty":"XX"}`)})},
		{"same ID twice", "have the key ID", jwt(map[string]any{"jwks": set(string(key.JWK()), string(key.JWK()))})},
		{"algorithm of the key", "", jwt(map[string]any{"jwks": set(string(key.JWK())), "token_endpoint_auth_signing_alg": "ES256"})},
		{"algorithm of no key", "no key of the JWK set is for RS256", jwt(map[string]any{"jwks": set(string(key.JWK())), "token_endpoint_auth_signing_alg": "RS256"})},
		{"algorithm of secrets", "not one for a private key", map[string]any{"token_endpoint_auth_signing_alg": "HS256"}},
	} {
		document := good()
		for name, value := range c.members {
			if value == nil {
				delete(document, name)
			} else {
				document[name] = value
			}
		}
		found := Check(location, encode(t, document))
		one(t, c.name, found, c.says)
		if s := fmt.Sprint(found); strings.Contains(s, "c4n4ry") {
			t.Errorf("%s: a finding shows a secret: %s", c.name, s)
		}
	}
}

func TestWhatIsNoDocument(t *testing.T) {
	for _, data := range []string{"", "null", "[]", `"x"`, "<html>", `{"client_id":`} {
		one(t, data, Check(location, []byte(data)), "not a JSON object")
	}
}

func TestURLOfTheDocumentIsChecked(t *testing.T) {
	for url, want := range map[string]string{
		location:                               "",
		"https://app.example:8443/client.json": "",
		"https://app.example/c?v=1":            "?query",
		"http://app.example/c":                 "must start with https",
		"https://app.example":                  "no path",
		"https://app.example/":                 "no path",
		"https://app.example/a/../c":           `"." or ".."`,
		"https://app.example/./c":              `"." or ".."`,
		"https://app.example/%2e%2e/c":         `"." or ".."`,
		"https://app.example/a..b/.c/c.":       "",
		"https://app.example/c#":               "fragment",
		"https://app.example/c#x":              "fragment",
		"https://user@app.example/c":           "user name",
		"https://App.example/c":                "?not normalized",
		"HTTPS://app.example/c":                "?not normalized",
		"https://app.example:443/c":            "?not normalized",
		"https://localhost/c":                  "?not a public address",
		"https://10.0.0.1/c":                   "?not a public address",
		"https://[::1]/c":                      "?not a public address",
		"https://app.internal/c":               "?not a public address",
		"client":                               "not a URL",
		"":                                     "client_id is missing",
		"https:///c":                           "not a URL",
	} {
		document := good()
		document["client_id"] = url
		one(t, url, Check(url, encode(t, document)), want)
	}
}

func TestResponseIsChecked(t *testing.T) {
	for _, c := range []struct {
		status             int
		contentType, cache string
		want               string
	}{
		{200, "application/json", "max-age=60", ""},
		{200, "application/json; charset=utf-8", "", ""},
		{200, "application/jwk-set+json", "", ""},
		{200, "Application/Client+JSON", "", ""},
		{200, "text/html", "", `Content-Type is "text/html"`},
		{200, "", "", "Content-Type"},
		{200, "image/svg+json", "", "Content-Type"},
		{200, "application/json", "private, No-Store", "?Cache-Control"},
		{301, "application/json", "", "redirect (301)"},
		{404, "application/json", "", "status 404"},
		{204, "application/json", "", "status 204"},
	} {
		header := http.Header{"Content-Type": {c.contentType}, "Cache-Control": {c.cache}}
		one(t, fmt.Sprint(c), CheckResponse(c.status, header), c.want)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(location, encode(f, good()))
	f.Add("https://app.example/%2e/", []byte(`{"jwks":{"keys":[null,{}]},"redirect_uris":["%",":"]}`))
	f.Add("//", []byte(`{"jwks":null,"grant_types":[]}`))
	f.Fuzz(func(t *testing.T, location string, data []byte) {
		for _, finding := range Check(location, data) {
			if finding.Text == "" {
				t.Error("a finding says nothing")
			}
		}
	})
}
