package alive

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// limitRetransmission bounds how long data is sent again that is not acknowledged.
func limitRetransmission(tcp *net.TCPConn) {
	control(tcp, func(fd uintptr) {
		seconds := int((idleTime + checkTimeout) / time.Second)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_RXT_CONNDROPTIME, seconds)
	})
}

func outstanding(*net.TCPConn) sending { return sending{} }
