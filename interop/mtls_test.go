package interop

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"testing"
)

// alias returns an endpoint for clients with certificates (RFC 8705, section 5).
func (r *rawServer) alias(name string) string {
	r.t.Helper()
	r.endpoint(name)
	aliases, _ := r.metadata["mtls_endpoint_aliases"].(map[string]any)
	alias, ok := aliases[name].(string)
	if !ok {
		r.t.Fatalf("there is no alias of the %s", name)
	}
	return alias
}

// startMTLS starts oidc-provider with TLS.
func startMTLS(t *testing.T, s setup) (*rawServer, *authority) {
	ca := newAuthority(t)
	s.TLS = ca.setup()
	return startFull(t, s).trusting(ca.trust()), ca
}

// TestTLSClientAuth is a client whose certificate an authority signed (RFC 8705, section 2.1).
func TestTLSClientAuth(t *testing.T) {
	t.Parallel()
	r, ca := startMTLS(t, setup{})
	mine, other := ca.client("mine"), ca.client("other")
	token := r.alias("token_endpoint")
	for name, value := range map[string]string{
		"tls_client_auth_subject_dn": "CN=mine,O=Interop",
		"tls_client_auth_san_dns":    "mine.example",
		"tls_client_auth_san_uri":    "spiffe://interop.example/mine",
	} {
		client := r.register("tls_client_auth", "client_credentials", map[string]any{name: value}).text("client_id")
		form := r.machine(url.Values{"client_id": {client}})
		with := func(config *tls.Config) response { return r.trusting(config).post(token, form, nil) }
		with(ca.present(mine)).must(t, name, http.StatusOK)
		with(ca.present(other)).want(t, name+", another certificate", 401, "invalid_client")
		with(ca.present(ca.selfSigned("mine"))).want(t, name+", an unknown authority", 401, "invalid_client")
		with(ca.trust()).want(t, name+", no certificate", 401, "invalid_client")
		r.trusting(ca.present(mine)).post(r.endpoint("token_endpoint"), form, nil).
			want(t, name+", not at the alias", 401, "invalid_client")
	}
}

// TestSelfSignedTLSClientAuth is a client that registered its certificate (RFC 8705, section 2.2).
func TestSelfSignedTLSClientAuth(t *testing.T) {
	t.Parallel()
	r, ca := startMTLS(t, setup{})
	mine := ca.selfSigned("mine")
	client := r.register("self_signed_tls_client_auth", "client_credentials",
		map[string]any{"jwks": certificateJWKS(mine)}).text("client_id")
	token, form := r.alias("token_endpoint"), r.machine(url.Values{"client_id": {client}})
	r.trusting(ca.present(mine)).post(token, form, nil).must(t, "the certificate", http.StatusOK)
	r.trusting(ca.present(ca.selfSigned("mine"))).post(token, form, nil).want(t, "another", 401, "invalid_client")

	// The server lists the authorities it knows, and crypto/tls holds back what these did
	// not sign, unless GetClientCertificate gives it.
	listed := &tls.Config{RootCAs: ca.roots(), Certificates: []tls.Certificate{mine}}
	r.trusting(listed).post(token, form, nil).want(t, "a certificate that is held back", 401, "invalid_client")
}

// TestCertificateBoundTokens are good only with the certificate (RFC 8705, section 3), for a
// public client too.
func TestCertificateBoundTokens(t *testing.T) {
	t.Parallel()
	r, ca := startMTLS(t, setup{Bound: true})
	mine, other := ca.client("mine"), ca.client("other")
	client := r.register("none", "authorization_code",
		map[string]any{"tls_client_certificate_bound_access_tokens": true}).text("client_id")
	a := r.authorization(client)
	form := r.exchange(a, r.walk(a.request).Get("code"), nil)
	token := r.alias("token_endpoint")
	r.post(token, form, nil).want(t, "no certificate", 400, "invalid_grant")
	with := r.trusting(ca.present(mine))
	granted := with.post(token, form, nil).must(t, "code", http.StatusOK)
	access := granted.text("access_token")
	if got := claims(t, access).Cnf["x5t#S256"]; got != certificateThumbprint(mine) {
		t.Errorf("the token is bound to %q", got)
	}
	with.call(bearer(access)).must(t, "MCP server", http.StatusOK)
	r.trusting(ca.present(other)).call(bearer(access)).must(t, "MCP server, another", http.StatusUnauthorized)
	r.call(bearer(access)).must(t, "MCP server, none", http.StatusUnauthorized)

	form = r.refreshing(client, granted.text("refresh_token"))
	r.trusting(ca.present(other)).post(token, form, nil).want(t, "refresh, another", 400, "invalid_grant")
	with.post(token, form, nil).must(t, "refresh", http.StatusOK)
}
