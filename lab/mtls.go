package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"time"
)

// MTLS is what servers with [Options.TLS] do with client certificates (RFC 8705). With the zero
// value the authorization server requests one on every connection, and uses it for client
// authentication only.
type MTLS struct {
	// Aliases has endpoints that request certificates on another port, as mtls_endpoint_aliases; the
	// ones of the metadata request none.
	Aliases bool `json:"aliases,omitempty"`
	// BoundTokens binds tokens to the certificate of the token request (RFC 8705 section 3).
	BoundTokens bool `json:"bound_tokens,omitempty"`
}

// Authentication with a certificate (RFC 8705 section 2).
const (
	MethodTLS           = "tls_client_auth"
	MethodSelfSignedTLS = "self_signed_tls_client_auth"
)

// authority is the certificate authority of a server.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pool        *x509.CertPool
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := certificateFor(pkix.Name{CommonName: "Handstamp lab"})
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, err
	}
	a := &authority{certificate: certificate, key: key, pool: x509.NewCertPool()}
	a.pool.AddCert(certificate)
	return a, nil
}

// certificateFor is a template for x509.CreateCertificate.
func certificateFor(subject pkix.Name) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	return &x509.Certificate{
		SerialNumber: serial, Subject: subject,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(day),
	}
}

// issue makes a certificate and its key.
func (a *authority) issue(template *x509.Certificate) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	raw, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(raw)
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}, err
}

// server is the TLS configuration of the servers, which request client certificates or not.
func (a *authority) server(request bool) (*tls.Config, error) {
	template := certificateFor(pkix.Name{CommonName: "localhost"})
	template.DNSNames = []string{"localhost"}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	certificate, err := a.issue(template)
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	if request {
		config.ClientAuth = tls.RequestClientCert
	}
	return config, err
}

// errNoTLS reports habits and calls that need [Options.TLS].
var errNoTLS = errors.New("lab: that needs Options.TLS")

// CertificatePEM returns the certificate of the authority that issued the servers' certificates,
// for programs that read one from a file; nil without [Options.TLS].
func (s *Server) CertificatePEM() []byte {
	if s.authority == nil {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.authority.certificate.Raw})
}

// CertPool returns the pool with that certificate.
func (s *Server) CertPool() *x509.CertPool {
	if s.authority == nil {
		return nil
	}
	return s.authority.pool.Clone()
}

// IssueCertificate makes a certificate of the server's authority for a client; its subject is
// CN=name, which is the [ConfiguredClient.SubjectDN] of such a client.
func (s *Server) IssueCertificate(name string) (tls.Certificate, error) {
	if s.authority == nil {
		return tls.Certificate{}, errNoTLS
	}
	template := certificateFor(pkix.Name{CommonName: name})
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return s.authority.issue(template)
}

// peer is the client certificate of a request, or nil.
func peer(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	return r.TLS.PeerCertificates[0]
}

// certificateThumbprint is x5t#S256 of the client certificate of a request (RFC 8705 section 3.1),
// empty if there is none.
func certificateThumbprint(r *http.Request) string {
	certificate := peer(r)
	if certificate == nil {
		return ""
	}
	sum := sha256.Sum256(certificate.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// checkCertificate returns what is wrong with the certificate of a request as the authentication of
// a client, or nothing.
func (s *Server) checkCertificate(x *exchange, c *client, method string) (why string) {
	certificate := peer(x.r)
	if certificate == nil {
		return "there is no client certificate"
	}
	if method == MethodSelfSignedTLS {
		for _, k := range x.keys {
			if k.X5T == certificateThumbprint(x.r) ||
				len(k.X5C) > 0 && k.X5C[0] == base64.StdEncoding.EncodeToString(certificate.Raw) {
				return ""
			}
		}
		return "the certificate is not one of the client's"
	}
	if s.authority == nil {
		return "the server has no authority"
	}
	_, err := certificate.Verify(x509.VerifyOptions{
		Roots: s.authority.pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	switch {
	case err != nil:
		return "the certificate is not of an authority that the server knows"
	case c.SubjectDN == "" || certificate.Subject.String() != c.SubjectDN:
		return "the subject is another one"
	}
	return ""
}

// mtlsAliases is mtls_endpoint_aliases (RFC 8705 section 5): the endpoints of the metadata that
// authenticate clients, on the other port.
func (s *Server) mtlsAliases(document map[string]any) map[string]string {
	aliases := make(map[string]string)
	for name, path := range map[string]string{
		"token_endpoint":                        "/token",
		"revocation_endpoint":                   "/revoke",
		"pushed_authorization_request_endpoint": "/par",
		"device_authorization_endpoint":         "/device_authorization",
	} {
		if document[name] != nil {
			aliases[name] = s.aliasOrigin + s.prefix() + path
		}
	}
	return aliases
}
