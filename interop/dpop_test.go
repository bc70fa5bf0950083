package interop

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"
)

// proving is the header of a DPoP proof.
func proving(proof string) map[string]string { return map[string]string{"DPoP": proof} }

// bound is what a request to the MCP server carries.
func (r *rawServer) bound(key signer, token string, differ map[string]any) map[string]string {
	claims := ath(token)
	maps.Copy(claims, differ)
	return map[string]string{"Authorization": "DPoP " + token, "DPoP": key.proof("POST", r.mcp, claims)}
}

// nonce is the one that a response hands out.
func nonce(r response) map[string]any { return map[string]any{"nonce": r.header.Get("DPoP-Nonce")} }

// TestDPoP is what oidc-provider makes of DPoP (RFC 9449) where both servers want nonces.
func TestDPoP(t *testing.T) {
	t.Parallel()
	r := startFull(t, setup{DPoP: "required", Nonces: true})
	token := r.endpoint("token_endpoint")
	client := r.register("none", "authorization_code", map[string]any{"dpop_bound_access_tokens": true}).text("client_id")
	key, other := newSigner(t, "ES256"), newSigner(t, "ES256")

	a := r.authorization(client)
	form := r.exchange(a, r.walk(a.request).Get("code"), nil)
	r.post(token, form, nil).want(t, "no proof", 400, "invalid_grant")
	first := r.post(token, form, proving(key.proof("POST", token, nil)))
	first.want(t, "no nonce", 400, "use_dpop_nonce")
	granted := r.post(token, form, proving(key.proof("POST", token, nonce(first)))).must(t, "nonce", http.StatusOK)
	if got := granted.text("token_type"); got != "DPoP" {
		t.Errorf("token_type: %q, want DPoP", got)
	}
	access := granted.text("access_token")
	if got := claims(t, access).Cnf["jkt"]; got != key.thumbprint() {
		t.Errorf("the token is bound to %q, want %q", got, key.thumbprint())
	}

	challenge := r.call(nil).must(t, "no token", http.StatusUnauthorized).header.Get("WWW-Authenticate")
	if !strings.HasPrefix(challenge, "DPoP ") || !strings.Contains(challenge, "resource_metadata=") {
		t.Errorf("the MCP server challenges with %q", challenge)
	}
	rejected := r.call(r.bound(key, access, nil)).must(t, "no nonce at the MCP server", http.StatusUnauthorized)
	if !strings.Contains(rejected.header.Get("WWW-Authenticate"), `error="use_dpop_nonce"`) {
		t.Errorf("no nonce at the MCP server: %q", rejected.header.Get("WWW-Authenticate"))
	}
	known := nonce(rejected)
	r.call(r.bound(key, access, known)).must(t, "MCP server", http.StatusOK)
	for what, header := range map[string]map[string]string{
		"another key":         r.bound(other, access, known),
		"Bearer":              {"Authorization": "Bearer " + access},
		"the hash of another": {"Authorization": "DPoP " + access, "DPoP": key.proof("POST", r.mcp, merged(known, ath("x")))},
		"another URL":         r.bound(key, access, merged(known, map[string]any{"htu": r.issuer + "/other"})),
		"another method":      r.bound(key, access, merged(known, map[string]any{"htm": "GET"})),
		"an old proof": r.bound(key, access, merged(known,
			map[string]any{"iat": time.Now().Add(-10 * time.Minute).Unix()})),
	} {
		r.call(header).must(t, what, http.StatusUnauthorized)
	}

	// The refresh token of a public client is bound to the key.
	form = r.refreshing(client, granted.text("refresh_token"))
	r.post(token, form, proving(other.proof("POST", token, nonce(first)))).want(t, "refresh, another key", 400, "invalid_grant")
	again := key.proof("POST", token, nonce(first))
	granted = r.post(token, form, proving(again)).must(t, "refresh", http.StatusOK)
	form = r.refreshing(client, granted.text("refresh_token"))
	r.post(token, form, proving(again)).want(t, "a proof for the second time", 400, "invalid_grant")
	slow := merged(nonce(first), map[string]any{"iat": time.Now().Add(-10 * time.Minute).Unix()})
	r.post(token, form, proving(key.proof("POST", token, slow))).must(t, "a slow clock, with a nonce", http.StatusOK)
}

// TestDPoPOfAClientWithAKey is the order in which oidc-provider looks: what authenticates
// the client is used up when the nonce is missed.
func TestDPoPOfAClientWithAKey(t *testing.T) {
	t.Parallel()
	r := startFull(t, setup{DPoP: "required", Nonces: true})
	token := r.endpoint("token_endpoint")
	key, proof := newSigner(t, "ES256"), newSigner(t, "ES256")
	client := r.register("private_key_jwt", "client_credentials",
		map[string]any{"jwks": key.jwks(), "dpop_bound_access_tokens": true}).text("client_id")
	form := r.machine(asserting(key.assertion(client, r.issuer, nil)))
	first := r.post(token, form, proving(proof.proof("POST", token, nil)))
	first.want(t, "no nonce", 400, "use_dpop_nonce")
	r.post(token, form, proving(proof.proof("POST", token, nonce(first)))).
		want(t, "the same assertion", 401, "invalid_client")
	form = r.machine(asserting(key.assertion(client, r.issuer, nil)))
	r.post(token, form, proving(proof.proof("POST", token, nonce(first)))).must(t, "another assertion", http.StatusOK)
}

// TestDPoPJKT is a pushed authorization request that names the key instead of proving it.
func TestDPoPJKT(t *testing.T) {
	t.Parallel()
	r := startFull(t, setup{DPoP: "offered", Nonces: true, PAR: true})
	par, token := r.endpoint("pushed_authorization_request_endpoint"), r.endpoint("token_endpoint")
	key := newSigner(t, "ES256")
	client := r.register("none", "authorization_code", map[string]any{"dpop_bound_access_tokens": true}).text("client_id")
	code := func() (authorization, string) {
		a := r.authorization(client)
		a.request.Set("dpop_jkt", key.thumbprint())
		uri := r.post(par, a.request, nil).must(t, "push", http.StatusCreated).text("request_uri")
		return a, r.walk(map[string][]string{"client_id": {client}, "request_uri": {uri}}).Get("code")
	}
	a, used := code()
	first := r.post(token, r.exchange(a, used, nil), proving(key.proof("POST", token, nil)))
	first.want(t, "no nonce", 400, "use_dpop_nonce")
	other := newSigner(t, "ES256")
	r.post(token, r.exchange(a, used, nil), proving(other.proof("POST", token, nonce(first)))).
		want(t, "another key", 400, "invalid_grant")
	a, used = code()
	r.post(token, r.exchange(a, used, nil), proving(key.proof("POST", token, nonce(first)))).
		must(t, "the key", http.StatusOK)
	r.post(par, a.request, proving(key.proof("POST", par, nil))).want(t, "a proof without a nonce", 400, "use_dpop_nonce")
}

// merged returns both, the second of which prevails.
func merged(a, b map[string]any) map[string]any {
	m := maps.Clone(a)
	maps.Copy(m, b)
	return m
}
