package service

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// authority issues certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key, _ = a.issue(&x509.Certificate{IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign})
	return a
}

// issue issues a certificate; that of the authority itself if there is none yet.
func (a *authority) issue(c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey, tls.Certificate) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: "web.acme.example"}
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return parsed, key, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// write writes a certificate and its key as PEM files.
func (a *authority) write(name string, cert *x509.Certificate, key *ecdsa.PrivateKey) (certFile, keyFile string) {
	a.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	base := filepath.Join(a.t.TempDir(), name)
	for file, block := range map[string]*pem.Block{
		base + ".pem": {Type: "CERTIFICATE", Bytes: cert.Raw}, base + ".key": {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return base + ".pem", base + ".key"
}

// client returns a client with a certificate for names; without any, it presents none.
func (a *authority) client(trusts *authority, names ...string) *http.Client {
	a.t.Helper()
	if len(names) == 0 {
		return a.present(trusts, nil)
	}
	c := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, name := range names {
		if u, err := url.Parse(name); err == nil && u.Scheme != "" {
			c.URIs = append(c.URIs, u)
		} else {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	return a.present(trusts, c)
}

// webClient returns a client with a certificate for web.acme.test of a time and a use.
func (a *authority) webClient(from, to time.Time, use x509.ExtKeyUsage) *http.Client {
	a.t.Helper()
	return a.present(a, &x509.Certificate{DNSNames: []string{"web.acme.test"},
		NotBefore: from, NotAfter: to, ExtKeyUsage: []x509.ExtKeyUsage{use}})
}

// present returns a client with a certificate; nil: with none.
func (a *authority) present(trusts *authority, c *x509.Certificate) *http.Client {
	a.t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(trusts.cert)
	config := &tls.Config{RootCAs: roots, ServerName: "service.example", MinVersion: tls.VersionTLS13}
	if c != nil {
		_, _, pair := a.issue(c)
		config.Certificates = []tls.Certificate{pair}
	}
	t := &http.Transport{TLSClientConfig: config}
	a.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

// A certificate of the right authority is a caller by a name in it. Without one there is no
// connection, and the common name is no name.
func TestCallersWithCertificates(t *testing.T) {
	f := newFixture(t, lab.NoneFirst(), nil)
	key := f.caller("acme", nil)
	for tenant, name := range map[string]string{"acme": "web.acme.test", "globex": "spiffe://globex.test/web"} {
		f.callers = append(f.callers, Caller{Name: name, Tenant: tenant, Certificate: name})
	}
	f.callers = append(f.callers, Caller{Name: "common", Tenant: "acme", Certificate: "web.acme.example"})
	f.save()
	f.signIn("acme", "ada")
	ours, theirs := newAuthority(t), newAuthority(t)
	cert, certKey := issuedFor(ours)
	certFile, keyFile := ours.write("service", cert, certKey)
	caFile, _ := ours.write("ca", ours.cert, ours.key)
	config, err := TLSFiles{Certificate: certFile, Key: keyFile, ClientCA: caFile}.Config()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(New(f.options))
	l := tls.NewListener(server.Listener, config)
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	status := func(c *http.Client, key string) int {
		t.Helper()
		query := url.Values{"server": {f.Lab.MCPURL()}, "user": {"ada"}}
		req, err := http.NewRequest(http.MethodGet, "https://"+l.Addr().String()+"/v1/token?"+query.Encode(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if key != "" {
			req.Header.Set("Authorization", "Bearer "+key)
		}
		resp, err := c.Do(req)
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		f.contract.check(resp)
		return resp.StatusCode
	}
	now := time.Now().Add(-time.Second)
	hour := now.Add(time.Hour)
	for _, c := range []struct {
		name   string
		client *http.Client
		key    string
		want   int
	}{
		{"a DNS name", ours.client(ours, "web.acme.test"), "", 200},
		{"a URI of another tenant", ours.client(ours, "spiffe://globex.test/web"), "", 404},
		{"a further name", ours.client(ours, "other.test", "web.acme.test"), "", 200},
		{"the names of two callers", ours.client(ours, "web.acme.test", "spiffe://globex.test/web"), "", 401},
		{"no caller's name", ours.client(ours, "other.test"), "", 401},
		{"a key beside it", ours.client(ours, "other.test"), key, 200},
		{"a wrong key beside it", ours.client(ours, "web.acme.test"), "hsk_wrong", 401},
		{"none", ours.client(ours), "", 0},
		{"none, and a key", ours.client(ours), key, 0},
		{"one of another authority", theirs.client(ours, "web.acme.test"), key, 0},
		{"one that is valid", ours.webClient(now, hour, x509.ExtKeyUsageClientAuth), "", 200},
		{"one that has expired", ours.webClient(now.Add(-time.Hour), now.Add(-time.Minute), x509.ExtKeyUsageClientAuth), key, 0},
		{"one that is not valid yet", ours.webClient(now.Add(time.Minute), hour, x509.ExtKeyUsageClientAuth), key, 0},
		{"one of a server", ours.webClient(now, hour, x509.ExtKeyUsageServerAuth), key, 0},
	} {
		if got := status(c.client, c.key); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	// Files that were replaced are those of the next connection, once they fit together.
	next, nextKey := issuedFor(theirs)
	certNext, keyNext := theirs.write("next", next, nextKey)
	caNext, _ := theirs.write("ca", theirs.cert, theirs.key)
	for _, c := range []struct {
		from, to string
		ours     int // what clients of each authority get, which trust the service's certificate
		theirs   int
	}{
		{certNext, certFile, 200, 0},
		{keyNext, keyFile, 200, 0},
		{caNext, caFile, 0, 200},
	} {
		if err := os.Rename(c.from, c.to); err != nil {
			t.Fatal(err)
		}
		trusts := ours
		if c.from != certNext {
			trusts = theirs
		}
		if got := status(ours.client(trusts, "web.acme.test"), ""); got != c.ours {
			t.Errorf("%s was replaced: %d, want %d", filepath.Base(c.to), got, c.ours)
		}
		if got := status(theirs.client(trusts, "web.acme.test"), ""); got != c.theirs {
			t.Errorf("%s was replaced, another authority: %d, want %d", filepath.Base(c.to), got, c.theirs)
		}
	}
}

// issuedFor returns a certificate of the service.
func issuedFor(a *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	cert, key, _ := a.issue(&x509.Certificate{DNSNames: []string{"service.example"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return cert, key
}

// A certificate that expires while its connection lasts is that of a caller no more.
func TestCertificateThatExpires(t *testing.T) {
	cert, _, _ := newAuthority(t).issue(&x509.Certificate{DNSNames: []string{"web.acme.test"}})
	index := indexOf([]Caller{{Name: "web", Certificate: "web.acme.test"}})
	if index.ofCertificate(cert, cert.NotAfter) == nil {
		t.Error("it is not known while it is valid")
	}
	if index.ofCertificate(cert, cert.NotAfter.Add(time.Second)) != nil {
		t.Error("it is known after its end")
	}
}

// A socket is replaced if the program that made it has ended, and only then, whatever the program
// and the type of its socket are.
func TestSocketInUse(t *testing.T) {
	dir, err := os.MkdirTemp("", "hs") // the path of a socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	other.(*net.UnixListener).SetUnlinkOnClose(false)
	if l, _, err := ListenSocket(path); err == nil {
		l.Close()
		t.Error("another program's socket was taken from it")
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	other.Close()
	l, release, err := ListenSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	release()
	if runtime.GOOS == "windows" {
		return // it has no others
	}
	datagrams, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	if _, _, err := ListenSocket(path); err == nil {
		t.Error("a socket of another type was taken")
	}
}
