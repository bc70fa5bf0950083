package proctest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// stopLimit bounds the wait for a process to stop, which on a busy machine has threads that run on
// for a while.
const stopLimit = time.Minute

// Stop sends a process SIGSTOP, and returns when each of its threads has stopped: it handles
// nothing that comes from then on.
func Stop(t testing.TB, p *os.Process) {
	t.Helper()
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	Wait(t, stopLimit, fmt.Sprintf("process %d stops", p.Pid), func() bool { return stopped(p.Pid) })
}

// stopped reports whether all threads of a process have the state T (proc(5)).
func stopped(pid int) bool {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid)) // no bad pattern
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended
		}
		_, after, _ := bytes.Cut(text[bytes.LastIndexByte(text, ')')+1:], []byte(" "))
		if !bytes.HasPrefix(after, []byte("T")) {
			return false
		}
	}
	return len(tasks) > 0
}
