package lab_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// startTLS starts servers that speak HTTPS.
func startTLS(t *testing.T, h lab.Habits) *hand {
	t.Helper()
	c := startWith(t, h, lab.Options{TLS: true})
	c.present(tls.Certificate{})
	return c
}

// present makes the client use a certificate from now on, or none.
func (c *hand) present(certificate tls.Certificate) {
	config := &tls.Config{RootCAs: c.server.CertPool()}
	if certificate.Certificate != nil {
		config.Certificates = []tls.Certificate{certificate}
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	c.t.Cleanup(transport.CloseIdleConnections)
	c.http.Transport = transport
}

// selfSigned is a certificate without an authority.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mine"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: k}
}

func thumbprintOf(certificate tls.Certificate) string {
	sum := sha256.Sum256(certificate.Certificate[0])
	return b64(sum[:])
}

func (c *hand) issue(name string) tls.Certificate {
	c.t.Helper()
	certificate, err := c.server.IssueCertificate(name)
	if err != nil {
		c.t.Fatal(err)
	}
	return certificate
}

// TestTLSClientAuth authenticates a client by the subject of its certificate.
func TestTLSClientAuth(t *testing.T) {
	c := startTLS(t, lab.Habits{Methods: []string{lab.MethodTLS}})
	c.server.RegisterClient(lab.ConfiguredClient{ID: c.id, Method: lab.MethodTLS, SubjectDN: "CN=ana", RedirectURIs: []string{redirectURI}})
	other := startTLS(t, lab.Habits{})
	wrong := map[string]tls.Certificate{
		"none": {}, "another subject": c.issue("bo"), "self-signed": selfSigned(t), "another authority": other.issue("ana"),
	}
	for name, certificate := range wrong {
		c.present(certificate)
		if r := c.refresh(c.server.Issue(c.id, "", "").Refresh, nil); r.status != 401 || r.text("error") != "invalid_client" {
			t.Errorf("%s: %d %s", name, r.status, r.raw)
		}
	}
	good := c.issue("ana")
	c.present(good)
	token := c.login(nil)
	c.refresh(token.text("refresh_token"), nil).is(t, 200, "")
	if !c.works(token.text("access_token")) || token.text("token_type") != "Bearer" {
		t.Error("the token does not work")
	}
	requests := c.server.Requests()
	if r := requests[len(requests)-2]; r.AuthMethod != lab.MethodTLS || r.Certificate != thumbprintOf(good) {
		t.Errorf("noted as %v %q", r, r.Certificate)
	}
	c.secret, c.method = "x", lab.MethodPost
	c.refresh("x", nil).is(t, 401, "invalid_client")
	plain := start(t, lab.Habits{})
	if _, err := plain.server.IssueCertificate("ana"); err == nil || plain.server.CertPool() != nil || plain.server.CertificatePEM() != nil {
		t.Error("a certificate without TLS")
	}
	if !strings.HasPrefix(string(c.server.CertificatePEM()), "-----BEGIN CERTIFICATE-----") {
		t.Error("no PEM")
	}
}

// TestSelfSignedTLS authenticates a client by a certificate that is in its JWK set.
func TestSelfSignedTLS(t *testing.T) {
	mine := selfSigned(t)
	for _, member := range []map[string]any{
		{"x5c": []string{base64.StdEncoding.EncodeToString(mine.Certificate[0])}}, {"x5t#S256": thumbprintOf(mine)},
	} {
		c := startTLS(t, lab.Habits{Methods: []string{lab.MethodSelfSignedTLS}})
		member["kty"] = "EC"
		set := map[string]any{"keys": []any{member}}
		c.register(map[string]any{"token_endpoint_auth_method": lab.MethodSelfSignedTLS}).is(t, 400, "invalid_client_metadata")
		if r := c.register(map[string]any{"token_endpoint_auth_method": lab.MethodSelfSignedTLS, "jwks": set}); r.status != 201 || r.text("client_secret") != "" {
			t.Fatalf("registered %s", r.raw)
		}
		for _, wrong := range []tls.Certificate{{}, selfSigned(t), c.issue("mine")} {
			c.present(wrong)
			c.refresh("x", nil).is(t, 401, "invalid_client")
		}
		c.present(mine)
		c.login(nil)
	}
}

// TestMTLSAliases requests certificates at the aliases only.
func TestMTLSAliases(t *testing.T) {
	c := startTLS(t, lab.Habits{
		IssuerPath: "/tenant", PAR: lab.PAROffered, Grants: []string{lab.GrantClientCredentials}, MTLS: lab.MTLS{Aliases: true},
	})
	c.server.RegisterClient(lab.ConfiguredClient{ID: c.id, Method: lab.MethodTLS, SubjectDN: "CN=ana"})
	c.present(c.issue("ana"))
	metadata := c.metadata()
	aliases := metadata["mtls_endpoint_aliases"].(map[string]any)
	if len(aliases) != 3 || aliases["token_endpoint"] == metadata["token_endpoint"] || !strings.HasSuffix(aliases["token_endpoint"].(string), "/tenant/token") {
		t.Errorf("aliases %v", aliases)
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {c.id}}
	c.form(metadata["token_endpoint"].(string), form).is(t, 401, "invalid_client")
	r := c.form(aliases["token_endpoint"].(string), form)
	r.is(t, 200, "")
	c.form(aliases["revocation_endpoint"].(string), url.Values{"client_id": {c.id}, "token": {r.text("access_token")}}).is(t, 200, "")
	if c.works(r.text("access_token")) {
		t.Error("it is not revoked")
	}
	c.form(aliases["pushed_authorization_request_endpoint"].(string), c.pushForm(nil)).is(t, 201, "")
}

// TestCertificateBoundTokens takes a token only with the certificate of its token request.
func TestCertificateBoundTokens(t *testing.T) {
	c := startTLS(t, lab.Habits{MTLS: lab.MTLS{BoundTokens: true}, AccessTokenJWT: true})
	if c.metadata()["tls_client_certificate_bound_access_tokens"] != true {
		t.Error("not listed")
	}
	mine := selfSigned(t)
	c.present(mine)
	r := c.login(nil)
	if !c.works(r.text("access_token")) || !strings.Contains(decoded(t, r.text("access_token")), thumbprintOf(mine)) {
		t.Error("it does not work with the certificate, or has no cnf")
	}
	for _, other := range []tls.Certificate{{}, selfSigned(t)} {
		c.present(other)
		if c.works(r.text("access_token")) {
			t.Error("it works without the certificate")
		}
		c.refresh(r.text("refresh_token"), nil).is(t, 400, "invalid_grant")
	}
	c.present(mine)
	c.refresh(r.text("refresh_token"), nil).is(t, 200, "")
}

// TestTLSNeeded starts no server whose habits need what it does not have.
func TestTLSNeeded(t *testing.T) {
	if _, err := lab.Start(lab.Habits{MTLS: lab.MTLS{Aliases: true}}); err == nil {
		t.Error("started")
	}
	if _, err := lab.StartWith(lab.Habits{}, lab.Options{TLS: true, MCPAddr: "256.0.0.1:0"}); err == nil {
		t.Error("listens nowhere")
	}
	c := startTLS(t, lab.Habits{OneOrigin: true})
	final, err := lab.BrowseWith(context.Background(), c.http, c.server.URL()+"/.well-known/oauth-authorization-server")
	if err != nil || !strings.HasPrefix(final, "https://127.0.0.1:") {
		t.Errorf("%s %v", final, err)
	}
	c.login(nil)
}
