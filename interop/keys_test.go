package interop

import (
	"context"
	"crypto/tls"
	"net/http"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/clientkey"
	"github.com/modelcontextprotocol/go-sdk/auth"
)

// served returns the counts of the server, which it forgets.
func (p *program) served() map[string]int {
	p.t.Helper()
	if _, err := p.stdin.Write([]byte("counts\n")); err != nil {
		p.t.Fatal(err)
	}
	var counts map[string]int
	p.decode("done ", &counts)
	return counts
}

// full starts oidc-provider set up in a way, for clients that authenticate with a method and
// are configured likewise.
func full(s setup, method string, configure func(*testing.T, *authServer, *handstamp.Client)) func(*testing.T, string) *authServer {
	return func(t *testing.T, _ string) *authServer {
		r := startFull(t, s)
		as := &authServer{issuer: r.issuer, path: "/mcp", mcp: r.mcp, scopes: []string{"tools"},
			register: "/reg", token: "/token", method: method, manages: true,
			username: r.account.username, password: r.account.password,
			outlives: true, // JWTs, which are not revoked
			verify:   unexpired(t), forgotten: handstamp.ErrLoginRequired, rememberClients: func() {},
			served: r.program.served, counts: make(map[string]int)}
		as.lifetime = func(d time.Duration) { r.program.order("lifetime %d", int(d.Seconds())) }
		as.forgetClients = func() { r.program.order("forget-clients") }
		if configure != nil {
			as.configure = func(c *handstamp.Client) { configure(t, as, c) }
		}
		return as
	}
}

// unexpired looks at a JWT's end, since who checks it whole wants a proof with it.
func unexpired(t *testing.T) auth.TokenVerifier {
	return func(_ context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		if end := time.Unix(claims(t, token).Exp, 0); time.Now().After(end) {
			return nil, auth.ErrInvalidToken
		}
		return &auth.TokenInfo{}, nil
	}
}

// withKey has the client authenticate with a key.
func withKey(t *testing.T, alg string) func(*testing.T, *authServer, *handstamp.Client) {
	t.Helper()
	key, err := clientkey.Generate(alg)
	if err != nil {
		t.Fatal(err)
	}
	return func(_ *testing.T, _ *authServer, c *handstamp.Client) { c.Key = key }
}

// TestKeysThroughTheLibrary lives the life of a login with each way to authenticate a client
// and to bind a token that oidc-provider has.
func TestKeysThroughTheLibrary(t *testing.T) {
	ca := newAuthority(t)
	for _, c := range []struct {
		name   string
		setup  setup
		method string
		extra  int // the authorization server's nonce, at the first login
		client func(*testing.T, *authServer, *handstamp.Client)
	}{
		{"private_key_jwt ES256", setup{}, "private_key_jwt", 0, withKey(t, "ES256")},
		{"private_key_jwt EdDSA", setup{}, "private_key_jwt", 0, withKey(t, "EdDSA")},
		{"DPoP required", setup{DPoP: "required"}, "none", 0, nil},
		{"DPoP required, nonces", setup{DPoP: "required", Nonces: true}, "none", 1, nil},
		{"DPoP offered, nonces", setup{DPoP: "offered", Nonces: true}, "none", 1, nil},
		{"DPoP with nonces, private_key_jwt", setup{DPoP: "required", Nonces: true}, "private_key_jwt", 1, withKey(t, "ES256")},
		{"certificate-bound tokens", setup{TLS: ca.setup(), Bound: true}, "none", 0, withCertificate(ca, ca.client("mine"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			start := full(c.setup, c.method, c.client)
			l := newLibrary(newScene(t, func(t *testing.T, resource string) *authServer {
				as := start(t, resource)
				as.extra = c.extra
				if c.setup.TLS != nil {
					as.roots = ca.roots()
				}
				return as
			}))
			l.live()
		})
	}
}

// withCertificate has the client present a certificate to servers that this authority certifies.
func withCertificate(ca *authority, cert tls.Certificate) func(*testing.T, *authServer, *handstamp.Client) {
	return func(_ *testing.T, _ *authServer, c *handstamp.Client) {
		c.Certificate = &cert
		transport := &http.Transport{TLSClientConfig: ca.present(cert)}
		c.BaseTransport, c.AuthTransport = transport, transport
	}
}
