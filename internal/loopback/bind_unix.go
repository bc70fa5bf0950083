//go:build unix

package loopback

import (
	"errors"
	"syscall"
)

// exclusive does nothing: on Unix a listening socket is alone on its address unless it sets
// SO_REUSEPORT itself.
func exclusive(network, address string, c syscall.RawConn) error { return nil }

// isTaken reports whether another process listens on the address.
func isTaken(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// isMissing reports whether the machine lacks the address or its whole family.
func isMissing(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) ||
		errors.Is(err, syscall.EPROTONOSUPPORT)
}
