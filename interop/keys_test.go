package interop

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/secret"
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

// full starts oidc-provider set up in a way.
func full(t *testing.T, s setup) (*authServer, *rawServer) {
	r := startFull(t, s)
	as := &authServer{issuer: r.issuer, path: "/mcp", mcp: r.mcp, scopes: []string{"tools"},
		register: "/reg", token: "/token", method: "none", manages: true,
		username: r.account.username, password: r.account.password,
		outlives: true, // JWTs, which are not revoked
		verify:   unexpired(t), forgotten: handstamp.ErrLoginRequired, rememberClients: func() {},
		served: r.program.served, counts: make(map[string]int)}
	as.lifetime = func(d time.Duration) { r.program.order("lifetime %d", int(d.Seconds())) }
	as.forgetClients = func() { r.program.order("forget-clients") }
	return as, r
}

// console gives the user a client, as a server's console would.
func (s *authServer) console(r *rawServer, method string, more map[string]any) {
	s.registered(r.register(method, "authorization_code", more), method)
}

// registered is the client of a registration that the user has at hand.
func (s *authServer) registered(created response, method string) {
	s.register, s.forgetClients, s.manages, s.method = "", nil, false, method
	s.registration = &handstamp.Registration{ClientID: created.text("client_id"), TokenEndpointAuthMethod: method,
		ClientSecret: secret.String(created.text("client_secret"))}
	s.reset()
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

// TestBoundTokensThroughTheLibrary lives the life of a login whose tokens are bound to a key
// or a certificate.
func TestBoundTokensThroughTheLibrary(t *testing.T) {
	for _, s := range []setup{{DPoP: "required"}, {DPoP: "required", Nonces: true}, {DPoP: "offered", Nonces: true}} {
		t.Run(fmt.Sprintf("DPoP %s, nonces %v", s.DPoP, s.Nonces), func(t *testing.T) {
			t.Parallel()
			l := newLibrary(newScene(t, func(t *testing.T, _ string) *authServer {
				as, _ := full(t, s) // the nonce comes with the pushed authorization request
				return as
			}))
			l.live()
			l.bound("jkt")
		})
	}
	t.Run("certificate", func(t *testing.T) {
		t.Parallel()
		ca := newAuthority(t)
		l := newLibrary(newScene(t, func(t *testing.T, _ string) *authServer {
			as, r := full(t, setup{TLS: ca.setup(), Bound: true})
			as.console(r.trusting(ca.trust()), "none", map[string]any{"tls_client_certificate_bound_access_tokens": true})
			as.present(ca, ca.client("mine"))
			return as
		}))
		l.live()
		l.bound("x5t#S256")
	})
}

// TestRequiredPARThroughTheLibrary lives the life of a login whose authorization requests have to
// be pushed.
func TestRequiredPARThroughTheLibrary(t *testing.T) {
	for name, s := range map[string]setup{"": {PAR: true}, "DPoP and nonces": {PAR: true, DPoP: "required", Nonces: true}} {
		t.Run("public "+name, func(t *testing.T) {
			t.Parallel()
			l := newLibrary(newScene(t, func(t *testing.T, _ string) *authServer {
				as, _ := full(t, s)
				return as
			}))
			l.live()
		})
		t.Run("private_key_jwt "+name, func(t *testing.T) {
			t.Parallel()
			key, err := clientkey.Generate("ES256")
			if err != nil {
				t.Fatal(err)
			}
			l := newLibrary(newScene(t, func(t *testing.T, _ string) *authServer {
				as, r := full(t, s)
				as.console(r, "private_key_jwt", map[string]any{"jwks": json.RawMessage(key.JWKS())})
				as.configure = func(c *handstamp.Client) { c.Key = key }
				return as
			}))
			l.live()
		})
	}
}

// bound checks what tokens are bound to.
func (l *library) bound(to string) {
	l.t.Helper()
	l.mustCall("another login", handstamp.LoginAuto)
	if claims(l.t, l.grant().AccessToken.Reveal()).Cnf[to] == "" {
		l.t.Errorf("the token is not bound by %s", to)
	}
}

// present has the client present a certificate to servers that this authority certifies.
func (s *authServer) present(ca *authority, cert tls.Certificate) {
	s.roots = ca.roots()
	s.configure = func(c *handstamp.Client) {
		c.Certificate = &cert
		c.BaseTransport = &http.Transport{TLSClientConfig: ca.present(cert)} // from which AuthTransport is made
		if s.mcp == s.issuer+s.path {
			c.BaseTransport = &http.Transport{TLSClientConfig: ca.trust()} // the MCP server wants none
		}
	}
}

// TestClientAuthenticationThroughTheLibrary lives the life of a login with clients that prove
// who they are without sending a secret.
func TestClientAuthenticationThroughTheLibrary(t *testing.T) {
	ca := newAuthority(t)
	withKey := func(alg string, s setup) func(*testing.T, string) *authServer {
		return func(t *testing.T, _ string) *authServer {
			key, err := clientkey.Generate(alg)
			if err != nil {
				t.Fatal(err)
			}
			as, r := full(t, s)
			as.console(r, "private_key_jwt", map[string]any{"jwks": json.RawMessage(key.JWKS())})
			as.configure = func(c *handstamp.Client) { c.Key = key }
			return as
		}
	}
	withCertificate := func(method string, cert tls.Certificate, more map[string]any) func(*testing.T, string) *authServer {
		return func(t *testing.T, _ string) *authServer {
			as, r := full(t, setup{TLS: ca.setup()})
			as.console(r.trusting(ca.trust()), method, more)
			as.present(ca, cert)
			return as
		}
	}
	alone := ca.selfSigned("alone")
	registering := func(t *testing.T, _ string) *authServer {
		key, err := clientkey.Generate("ES256")
		if err != nil {
			t.Fatal(err)
		}
		as, _ := full(t, setup{})
		as.method = "private_key_jwt"
		as.configure = func(c *handstamp.Client) { c.Key = key }
		return as
	}
	for name, start := range map[string]func(*testing.T, string) *authServer{
		"private_key_jwt, registered by itself": registering,
		"private_key_jwt, ES256":                withKey("ES256", setup{}),
		"private_key_jwt, EdDSA":                withKey("EdDSA", setup{}),
		"private_key_jwt, RS256":                withKey("RS256", setup{}),
		"private_key_jwt, DPoP and nonces":      withKey("ES256", setup{DPoP: "required", Nonces: true}),
		"client_secret_jwt": func(t *testing.T, _ string) *authServer {
			as, r := full(t, setup{})
			as.console(r, "client_secret_jwt", nil)
			return as
		},
		"tls_client_auth": withCertificate("tls_client_auth", ca.client("mine"),
			map[string]any{"tls_client_auth_san_dns": "mine.example"}),
		"self_signed_tls_client_auth": withCertificate("self_signed_tls_client_auth", alone,
			map[string]any{"jwks": certificateJWKS(alone)}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			newLibrary(newScene(t, start)).live()
		})
	}
}
