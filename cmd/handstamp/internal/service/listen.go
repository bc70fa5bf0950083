package service

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
)

// TLSFiles are the PEM files of a service that is reached over mTLS.
type TLSFiles struct {
	Certificate, Key string // of the service
	ClientCA         string // issues the callers' certificates
}

// Config reads the files. Each connection has to present a certificate. The files are read again for
// each connection, since certificates may be some that last for hours. Files that cannot be used, as
// while one of them has been replaced and the next has not, leave what was read last.
func (f TLSFiles) Config() (*tls.Config, error) {
	first, err := f.read()
	if err != nil {
		return nil, err
	}
	var last atomic.Pointer[tls.Config]
	last.Store(first)
	return &tls.Config{MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if config, err := f.read(); err == nil {
				last.Store(config)
			}
			return last.Load(), nil
		}}, nil
}

func (f TLSFiles) read() (*tls.Config, error) {
	text, err := os.ReadFile(f.ClientCA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New(f.ClientCA + " has no certificate")
	}
	pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs: pool, Certificates: []tls.Certificate{pair}}, nil
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
