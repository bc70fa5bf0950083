package alive

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// limitRetransmission bounds how long data is sent again that is not acknowledged.
func limitRetransmission(tcp *net.TCPConn) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_RXT_CONNDROPTIME, int((idleTime+checkTimeout)/time.Second))
	})
}

func outstanding(*net.TCPConn) sending { return sending{} }
