package interop

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
)

// clientOrigin is where the client ID metadata documents seem to be; the server fetches them
// from a site of the test's.
const (
	clientOrigin = "https://client.example.com"
	publicID     = clientOrigin + "/public.json"
	keyedID      = clientOrigin + "/keyed.json"
	webURI       = clientOrigin + "/callback"
)

// startAtproto starts the AT Protocol's OAuth provider. It knows clients by their documents
// alone, of which there are two here: publicID, and keyedID, which has the key.
func startAtproto(t *testing.T, key signer) *rawServer {
	t.Helper()
	documents := map[string]map[string]any{"/public.json": atprotoClient(publicID)}
	if key.key != nil {
		documents["/keyed.json"] = atprotoClient(keyedID)
		maps.Copy(documents["/keyed.json"], map[string]any{"application_type": "web",
			"redirect_uris": []string{webURI}, "token_endpoint_auth_method": "private_key_jwt",
			"token_endpoint_auth_signing_alg": key.alg, "jwks": key.jwks()})
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(documents[r.URL.Path]); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(site.Close)
	raw, err := json.Marshal(map[string]any{"documents": map[string]string{clientOrigin: site.URL}})
	if err != nil {
		t.Fatal(err)
	}
	return startRaw(t, "atproto.mjs", string(raw))
}

// atprotoClient is a public client. From one with a key, the provider takes no loopback redirects.
func atprotoClient(id string) map[string]any {
	return map[string]any{"client_id": id, "grant_types": []string{"authorization_code", "refresh_token"},
		"response_types": []string{"code"}, "scope": "atproto", "dpop_bound_access_tokens": true,
		"application_type": "native", "redirect_uris": []string{redirectURI}, "token_endpoint_auth_method": "none"}
}

// atprotoAuthorization is a request with the one scope that there is.
func (r *rawServer) atprotoAuthorization(client, redirect string) authorization {
	a := r.authorization(client)
	a.request.Set("scope", "atproto")
	a.request.Set("redirect_uri", redirect)
	return a
}

// nonceOf returns a nonce of the authorization server.
func (r *rawServer) nonceOf(key signer, url string) map[string]any {
	r.t.Helper()
	first := r.post(url, nil, proving(key.proof("POST", url, nil)))
	if first.header.Get("DPoP-Nonce") == "" {
		r.t.Fatalf("there is no nonce: %v", first.body)
	}
	return nonce(first)
}

// TestDPoPAtAtproto is a second server's DPoP, pushed requests and private_key_jwt.
func TestDPoPAtAtproto(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"", "ES256"} {
		var client signer
		id, redirect := publicID, registeredURI
		if alg != "" {
			client, id, redirect = newSigner(t, alg), keyedID, webURI
		}
		r := startAtproto(t, client)
		key, other := newSigner(t, "ES256"), newSigner(t, "ES256")
		par, token := r.endpoint("pushed_authorization_request_endpoint"), r.endpoint("token_endpoint")
		credentials := func() url.Values {
			if alg == "" {
				return url.Values{"client_id": {id}}
			}
			form := asserting(client.assertion(id, r.issuer, nil))
			form.Set("client_id", id)
			return form
		}
		send := func(key signer, url string, form url.Values) response {
			return r.post(url, merge(form, credentials()), proving(key.proof("POST", url, r.nonceOf(key, url))))
		}
		a := r.atprotoAuthorization(id, redirect)
		r.post(par, merge(a.request, credentials()), proving(key.proof("POST", par, nil))).
			want(t, "PAR, no nonce", 400, "use_dpop_nonce")
		uri := send(key, par, a.request).must(t, "PAR", http.StatusCreated).text("request_uri")
		code := r.walk(url.Values{"client_id": {id}, "request_uri": {uri}}).Get("code")
		form := r.exchange(a, code, nil)
		r.post(token, merge(form, credentials()), nil).want(t, "no proof", 401, "invalid_dpop_proof")
		granted := send(key, token, form).must(t, "code", http.StatusOK)
		access := granted.text("access_token")
		if got := claims(t, access).Cnf["jkt"]; got != key.thumbprint() {
			t.Errorf("the token is bound to %q", got)
		}
		rejected := r.call(r.bound(key, access, nil)).must(t, "MCP server, no nonce", http.StatusUnauthorized)
		r.call(r.bound(key, access, nonce(rejected))).must(t, "MCP server", http.StatusOK)
		r.call(r.bound(other, access, nonce(rejected))).must(t, "MCP server, another key", http.StatusUnauthorized)
		r.call(bearer(access)).must(t, "MCP server, Bearer", http.StatusUnauthorized)

		refresh := r.refreshing(id, granted.text("refresh_token"))
		granted = send(key, token, refresh).must(t, "refresh", http.StatusOK)
		access = granted.text("access_token")
		r.call(r.bound(key, access, nonce(rejected))).must(t, "MCP server, refreshed", http.StatusOK)

		// A revocation without a proof reports success and revokes nothing.
		revocation := r.endpoint("revocation_endpoint")
		revoke := url.Values{"token": {granted.text("refresh_token")}}
		r.post(revocation, merge(revoke, credentials()), nil).must(t, "revocation, no proof", http.StatusOK)
		r.call(r.bound(key, access, nonce(rejected))).must(t, "MCP server, after that", http.StatusOK)
		send(key, revocation, revoke).must(t, "revocation", http.StatusOK)
		r.call(r.bound(key, access, nonce(rejected))).must(t, "MCP server, revoked", http.StatusUnauthorized)
		send(key, token, r.refreshing(id, granted.text("refresh_token"))).want(t, "refresh, revoked", 400, "invalid_grant")
	}
}

// TestPrivateKeyJWTAtAtproto is what the server wants of an assertion.
func TestPrivateKeyJWTAtAtproto(t *testing.T) {
	t.Parallel()
	client := newSigner(t, "ES256")
	r := startAtproto(t, client)
	par := r.endpoint("pushed_authorization_request_endpoint")
	push := func(proof signer, assertion string) response {
		form := merge(r.atprotoAuthorization(keyedID, webURI).request, asserting(assertion))
		return r.post(par, form, proving(proof.proof("POST", par, r.nonceOf(proof, par))))
	}
	key := newSigner(t, "ES256")
	now := time.Now().Unix()
	push(key, client.assertion(keyedID, r.issuer, nil)).must(t, "audience: the issuer", http.StatusCreated)
	push(key, client.assertion(keyedID, []string{"x", r.issuer}, nil)).must(t, "audience: a list", http.StatusCreated)
	push(key, client.assertion(keyedID, par, nil)).want(t, "audience: the endpoint", 400, "invalid_client")
	push(key, client.assertion(keyedID, r.endpoint("token_endpoint"), nil)).
		want(t, "audience: the token endpoint", 400, "invalid_client")
	push(key, newSigner(t, "ES256").assertion(keyedID, r.issuer, nil)).want(t, "another key", 400, "invalid_client")
	for what, differ := range map[string]map[string]any{
		"issued in five minutes": {"iat": now + 300, "exp": now + 360},
		"issued two minutes ago": {"iat": now - 120},
		"expired":                {"exp": now - 1},
		"no iat":                 {"iat": nil},
		"no jti":                 {"jti": nil},
	} {
		push(key, client.assertion(keyedID, r.issuer, differ)).want(t, what, 400, "invalid_client")
	}
	unnamed := client.sign(map[string]any{}, map[string]any{"iss": keyedID, "sub": keyedID, "aud": r.issuer,
		"iat": now, "exp": now + 60, "jti": "unnamed"})
	push(key, unnamed).want(t, "no kid", 400, "invalid_client")
	once := client.assertion(keyedID, r.issuer, nil)
	push(key, once).must(t, "first use", http.StatusCreated)
	push(key, once).want(t, "second use", 400, "invalid_grant")
}

// TestSessionsEndAtAtproto is a refresh with a wrong key, which ends the session.
func TestSessionsEndAtAtproto(t *testing.T) {
	t.Parallel()
	r := startAtproto(t, signer{})
	key := newSigner(t, "ES256")
	par, token := r.endpoint("pushed_authorization_request_endpoint"), r.endpoint("token_endpoint")
	send := func(key signer, form url.Values) response {
		return r.post(token, form, proving(key.proof("POST", token, r.nonceOf(key, token))))
	}
	a := r.atprotoAuthorization(publicID, registeredURI)
	a.request.Set("dpop_jkt", key.thumbprint())
	uri := r.post(par, a.request, nil).must(t, "PAR with the key's thumbprint, no proof", http.StatusCreated).text("request_uri")
	code := r.walk(url.Values{"client_id": {publicID}, "request_uri": {uri}}).Get("code")
	granted := send(key, r.exchange(a, code, nil)).must(t, "code", http.StatusOK)
	refresh := r.refreshing(publicID, granted.text("refresh_token"))
	send(newSigner(t, "ES256"), refresh).want(t, "refresh, another key", 400, "invalid_grant")
	send(key, refresh).want(t, "refresh, after that", 400, "invalid_grant")
}

// TestClientDocumentAtAtproto is a client whose document is not there, or is not its own.
func TestClientDocumentAtAtproto(t *testing.T) {
	t.Parallel()
	r := startAtproto(t, signer{})
	par := r.endpoint("pushed_authorization_request_endpoint")
	if r.metadata["client_id_metadata_document_supported"] != true {
		t.Error("the metadata does not offer it")
	}
	key := newSigner(t, "ES256")
	for id, want := range map[string]int{publicID: 201, clientOrigin + "/missing.json": 400, clientOrigin + ":8443/public.json": 400} {
		a := r.atprotoAuthorization(id, registeredURI)
		a.request.Set("dpop_jkt", key.thumbprint())
		r.post(par, a.request, nil).must(t, id, want)
	}
}

// TestAtprotoThroughTheLibrary lives the life of a login at a second server that binds tokens,
// with nonces and pushed requests; the client is known by its document alone.
func TestAtprotoThroughTheLibrary(t *testing.T) {
	t.Parallel()
	l := newLibrary(newScene(t, func(t *testing.T, _ string) *authServer {
		r := startAtproto(t, signer{})
		as := &authServer{issuer: r.issuer, path: "/mcp", scopes: []string{"atproto"}, token: "/oauth/token",
			method: "none", username: r.account.username, password: r.account.password,
			outlives: true, verify: unexpired(t), served: r.program.served, counts: make(map[string]int)}
		as.lifetime = func(d time.Duration) { r.program.order("lifetime %d", int(d.Seconds())) }
		as.configure = func(c *handstamp.Client) { c.ClientMetadataURL = publicID }
		return as
	}))
	l.live()
}
