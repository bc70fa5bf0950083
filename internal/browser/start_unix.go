//go:build unix

package browser

import (
	"os/exec"
	"syscall"
)

// detach gives cmd a session of its own, and the root as directory: an opener
// that is a script must not find its helpers where we happen to be.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
}
