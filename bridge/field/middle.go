package main

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
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// A middle stands between bridge and server, as a router does.
type middle struct {
	target  string
	address string

	mu    sync.Mutex // guards what follows
	pairs []*pair
}

// A pair is a connection through the middle.
type pair struct {
	ends   [2]net.Conn
	silent atomic.Bool
}

// between puts a middle in front of a server, whose URL it becomes.
func (p *play) between(s *server) *middle {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	p.must(err)
	m := &middle{target: s.address, address: listener.Addr().String()}
	p.cleanup(func() {
		_ = listener.Close()
		m.cut()
	})
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			m.join(conn)
		}
	}()
	scheme := "http://"
	if s.secure != nil {
		scheme = "https://"
	}
	s.url = scheme + m.address + "/mcp"
	return m
}

func (m *middle) join(conn net.Conn) {
	to, err := net.Dial("tcp", m.target)
	if err != nil {
		_ = conn.Close()
		return
	}
	c := &pair{ends: [2]net.Conn{conn, to}}
	m.mu.Lock()
	m.pairs = append(m.pairs, c)
	m.mu.Unlock()
	go c.forward(0)
	go c.forward(1)
}

// forward passes on what one end sends. A silent pair takes everything and passes nothing
// on, the end of a connection neither.
func (c *pair) forward(from int) {
	chunk := make([]byte, 32<<10)
	for {
		n, err := c.ends[from].Read(chunk)
		if c.silent.Load() {
			if err != nil {
				return
			}
			continue
		}
		if n > 0 {
			_, _ = c.ends[1-from].Write(chunk[:n])
		}
		if err != nil {
			_ = c.ends[1-from].Close()
			_ = c.ends[from].Close()
			return
		}
	}
}

// silence makes the connections of now carry nothing any more. New ones work.
func (m *middle) silence() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.pairs {
		c.silent.Store(true)
	}
}

// cut ends the connections of now.
func (m *middle) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.pairs {
		_ = c.ends[0].Close()
		_ = c.ends[1].Close()
	}
	m.pairs = nil
}

// serveTLS starts a server that speaks HTTP/2 over TLS, with a certificate that the
// contestant's environment names.
func (p *play) serveTLS(odd func(x *exchange) bool) *server {
	s := p.serve(odd)
	s.stop()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p.must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "field"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	p.must(err)
	authority := filepath.Join(p.dir, "ca.pem")
	p.must(os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600))
	p.env = append(p.env, "SSL_CERT_FILE="+authority, "NODE_EXTRA_CA_CERTS="+authority)
	s.secure = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}}
	s.start("127.0.0.1:0")
	s.url = "https://" + s.address + "/mcp"
	return s
}
