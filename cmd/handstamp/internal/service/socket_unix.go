//go:build unix

package service

import (
	"net"
	"syscall"
)

// listenPrivately listens at a Unix socket whose file has the mode 0600 from the beginning. The
// mask is the process's: it is set before anything else runs.
func listenPrivately(path string) (net.Listener, error) {
	defer syscall.Umask(syscall.Umask(0o177))
	return net.Listen("unix", path)
}
