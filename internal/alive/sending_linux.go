package alive

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// TCP_USER_TIMEOUT is not used: it also ends a connection whose other end is there and
// acknowledges, but reads nothing for a while.
func limitRetransmission(*net.TCPConn) {}

func outstanding(tcp *net.TCPConn) sending {
	var info *unix.TCPInfo // nil: it cannot be had
	control(tcp, func(fd uintptr) {
		info, _ = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	if info == nil {
		return sending{}
	}
	return sending{
		pending: info.Unacked > 0 || info.Notsent_bytes > 0,
		acked:   info.Bytes_acked,
		again:   info.Retransmits,
		probed:  info.Probes,
		full:    info.Snd_wnd == 0, // as it is where the system is too old to report it
		silent:  time.Duration(info.Last_ack_recv) * time.Millisecond,
	}
}
