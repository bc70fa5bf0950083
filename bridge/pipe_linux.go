package bridge

import (
	"syscall"
)

const (
	setPipeSize = 1031    // F_SETPIPE_SZ (fcntl(2)), which package syscall does not name
	wide        = 1 << 20 // the size that any process may set (pipe(7))
)

// widen lets a pipe hold more than its usual 64 KiB, so that a long message does
// not go through it in small steps, with two processes taking turns. Whether it
// helps or not, nothing depends on it.
func widen(stream any) {
	file, ok := stream.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := file.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, fd, setPipeSize, wide)
		})
	}
}
