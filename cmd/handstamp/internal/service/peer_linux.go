package service

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerUID returns the user that the process at the other end of a Unix socket runs as.
func peerUID(c net.Conn) (uid uint32, ok bool) {
	socket, isUnix := c.(*net.UnixConn)
	if !isUnix {
		return 0, false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, false
	}
	var credentials *unix.Ucred
	control := raw.Control(func(fd uintptr) {
		credentials, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if control != nil || err != nil {
		return 0, false
	}
	return credentials.Uid, true
}
