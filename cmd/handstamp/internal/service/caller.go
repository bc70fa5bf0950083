package service

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

// Caller is a program that may make requests: for one tenant, and for one user of it if User is
// set. It has a key, of which only a hash is kept, or a user of this machine, or a certificate.
type Caller struct {
	Name        string    `json:"name"`
	Tenant      string    `json:"tenant"`
	User        *string   `json:"user,omitempty"`
	KeyHash     string    `json:"key_sha256,omitempty"`
	UID         *uint32   `json:"uid,omitempty"`         // of a peer at the Unix socket
	Certificate string    `json:"certificate,omitempty"` // a DNS name or URI of subjectAltName
	CreatedAt   time.Time `json:"created_at"`
}

// keyPrefix is how a key begins, so that one that was published is found by scanners.
const keyPrefix = "hsk_"

// NewKey returns a new key of a caller, and its hash. A key has 260 random bits, so that its hash
// need not be a slow one.
func NewKey() (key secret.String, hash string) {
	text := keyPrefix + rand.Text() + rand.Text()
	return secret.String(text), hashOf(text)
}

func hashOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// check finds an entry that is not as it has to be.
func (c *Caller) check() error {
	o := store.Owner{Tenant: c.Tenant}
	if c.User != nil {
		o.User = *c.User
	}
	ways := 0
	for _, has := range []bool{c.KeyHash != "", c.UID != nil, c.Certificate != ""} {
		if has {
			ways++
		}
	}
	switch {
	case c.Name == "" || hosted.CheckOwner(o) != nil:
		return errors.New("a caller has no name, or a tenant or user that is none")
	case ways != 1:
		return errors.New("a caller has either a key, a uid or a certificate")
	case c.KeyHash != "" && len(c.KeyHash) != 2*sha256.Size:
		return errors.New("a caller's key_sha256 is no hash")
	}
	return nil
}

// errUnauthenticated is the problem of a caller that is not known. It does not say why.
func errUnauthenticated() error {
	return rejection(http.StatusUnauthorized, codeUnauthenticated, "the caller is not known; handstamp caller add adds one")
}

type peerKey struct{}

// WithPeer notes who is at the other end of a connection: it is [http.Server.ConnContext].
func WithPeer(ctx context.Context, c net.Conn) context.Context {
	if uid, ok := peerUID(c); ok {
		return context.WithValue(ctx, peerKey{}, uid)
	}
	return ctx
}

// of returns the caller of a request: the one of its key, and without a key that of the
// certificate, or of the process at the other end of the socket.
func (c *Callers) of(r *http.Request) (*Caller, error) {
	index, err := c.load()
	if err != nil {
		return nil, err
	}
	var found *Caller
	if header := r.Header["Authorization"]; len(header) > 0 {
		scheme, key, _ := strings.Cut(header[0], " ")
		if len(header) == 1 && strings.EqualFold(scheme, "Bearer") {
			found = index.keys[hashOf(key)]
		}
	} else if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		found = index.ofCertificate(r.TLS.PeerCertificates[0], time.Now())
	} else if uid, ok := r.Context().Value(peerKey{}).(uint32); ok {
		found = index.uids[uid]
	}
	if found == nil {
		return nil, errUnauthenticated()
	}
	return found, nil
}

// ofCertificate returns the caller with a certificate that was verified. One whose names belong to
// several callers is none of them; nor is one that has expired since: connections may last.
func (i *callerIndex) ofCertificate(c *x509.Certificate, now time.Time) *Caller {
	if now.After(c.NotAfter) {
		return nil
	}
	names := slices.Clone(c.DNSNames)
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	var found *Caller
	for _, name := range names {
		switch caller := i.certificates[name]; {
		case caller == nil || caller == found:
		case found != nil:
			return nil
		default:
			found = caller
		}
	}
	return found
}
