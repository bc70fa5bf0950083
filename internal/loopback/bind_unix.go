//go:build unix

package loopback

import (
	"errors"
	"syscall"
)

// exclusive does nothing: here a socket that listens is alone on its address, as
// long as it does not ask for company itself (SO_REUSEPORT).
func exclusive(network, address string, c syscall.RawConn) error { return nil }

// isTaken reports whether somebody else listens on the address.
func isTaken(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// isMissing reports whether the machine lacks the address or its whole family.
func isMissing(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) ||
		errors.Is(err, syscall.EPROTONOSUPPORT)
}
