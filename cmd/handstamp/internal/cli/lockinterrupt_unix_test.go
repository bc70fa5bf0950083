//go:build unix

package cli

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/proctest"
)

// isHeld reports whether a process holds the lock file with this ending.
func (c *command) isHeld(ending string) bool {
	c.t.Helper()
	dirs, err := inHome(c.home)
	if err != nil {
		c.t.Fatal(err)
	}
	file, err := os.Open(filepath.Join(dirs.Locks(), c.key().Name()+ending))
	if errors.Is(err, os.ErrNotExist) {
		return false
	}
	if err != nil {
		c.t.Fatal(err)
	}
	defer file.Close()
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
		c.t.Fatal(err)
	}
	return err != nil
}

// awaitHeld waits until a process holds the lock file with this ending.
func (c *command) awaitHeld(ending string) {
	c.t.Helper()
	proctest.Wait(c.t, waitLimit, "a process holds the "+ending, func() bool { return c.isHeld(ending) })
}

// A command that is interrupted while its refresh waits for a stopped process ends at once, and
// so does its helper: nothing is requested once the lock is free.
func TestInterruptWhileAStoppedProcessHoldsTheLock(t *testing.T) {
	const limit = 10 * time.Second // less than the 15 s that a command waits for a lock
	for _, ending := range []string{".refresh.lock", ".lock"} {
		for name, args := range map[string][]string{
			"token": {"token", "--refresh"}, "tools": {"tools"}, "bridge": {"bridge"},
		} {
			t.Run(name+" "+ending, func(t *testing.T) {
				t.Parallel()
				c := newCommand(t)
				c.login()
				c.server.ExpireAccessTokens()
				holder := c.hold(ending)
				c.server.Reset()
				cmd, stdin, stdout, stderr := c.start(append(args, c.server.MCPURL())...)
				go io.WriteString(stdin, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{`+
					`"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`+"\n")
				c.awaitHeld(".refreshhelper.lock")
				c.awaitHeld(".refresh.lock") // by the stopped process, or by a helper that waits for it
				began := time.Now()
				if err := cmd.Process.Signal(os.Interrupt); err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, stdout)
				message, _ := io.ReadAll(stderr)
				if code := c.wait(cmd); name != "bridge" && code != exitInterrupted {
					t.Errorf("exit code %d\n%s", code, message)
				}
				if took := time.Since(began); took > limit {
					t.Errorf("it took %v to end\n%s", took, message)
				}
				if err := syscall.Kill(holder, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				if _, message, code := c.run("token", "--refresh", c.server.MCPURL()); code != exitOK {
					t.Errorf("the next refresh: exit code %d\n%s", code, message)
				}
				if n := c.server.Counts()["token:refresh"]; n != 1 {
					t.Errorf("%d refreshes, want the last command's", n)
				}
			})
		}
	}
}
