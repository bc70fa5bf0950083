//go:build unix

package service

import (
	"errors"
	"net"
	"syscall"
)

// listenPrivately listens at a Unix socket whose file has the mode 0600 from the beginning. The
// mask is the process's: it is set before anything else runs.
func listenPrivately(path string) (net.Listener, error) {
	defer syscall.Umask(syscall.Umask(0o177))
	return net.Listen("unix", path)
}

// abandoned reports whether the program that made a socket has ended. One of another type, and one
// that this user may not connect to, may be in use.
func abandoned(path string) bool {
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
