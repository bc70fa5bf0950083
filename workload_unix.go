//go:build unix

package handstamp

import (
	"os/exec"
	"syscall"
)

// ownGroup has what the program of an assertion has started end with it when its time is over. An
// agent that it leaves behind when it has done its work stays.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
