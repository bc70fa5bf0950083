package alive

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// TCP_USER_TIMEOUT is not used: it also ends a connection whose other end is there and
// acknowledges, but reads nothing for a while.
func limitRetransmission(*net.TCPConn) {}

// unansweredTries is how many times in a row something was sent again without an
// acknowledgement before a connection may be dead.
const unansweredTries = 2

func outstanding(tcp *net.TCPConn) sending {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return sending{}
	}
	var info *unix.TCPInfo
	var failed error
	err = raw.Control(func(fd uintptr) {
		info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	if err != nil || failed != nil {
		return sending{}
	}
	return sending{
		pending:    info.Unacked > 0 || info.Notsent_bytes > 0,
		unanswered: info.Retransmits >= unansweredTries || info.Probes >= unansweredTries,
		silent:     time.Duration(info.Last_ack_recv) * time.Millisecond,
	}
}
