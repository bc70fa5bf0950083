package oauth

import (
	"reflect"
	"testing"
)

func TestIssuerWithAPlaceholder(t *testing.T) {
	const template = "https://login.example/{tenantid}/v2.0"
	for iss, want := range map[string]bool{
		"https://login.example/9188040d-6c67/v2.0": true, "https://login.example/common/v2.0": true,
		"https://login.example//v2.0": false, "https://login.example/v2.0": false, "https://login.example/a/b/v2.0": false,
		"https://login.example/a/v2.0/": false, "https://login.example/..%2f/v2.0": false, "https://login.example/{tenantid}/v2.0": false,
		"https://evil.example/a/v2.0": false, "http://login.example/a/v2.0": false, "": false,
	} {
		if got := matchesIssuer(iss, template); got != want {
			t.Errorf("%q: %t", iss, got)
		}
	}
	for _, hostile := range []string{"https://{host}/", "https://{host}.example/v2.0", "{all}"} {
		if matchesIssuer("https://evil/", hostile) || matchesIssuer("https://evil.example/v2.0", hostile) || matchesIssuer("evil", hostile) {
			t.Errorf("%q stands for another host", hostile)
		}
	}
	for _, plain := range []string{"https://as.example", "https://as.example/{", "https://as.example/}"} {
		if !matchesIssuer(plain, plain) || matchesIssuer(plain+"x", plain) {
			t.Errorf("%q is not compared byte by byte", plain)
		}
	}
}

// What is stored of a server that the user states reads the same in a later session.
func TestStatedServerReadsTheSameLater(t *testing.T) {
	for name, changes := range map[string]map[string]any{
		"another issuer": {"issuer": "https://other.example"}, "a placeholder": {"issuer": "https://as.example/{tenantid}"},
		"no issuer": {"issuer": nil}, "no token endpoint": {"token_endpoint": nil},
	} {
		s, asked := serveDocuments(t, map[string]place{"/t" + wellKnownOIDC: {body: string(metadata("BASE", changes))}})
		stated := ConfiguredServer{Issuer: s.URL + "/t", TokenEndpoint: "https://as.example/token"}
		m, err := fetcher(t).ConfiguredServerMetadata(t.Context(), stated)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if m.Issuer != stated.Issuer || m.TokenEndpoint != stated.TokenEndpoint || m.AuthorizationEndpoint != "https://as.example/authorize" || len(asked.list()) != 3 {
			t.Errorf("%s: %+v after %q", name, m, asked.list())
		}
		again, err := ParseServerMetadata(m.Raw, m.Issuer, m.Form)
		if err != nil {
			t.Errorf("%s: stored: %v", name, err)
			continue
		}
		again.CallbackIssuer = m.CallbackIssuer // which a login needs, and no later session
		if !reflect.DeepEqual(again, m) {
			t.Errorf("%s: stored as %+v, want %+v", name, again, m)
		}
	}
}

// An endpoint that the user states is used with a client certificate, too, now and in a later session.
func TestStatedEndpointsComeBeforeAliases(t *testing.T) {
	const alias = "https://mtls.example/x"
	s, _ := serveDocuments(t, map[string]place{wellKnownOAuth: {body: string(metadata("BASE", map[string]any{
		"revocation_endpoint": "https://as.example/revoke",
		"mtls_endpoint_aliases": map[string]string{
			"token_endpoint": alias, "registration_endpoint": alias, "revocation_endpoint": alias, "userinfo_endpoint": alias,
		},
	}))}})
	stated := ConfiguredServer{Issuer: s.URL, TokenEndpoint: "https://as.example/t", RevocationEndpoint: "https://as.example/r"}
	m, err := fetcher(t).ConfiguredServerMetadata(t.Context(), stated)
	if err != nil {
		t.Fatal(err)
	}
	later, err := ParseServerMetadata(m.Raw, m.Issuer, m.Form)
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]*ServerMetadata{"now": m, "later": later} {
		m = m.ForCertificates(func(string) bool { return true })
		if m.TokenEndpoint != stated.TokenEndpoint || m.RevocationEndpoint != stated.RevocationEndpoint ||
			m.RegistrationEndpoint != alias || m.UserinfoEndpoint != alias {
			t.Errorf("%s: %s, %s, %s, %s", name, m.TokenEndpoint, m.RevocationEndpoint, m.RegistrationEndpoint, m.UserinfoEndpoint)
		}
	}
}
