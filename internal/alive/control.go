//go:build linux || darwin || windows

package alive

import "net"

// control calls f with the descriptor of a connection, unless that is closed.
func control(tcp *net.TCPConn, f func(fd uintptr)) {
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(f)
	}
}
