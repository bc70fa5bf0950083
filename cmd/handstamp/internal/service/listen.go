package service

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
)

// TLSFiles are the PEM files of a service that is reached over mTLS.
type TLSFiles struct {
	Certificate, Key string // of the service
	ClientCA         string // issues the callers' certificates
}

// Config reads the files. Each connection has to present a certificate. That of the service is read
// anew for each connection, since it may be one of those that last for hours.
func (f TLSFiles) Config() (*tls.Config, error) {
	text, err := os.ReadFile(f.ClientCA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New(f.ClientCA + " has no certificate")
	}
	load := func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
		return &pair, err
	}
	if _, err := load(nil); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs: pool, GetCertificate: load}, nil
}

// ListenSocket listens at a Unix socket that only this user may connect to. A file of a service
// that was killed is in the way of none: release, and the end of the process, free a lock beside
// it.
func ListenSocket(path string) (l net.Listener, release func(), err error) {
	lock, err := lockSocket(path + ".lock")
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			lock()
		}
	}()
	switch info, err := os.Lstat(path); {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, nil, err
	case info.Mode().Type() != os.ModeSocket:
		return nil, nil, fmt.Errorf("%s is there, and is no socket", path)
	case !abandoned(path): // and not a service's, which has the lock
		return nil, nil, fmt.Errorf("another program uses the socket %s", path)
	default:
		if err := os.Remove(path); err != nil {
			return nil, nil, err
		}
	}
	if l, err = listenPrivately(path); err != nil {
		return nil, nil, err
	}
	return l, lock, nil
}
