//go:build unix && !linux

package proctest

import (
	"os"
	"syscall"
	"testing"
)

// Stop sends a process SIGSTOP.
func Stop(t testing.TB, p *os.Process) {
	t.Helper()
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}
