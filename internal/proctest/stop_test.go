//go:build linux

package proctest

import (
	"bufio"
	"os/exec"
	"syscall"
	"testing"
)

// A process that has been stopped writes nothing more.
func TestStop(t *testing.T) {
	cmd := exec.Command("sh", "-c", "while echo; do :; done")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if _, err := bufio.NewReader(out).ReadByte(); err != nil {
		t.Fatal(err)
	}
	Stop(t, cmd.Process)
	if !stopped(cmd.Process.Pid) {
		t.Error("it is not stopped")
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	Wait(t, stopLimit, "it goes on", func() bool { return !stopped(cmd.Process.Pid) })
}
