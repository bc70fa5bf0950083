package browser

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/windows"
)

// detach keeps Ctrl-C from cmd.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
}
