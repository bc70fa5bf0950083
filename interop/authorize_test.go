package interop

import (
	"crypto/rand"
	"crypto/sha256"
	"maps"
	"net/http"
	"net/url"
	"testing"
)

// user is the one who signs in.
func (r *rawServer) user() account {
	a := r.account
	a.pages = []string{r.issuer}
	if transport, ok := r.http.Transport.(*http.Transport); ok {
		a.roots = transport.TLSClientConfig.RootCAs
	}
	return a
}

// authorization is an authorization request (RFC 6749, RFC 7636) and what goes with its code.
type authorization struct {
	request  url.Values
	verifier string
}

func (r *rawServer) authorization(client string) authorization {
	verifier := rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	return authorization{url.Values{"client_id": {client}, "response_type": {"code"},
		"redirect_uri": {registeredURI}, "resource": {r.mcp},
		"scope": {"openid offline_access tools"}, "prompt": {"consent"}, "state": {rand.Text()},
		"code_challenge": {b64(sum[:])}, "code_challenge_method": {"S256"}}, verifier}
}

// walk lets the user through the pages and returns what the client receives.
func (r *rawServer) walk(query url.Values) url.Values {
	r.t.Helper()
	a := r.user()
	a.landed = new(url.URL)
	if err := a.browse(r.t.Context(), r.endpoint("authorization_endpoint")+"?"+query.Encode()); err != nil {
		r.t.Fatal(err)
	}
	return a.landed.Query()
}

// exchange is the token request for a code.
func (r *rawServer) exchange(a authorization, code string, more url.Values) url.Values {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "client_id": a.request["client_id"],
		"redirect_uri": a.request["redirect_uri"], "code_verifier": {a.verifier}, "resource": {r.mcp}}
	maps.Copy(form, more)
	return form
}

// refreshing is the token request for a refresh token.
func (r *rawServer) refreshing(client, token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {client}, "resource": {r.mcp}}
}

// TestRequiredPAR is a server that wants pushed authorization requests (RFC 9126).
func TestRequiredPAR(t *testing.T) {
	t.Parallel()
	r := startFull(t, setup{PAR: true})
	par, token := r.endpoint("pushed_authorization_request_endpoint"), r.endpoint("token_endpoint")
	if r.metadata["require_pushed_authorization_requests"] != true {
		t.Error("the metadata does not require them")
	}
	key := newSigner(t, "ES256")
	client := r.register("private_key_jwt", "authorization_code", map[string]any{"jwks": key.jwks()}).text("client_id")
	a := r.authorization(client)
	if got := r.walk(a.request).Get("error"); got != "invalid_request" {
		t.Errorf("a request that was not pushed: %q, want invalid_request", got)
	}
	r.post(par, a.request, nil).want(t, "without authentication", 401, "invalid_client")

	push := func(a authorization) string {
		form := asserting(key.assertion(client, r.issuer, nil))
		maps.Copy(form, a.request)
		return r.post(par, form, nil).must(t, "push", http.StatusCreated).text("request_uri")
	}
	uri := push(a)
	query := url.Values{"client_id": {client}, "request_uri": {uri}}
	landed := r.walk(query)
	if landed.Get("state") != a.request.Get("state") || landed.Get("iss") != r.issuer {
		t.Errorf("the user comes back with %v", landed)
	}
	granted := r.post(token, r.exchange(a, landed.Get("code"), asserting(key.assertion(client, r.issuer, nil))), nil).
		must(t, "code", http.StatusOK)
	r.call(map[string]string{"Authorization": "Bearer " + granted.text("access_token")}).
		must(t, "MCP server", http.StatusOK)
	if a := r.user(); a.browse(t.Context(), r.endpoint("authorization_endpoint")+"?"+query.Encode()) == nil {
		t.Error("a request_uri works twice")
	}
}

// TestResourceIndicator is the audience of a token (RFC 8707).
func TestResourceIndicator(t *testing.T) {
	t.Parallel()
	r := startFull(t, setup{})
	client := r.register("none", "authorization_code", nil).text("client_id")
	a := r.authorization(client)
	a.request.Set("resource", "https://other.example/mcp")
	if got := r.walk(a.request).Get("error"); got != "invalid_target" {
		t.Errorf("another resource: %q, want invalid_target", got)
	}
	a = r.authorization(client)
	granted := r.post(r.endpoint("token_endpoint"), r.exchange(a, r.walk(a.request).Get("code"), nil), nil).
		must(t, "code", http.StatusOK)
	if got := claims(t, granted.text("access_token")).Aud; got != r.mcp {
		t.Errorf("audience: %v, want %q", got, r.mcp)
	}
}
