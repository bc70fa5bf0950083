package bridge_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// wires are what a bridge and a server may speak.
var wires = []string{"http/1.1", "http/1.1 with TLS", "http/2"}

// far is a server beyond the router.
type far struct {
	t       *testing.T
	network *network
	mcp     http.Handler
	url     string
	port    string

	mu     sync.Mutex
	ports  []string        // of the connections that were made
	spoken map[string]bool // protocols of requests
}

// newFar starts a server at an address; the certificate counts for all.
func newFar(t *testing.T, n *network, wire, host string, certificate *tls.Certificate, mcp http.Handler) *far {
	t.Helper()
	f := &far{t: t, network: n, mcp: mcp, spoken: make(map[string]bool)}
	l := n.listen(t, net.JoinHostPort(host, "0"))
	s := &http.Server{Handler: f, ConnState: f.connected}
	f.url = "http://" + l.Addr().String() + "/mcp"
	_, f.port, _ = net.SplitHostPort(l.Addr().String())
	go func() {
		if wire == "http/1.1" {
			_ = s.Serve(l)
			return
		}
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*certificate}}
		s.Protocols = new(http.Protocols)
		s.Protocols.SetHTTP1(wire != "http/2")
		s.Protocols.SetHTTP2(wire == "http/2")
		_ = s.ServeTLS(l, "", "")
	}()
	if wire != "http/1.1" {
		f.url = "https" + strings.TrimPrefix(f.url, "http")
	}
	t.Cleanup(func() { s.Close() })
	return f
}

func (f *far) connected(c net.Conn, s http.ConnState) {
	if s != http.StateNew {
		return
	}
	if encrypted, ok := c.(*tls.Conn); ok {
		c = encrypted.NetConn()
	}
	if err := c.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		f.t.Error(err)
	}
	_, port, _ := net.SplitHostPort(c.RemoteAddr().String())
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ports = append(f.ports, port)
}

func (f *far) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.spoken[r.Proto] = true
	f.mu.Unlock()
	f.mcp.ServeHTTP(w, r)
}

// forget has the router forget all connections that there are, and returns how many.
func (f *far) forget() int { return f.drop(false) }

// drop has the router drop the packets of all connections that there are.
func (f *far) drop(oneWay bool) int {
	f.mu.Lock()
	ports := slices.Clone(f.ports)
	f.mu.Unlock()
	f.network.forget(f.t, oneWay, f.port, ports)
	return len(ports)
}

// certify makes a certificate that the processes with this environment trust.
func certify(t *testing.T) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IPAddresses: []net.IP{net.IPv4(10, 8, 0, 2), net.IPv4(10, 8, 0, 3)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", file)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// silentStream is a response that is a stream, open and empty until the request ends.
func silentStream(w http.ResponseWriter, r *http.Request) {
	openStream(w)
	<-r.Context().Done()
}

// tunnels is an HTTP proxy.
func tunnels(w http.ResponseWriter, r *http.Request, network *network) {
	var to net.Conn
	var err error
	network.servers.do(func() { to, err = (&net.Dialer{FallbackDelay: -1}).Dial("tcp4", r.Host) })
	if err != nil || r.Method != http.MethodConnect {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer to.Close()
	from, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer from.Close()
	io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
	ended := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
		go func() {
			_, _ = io.Copy(way[1], way[0])
			ended <- struct{}{}
		}()
	}
	<-ended
}

// wantProtocol checks that a server was spoken to as it was meant to be.
func (f *far) wantProtocol(wire string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	want := "HTTP/1.1"
	if wire == "http/2" {
		want = "HTTP/2.0"
	}
	if len(f.spoken) != 1 || !f.spoken[want] {
		f.t.Errorf("spoken was %v, want %s", f.spoken, want)
	}
}
