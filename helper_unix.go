//go:build unix

package handstamp

import (
	"os/signal"
	"syscall"
)

// detached returns the ways to start a process that outlives this one, the best
// first: a session of its own, which neither a signal to our process group nor
// the end of a terminal reaches (setsid(2)).
func detached() []*syscall.SysProcAttr {
	return []*syscall.SysProcAttr{{Setsid: true}}
}

// outlive keeps a process alive whose reader has died.
func outlive() { signal.Ignore(syscall.SIGPIPE) }
