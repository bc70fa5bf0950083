package interop

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/secret"
)

// machineLife is a login without a user: its sessions open no tab and keep no refresh token.
func (l *library) machineLife() {
	l.t.Helper()
	l.mustCall("first session", handstamp.LoginNever)
	l.want("first session", l.as.token, 1+l.as.extra)
	if l.grant().RefreshToken != "" {
		l.t.Error("there is a refresh token")
	}
	l.expired()

	l.as.reset()
	l.callAtOnce()
	l.want("expired token, many at once", l.as.token, 1)

	l.as.reset()
	l.mustCall("second session", handstamp.LoginNever)
	l.want("second session", "", 0)
	l.wantTabs("all sessions", 0)
}

// TestMachinesThroughTheLibrary has services sign themselves in at oidc-provider.
func TestMachinesThroughTheLibrary(t *testing.T) {
	ca := newAuthority(t)
	cert := ca.client("mine")
	key, err := clientkey.Generate("ES256")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method string
		setup  setup
		client map[string]any
	}{
		{"client_secret_basic", setup{}, nil},
		{"client_secret_post", setup{}, nil},
		{"client_secret_jwt", setup{}, nil},
		{"private_key_jwt", setup{}, map[string]any{"jwks": json.RawMessage(key.JWKS())}},
		{"private_key_jwt", setup{DPoP: "required", Nonces: true}, map[string]any{"jwks": json.RawMessage(key.JWKS())}},
		{"tls_client_auth", setup{TLS: ca.setup()}, map[string]any{"tls_client_auth_subject_dn": "CN=mine,O=Interop"}},
	} {
		name := c.method
		if c.setup.Nonces {
			name += ", DPoP and nonces"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLibrary(newScene(t, func(t *testing.T, _ string) *authServer {
				as, r := full(t, c.setup)
				if c.setup.TLS != nil {
					r = r.trusting(ca.trust())
					as.present(ca, cert)
				}
				as.machine(r, c.method, c.client)
				if c.setup.Nonces {
					as.extra = 1
				}
				return as
			}))
			configure := l.as.configure
			l.as.configure = func(client *handstamp.Client) {
				if configure != nil {
					configure(client)
				}
				client.Grant = handstamp.ClientCredentials{}
				if c.method == "private_key_jwt" {
					client.Key = key
				}
			}
			l.machineLife()
		})
	}
}

// machine gives the user a client that acts for itself.
func (s *authServer) machine(r *rawServer, method string, more map[string]any) {
	s.registered(r.register(method, "client_credentials", more), method)
}

// TestJWTBearerThroughTheLibrary has a workload sign in at zitadel/oidc with an assertion.
func TestJWTBearerThroughTheLibrary(t *testing.T) {
	t.Parallel()
	key := newSigner(t, "RS256")
	l := newLibrary(newScene(t, func(t *testing.T, _ string) *authServer {
		as, connect := newAuthServer(t)
		handler, z := zitadelWithKeys(as.issuer, key)
		behind := httptest.NewServer(handler)
		t.Cleanup(behind.Close)
		connect(behind.URL)
		as.scopes, as.token = []string{"openid"}, "/oauth/token"
		as.verify = unexpired(t)
		as.lifetime = func(d time.Duration) { z.set(func() { z.lifetime = d }) }
		as.configure = func(c *handstamp.Client) {
			c.Grant = handstamp.JWTBearer{Assertion: func(_ context.Context, target handstamp.GrantTarget) (secret.String, error) {
				return secret.String(key.assertion("keyed", target.Issuer, nil)), nil
			}}
			c.Registration = &handstamp.Registration{ClientID: "public", TokenEndpointAuthMethod: "none"}
		}
		return as
	}))
	l.machineLife()
}
