package interop

import (
	"maps"
	"net/http"
	"net/url"
	"testing"
	"time"
)

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	redirectURI   = "http://127.0.0.1/callback" // of any port (RFC 8252, section 7.3)
	registeredURI = "http://127.0.0.1:8123/callback"
)

// machine is the token request of a client that acts for itself.
func (r *rawServer) machine(more url.Values) url.Values {
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"tools"}, "resource": {r.mcp}}
	maps.Copy(form, more)
	return form
}

// asserting is a client that authenticates with an assertion.
func asserting(assertion string) url.Values {
	return url.Values{"client_assertion_type": {assertionType}, "client_assertion": {assertion}}
}

// TestPrivateKeyJWT is what oidc-provider makes of private_key_jwt: each algorithm, and
// what it takes as audience and what not.
func TestPrivateKeyJWT(t *testing.T) {
	t.Parallel()
	r := startFull(t, setup{})
	token := r.endpoint("token_endpoint")
	for _, alg := range []string{"ES256", "RS256", "PS256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			key := newSigner(t, alg)
			client := r.register("private_key_jwt", "client_credentials",
				map[string]any{"jwks": key.jwks()}).text("client_id")
			send := func(s signer, audience any, differ map[string]any) response {
				return r.post(token, r.machine(asserting(s.assertion(client, audience, differ))), nil)
			}
			granted := send(key, r.issuer, nil).must(t, "audience: the issuer", http.StatusOK)
			r.call(map[string]string{"Authorization": "Bearer " + granted.text("access_token")}).
				must(t, "MCP server", http.StatusOK)
			send(key, token, nil).must(t, "audience: the token endpoint", http.StatusOK)
			send(key, []string{r.issuer}, nil).must(t, "audience: a list", http.StatusOK)
			for _, typ := range []string{"JWT", "client-authentication+jwt"} {
				send(key, r.issuer, map[string]any{"typ": typ}).must(t, "typ: "+typ, http.StatusOK)
			}
			send(newSigner(t, alg), r.issuer, nil).want(t, "another key", 401, "invalid_client")
			send(key, "https://other.example", nil).want(t, "another audience", 401, "invalid_client")
			past := map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}
			send(key, r.issuer, past).want(t, "expired", 401, "invalid_client")
			soon := time.Now().Add(5 * time.Minute).Unix()
			ahead := map[string]any{"iat": soon, "exp": soon + 60}
			send(key, r.issuer, ahead).must(t, "issued in five minutes", http.StatusOK)
			ahead["nbf"] = soon
			send(key, r.issuer, ahead).want(t, "good in five minutes", 401, "invalid_client")
			once := map[string]any{"jti": "once"}
			send(key, r.issuer, once).must(t, "first use", http.StatusOK)
			send(key, r.issuer, once).want(t, "second use", 401, "invalid_client")
		})
	}
}

// TestClientSecretJWT is likewise for the secret that the server issued.
func TestClientSecretJWT(t *testing.T) {
	t.Parallel()
	r := startFull(t, setup{})
	token := r.endpoint("token_endpoint")
	client := r.register("client_secret_jwt", "client_credentials", nil)
	send := func(secret, audience string) response {
		s := signer{alg: "HS256", secret: []byte(secret)}
		return r.post(token, r.machine(asserting(s.assertion(client.text("client_id"), audience, nil))), nil)
	}
	send(client.text("client_secret"), r.issuer).must(t, "audience: the issuer", http.StatusOK)
	send("another secret, which is long enough", r.issuer).want(t, "another secret", 401, "invalid_client")
	post := url.Values{"client_id": {client.text("client_id")}, "client_secret": {client.text("client_secret")}}
	r.post(token, r.machine(post), nil).want(t, "the secret itself", 401, "invalid_client")
}
