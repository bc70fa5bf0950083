package loopback

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

// soExclusiveAddrUse is winsock2.h's SO_EXCLUSIVEADDRUSE, the complement of
// SO_REUSEADDR.
const soExclusiveAddrUse = ^windows.SO_REUSEADDR

// exclusive keeps other programs from binding the same port: on Windows a second socket with
// SO_REUSEADDR can take over the connections of the first, unless the first sets this option.
func exclusive(network, address string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, soExclusiveAddrUse,
			1)
	})
	return errors.Join(err, failed)
}

// isTaken reports whether another program has the address, or the system, which reserves ranges of
// ports and rejects them with WSAEACCES.
func isTaken(err error) bool {
	return errors.Is(err, windows.WSAEADDRINUSE) || errors.Is(err, windows.WSAEACCES)
}

// isMissing reports whether the machine lacks the address or its whole family.
func isMissing(err error) bool {
	return errors.Is(err, windows.WSAEADDRNOTAVAIL) || errors.Is(err, windows.WSAEAFNOSUPPORT)
}
