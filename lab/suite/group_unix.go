//go:build unix

package suite

import (
	"os/exec"
	"syscall"
)

// lead makes a command the head of a process group: what it starts in its turn
// is ended with it.
func lead(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// interruptGroup tells every process of a command's group to end.
func interruptGroup(cmd *exec.Cmd) error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }

// killGroup ends what is left of a command's group.
func killGroup(cmd *exec.Cmd) {
	// An empty group is the aim.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
}
