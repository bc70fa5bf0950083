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
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = windows.SetsockoptInt(windows.Handle(fd), windows.IPPROTO_TCP, tcpMaxRT, int((idleTime+checkTimeout)/time.Second))
	})
}

func outstanding(*net.TCPConn) sending { return sending{} }
