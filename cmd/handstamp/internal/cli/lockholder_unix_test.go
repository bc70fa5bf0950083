//go:build unix

package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

// holdLock is a foreign program: it locks the file that its last argument names, and stops.
func holdLock() int {
	file, err := os.OpenFile(os.Args[len(os.Args)-1], os.O_RDONLY|os.O_CREATE, 0o600)
	if err == nil {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("held")
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	select {}
}

// key is that of the login of the command's server.
func (c *command) key() store.Key {
	c.t.Helper()
	k, err := store.NewKey(c.server.MCPURL(), "")
	if err != nil {
		c.t.Fatal(err)
	}
	return k
}

// hold has a stopped process hold the lock file with this ending, and returns its id.
func (c *command) hold(ending string) int {
	c.t.Helper()
	dirs, err := inHome(c.home)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := os.MkdirAll(dirs.Locks(), 0o700); err != nil {
		c.t.Fatal(err)
	}
	// It outlives every command that waits for it.
	cmd, _, stdout, _ := c.startWithin(5*time.Minute, "lockholder", "--password", "foreign-secret", filepath.Join(dirs.Locks(), c.key().Name()+ending))
	lineWith(c.t, stdout, "held")
	c.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

// A stopped process that holds a lock is waited for as long as --timeout says, and named.
// Commands that do not need the lock do not wait for it.
func TestStoppedLockHolder(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits ten seconds for a lock")
	}
	// A quarter of it is left for the start of two processes, on a busy machine too. With the slack it
	// is less than the 15 seconds without --timeout.
	const timeout, slack = 6 * time.Second, 8 * time.Second
	const free = -1 // the command does not need the lock
	type want map[string]int
	commands := map[string][]string{
		"logout": {"logout"}, "login --force": {"login", "--force"}, "token --refresh": {"token", "--refresh"},
		"token": {"token"}, "exec": {"exec"}, "tools": {"tools"}, "call": {"call"},
	}
	for ending, codes := range map[string]want{
		".lock": {
			"logout": exitStore, "login --force": exitStore, "token --refresh": exitStore,
			"token": free, "exec": free, "tools": free, "call": free,
		},
		".refresh.lock": {"logout": free, "login --force": free, "token --refresh": exitUnreachable, "token": free},
		".login.lock":   {"logout": free, "login --force": exitDenied, "token --refresh": free},
		// A process that waits for its helper is not needed.
		".refreshhelper.lock": {"token --refresh": free, "logout": free},
	} {
		for name, code := range codes {
			t.Run(name+" "+ending, func(t *testing.T) {
				t.Parallel()
				c := newCommand(t)
				c.login()
				pid := c.hold(ending)
				limit := timeout
				if code == free && ending != ".refreshhelper.lock" { // which is waited for, for a part of it
					limit = waitLimit
				}
				args := append(commands[name], c.server.MCPURL(), "--timeout", limit.String())
				switch name {
				case "exec":
					args = append(args, "--env", "TOKEN", "--", "true")
				case "call":
					args = append(args, "echo", "text=hello")
				}
				c.server.Reset()
				began := time.Now()
				_, stderr, got := c.run(args...)
				if code == free {
					if got != exitOK {
						t.Errorf("exit code %d\n%s", got, stderr)
					}
					return
				}
				if took := time.Since(began); took > timeout+slack {
					t.Errorf("it took %v", took)
				}
				if got != code {
					t.Errorf("exit code %d, want %d\n%s", got, code, stderr)
				}
				if runtime.GOOS == "linux" && !strings.Contains(stderr, "rocess "+strconv.Itoa(pid)+" (lockholder) holds the lock") {
					t.Errorf("the process %d is not named:\n%s", pid, stderr)
				}
				if strings.Contains(stderr, "foreign-secret") {
					t.Errorf("an argument of the process is shown:\n%s", stderr)
				}
				if n := c.server.Counts()["token:refresh"] + c.server.Counts()["authorize"]; n != 0 {
					t.Errorf("%d requests were made whose result could not have been stored", n)
				}
			})
		}
	}
}

// Without --timeout a stopped process is waited for 15 seconds.
func TestStoppedLockHolderByDefault(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for 15 seconds")
	}
	t.Parallel()
	c := newCommand(t)
	c.login()
	c.hold(".lock")
	var wg sync.WaitGroup
	for _, args := range [][]string{{"logout", c.server.MCPURL()}, {"token", "--refresh", c.server.MCPURL()}} {
		wg.Go(func() {
			began := time.Now()
			cmd, stdin, out, errOut := c.startWithin(time.Minute, "handstamp", args...)
			stdin.Close()
			_, _ = io.ReadAll(out)
			stderr, _ := io.ReadAll(errOut)
			code := c.wait(cmd)
			if took := time.Since(began); code != exitStore || took < 10*time.Second || took > 30*time.Second {
				t.Errorf("%q: exit code %d after %v\n%s", args, code, took, stderr)
			}
		})
	}
	wg.Wait()
}

// makeNewer has a newer version of Handstamp write the stored login.
func (c *command) makeNewer() {
	c.t.Helper()
	dirs, err := inHome(c.home)
	if err != nil {
		c.t.Fatal(err)
	}
	files, err := dirs.Open(filestore.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	rec, err := record.Get(c.t.Context(), files, c.key())
	if err != nil {
		c.t.Fatal(err)
	}
	rec.Version = record.SchemaVersion + 1
	data, err := record.Encode(rec)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := files.Put(c.t.Context(), c.key(), data, rec.Revision); err != nil {
		c.t.Fatal(err)
	}
}

// A record of a newer version is an error before a browser opens, and before a client is
// registered.
func TestRecordOfNewerVersionBeforeLogin(t *testing.T) {
	c := newCommand(t)
	c.login()
	c.makeNewer()
	browsed := filepath.Join(t.TempDir(), "browsed")
	t.Setenv("TEST_BROWSED", browsed)
	c.server.Reset()
	_, stderr, code := c.run("login", c.server.MCPURL(), "--force")
	if code != exitStore || !strings.Contains(stderr, "newer version") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	if _, err := os.Stat(browsed); err == nil {
		t.Error("a browser was opened")
	}
	if sent := c.server.Counts(); len(sent) != 0 {
		t.Errorf("requests were made: %v", sent)
	}
}
