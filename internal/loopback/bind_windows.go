package loopback

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

// soExclusiveAddrUse is winsock2.h's SO_EXCLUSIVEADDRUSE, the complement of
// SO_REUSEADDR.
const soExclusiveAddrUse = ^windows.SO_REUSEADDR

// exclusive keeps other programs from binding the same port: Windows lets a
// second socket with SO_REUSEADDR take over the connections of the first, unless
// that one asks to be alone.
func exclusive(network, address string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, soExclusiveAddrUse, 1)
	})
	return errors.Join(err, failed)
}

// isTaken reports whether somebody else has the address: a program, or the
// system, which sets ranges of ports aside and refuses them by WSAEACCES.
func isTaken(err error) bool {
	return errors.Is(err, windows.WSAEADDRINUSE) || errors.Is(err, windows.WSAEACCES)
}

// isMissing reports whether the machine lacks the address or its whole family.
func isMissing(err error) bool {
	return errors.Is(err, windows.WSAEADDRNOTAVAIL) || errors.Is(err, windows.WSAEAFNOSUPPORT)
}
