package interop

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
	"math/big"
	"net"
	"net/url"
	"testing"
	"time"
)

// authority is a certificate authority that the test makes.
type authority struct {
	t    *testing.T
	root tls.Certificate
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.root = a.issue(&x509.Certificate{Subject: pkix.Name{CommonName: "interop"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// issue makes a certificate; before the authority has one, of itself.
func (a *authority) issue(template *x509.Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := template, any(key)
	if a.root.Leaf != nil && template.Issuer.CommonName == "" {
		parent, signer = a.root.Leaf, a.root.PrivateKey
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}
}

// client makes a client's certificate, which the authority signs.
func (a *authority) client(name string) tls.Certificate {
	a.t.Helper()
	id, err := url.Parse("spiffe://interop.example/" + name)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.issue(&x509.Certificate{Subject: pkix.Name{CommonName: name, Organization: []string{"Interop"}},
		DNSNames: []string{name + ".example"}, URIs: []*url.URL{id}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

// selfSigned makes a client's certificate, which it signs itself.
func (a *authority) selfSigned(name string) tls.Certificate {
	alone := authority{t: a.t}
	return alone.client(name)
}

// setup is the TLS of a server at 127.0.0.1 that knows the authority.
func (a *authority) setup() map[string]string {
	cert := a.issue(&x509.Certificate{Subject: pkix.Name{CommonName: "127.0.0.1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	return map[string]string{
		"cert": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})),
		"key":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
		"ca":   a.pem(),
	}
}

// pem is the authority's certificate.
func (a *authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.root.Certificate[0]}))
}

// roots trusts the authority.
func (a *authority) roots() *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AddCert(a.root.Leaf)
	return roots
}

// trust is the TLS of a client that has no certificate.
func (a *authority) trust() *tls.Config { return &tls.Config{RootCAs: a.roots()} }

// present is the TLS of a client that shows its certificate to whoever asks for one.
func (a *authority) present(cert tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: a.roots(), GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &cert, nil
	}}
}

// certificateJWKS is the set of keys of a client with this certificate (RFC 8705, section 2.2.2).
func certificateJWKS(cert tls.Certificate) map[string]any {
	key := signer{alg: "ES256", key: cert.PrivateKey.(*ecdsa.PrivateKey)}
	jwk := map[string]any{"x5c": []string{base64.StdEncoding.EncodeToString(cert.Certificate[0])}}
	for name, value := range key.jwk() {
		jwk[name] = value
	}
	return map[string]any{"keys": []any{jwk}}
}

// certificateThumbprint is what a token is bound to (RFC 8705, section 3.1).
func certificateThumbprint(cert tls.Certificate) string {
	sum := sha256.Sum256(cert.Certificate[0])
	return b64(sum[:])
}
