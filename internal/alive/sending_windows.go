package alive

import (
	"net"
	"time"

	"golang.org/x/sys/windows"
)

// tcpMaxRT is TCP_MAXRT of ws2ipdef.h: the seconds for which data is sent again.
const tcpMaxRT = 5

// limitRetransmission bounds how long data is sent again that is not acknowledged.
func limitRetransmission(tcp *net.TCPConn) {
	control(tcp, func(fd uintptr) {
		seconds := int((idleTime + checkTimeout) / time.Second)
		_ = windows.SetsockoptInt(windows.Handle(fd), windows.IPPROTO_TCP, tcpMaxRT, seconds)
	})
}

func outstanding(*net.TCPConn) sending { return sending{} }
