//go:build unix

package filestore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

// childHoldRecord is in the middle of a write, with the record's own lock, until its input ends.
func childHoldRecord(dir string, args []string) error {
	s, k, err := openChild(dir, args[0], func(step filestore.Step) {
		if step == filestore.StepSync {
			fmt.Println("held")
			io.Copy(io.Discard, os.Stdin)
		}
	})
	if err != nil {
		return err
	}
	ctx, cancel := soon()
	defer cancel()
	r, err := read(ctx, s, k)
	if err != nil {
		return err
	}
	return r.put(ctx, s)
}

// childQueue says that it is about to wait for the lock, and waits for it.
func childQueue(dir string, args []string) error {
	s, k, err := openChild(dir, args[0], nil)
	if err != nil {
		return err
	}
	ctx, cancel := soon()
	defer cancel()
	fmt.Println("waiting")
	unlock, err := s.Lock(ctx, k, store.LockRefresh)
	if err != nil {
		return err
	}
	unlock()
	return nil
}

// The error of a caller that waited for a stopped process names that process.
func TestHolderIsNamed(t *testing.T) {
	const limit = 100 * time.Millisecond
	k := key(t, "https://a.example")
	waits := map[string]struct {
		holder string
		wait   func(ctx context.Context, s *filestore.Store, r *saved) error
	}{
		"lock": {"hold", func(ctx context.Context, s *filestore.Store, r *saved) error {
			_, err := s.Lock(ctx, k, store.LockRefresh)
			return err
		}},
		"put": {"holdrecord", func(ctx context.Context, s *filestore.Store, r *saved) error { return r.put(ctx, s) }},
		"delete": {"holdrecord", func(ctx context.Context, s *filestore.Store, r *saved) error {
			return s.Delete(ctx, k, r.Revision)
		}},
		"reserve": {"holdrecord", func(ctx context.Context, s *filestore.Store, r *saved) error {
			_, err := s.Reserve(ctx, k, 1000)
			return err
		}},
		"get of a damaged record": {"holdrecord", func(ctx context.Context, s *filestore.Store, r *saved) error {
			_, err := read(ctx, s, k)
			return err
		}},
	}
	for name, test := range waits {
		for _, stopped := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/stopped %t", name, stopped), func(t *testing.T) {
				dir := t.TempDir() + "/credentials"
				s := open(t, filestore.Options{Dir: dir, Warn: func(string) {}})
				r := &saved{Key: k}
				if err := r.put(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				cmd, _, line := piped(t, test.holder, dir, k.Server)
				if line != "held" {
					t.Fatalf("the child said %q", line)
				}
				if name == "get of a damaged record" {
					replace(t, file(dir, k), []byte("damaged"))
				}
				if stopped {
					stop(t, cmd.Process.Pid)
				}
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				err := test.wait(ctx, s, r)
				busy := store.Busy(err)
				if busy == nil || !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("error %v, want a BusyError that is a deadline's", err)
				}
				if runtime.GOOS != "linux" {
					return // another system does not tell
				}
				program := filepath.Base(os.Args[0])
				if len(program) > 64 {
					program = program[:64]
				}
				if busy.PID != cmd.Process.Pid || busy.Program != program || busy.Stopped != stopped {
					t.Errorf("the holder is %+v, want process %d (%s), stopped: %t", busy, cmd.Process.Pid, program, stopped)
				}
				for _, part := range []string{strconv.Itoa(cmd.Process.Pid), program, dir + "/locks/"} {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("the error %q does not say %s", err, part)
					}
				}
				if strings.Contains(err.Error(), k.Server) {
					t.Errorf("the error %q shows an argument of the holder", err)
				}
			})
		}
	}
}

// A lock that a child inherited from a process that has ended is the child's.
func TestHolderWhoInheritedTheLock(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("another system does not tell who holds a lock")
	}
	dir := t.TempDir() + "/credentials"
	k := key(t, "https://a.example")
	s := open(t, filestore.Options{Dir: dir})
	lock, err := os.Create(dir + "/locks/" + k.Name() + ".refresh.lock")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	cmd, _ := child(t, "inherit", dir)
	cmd.ExtraFiles = []*os.File{lock}
	cmd.Stdout = nil
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lock.Close()
	t.Cleanup(func() {
		input.Close()
		io.Copy(io.Discard, output)
	})
	var heir int
	if _, err := fmt.Fscanln(output, &heir); err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.Process.Wait(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = s.Lock(ctx, k, store.LockRefresh)
	if busy := store.Busy(err); busy == nil || busy.PID != heir {
		t.Errorf("error %v, want one that names process %d", err, heir)
	}
}

// childInherit locks the file that it got, leaves it to a child, and ends.
func childInherit(dir string, _ []string) error {
	lock := os.NewFile(3, "lock")
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	cmd := exec.Command(os.Args[0], dir)
	cmd.Env = append(os.Environ(), childVariable+"=pid")
	cmd.Stdin, cmd.Stdout, cmd.ExtraFiles = os.Stdin, os.Stdout, []*os.File{lock}
	return cmd.Start()
}

// childPID says its number, and lives until its input ends.
func childPID(string, []string) error {
	fmt.Println(os.Getpid())
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// stop suspends a process, and lets it go on at the end of the test.
func stop(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(pid, syscall.SIGCONT) })
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("the process is not stopped: %v, %v", status, err)
	}
}

// What is not a file cannot be a lock, and opening it must not block.
func TestLockFileIsNoFile(t *testing.T) {
	for name, plant := range map[string]func(path string) error{
		"pipe":   func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"folder": func(path string) error { return os.Mkdir(path, 0o700) },
		"socket": func(path string) error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err == nil {
				l.SetUnlinkOnClose(false)
				err = l.Close()
			}
			return err
		},
		"link to a pipe": func(path string) error {
			return errors.Join(syscall.Mkfifo(path+".pipe", 0o600), os.Symlink(path+".pipe", path))
		},
		"device": func(path string) error {
			if os.Geteuid() != 0 {
				return errors.ErrUnsupported
			}
			return syscall.Mknod(path, syscall.S_IFCHR|0o600, 1<<8|3)
		},
	} {
		for _, which := range []string{".lock", ".refresh.lock"} {
			t.Run(name+which, func(t *testing.T) {
				dir, err := os.MkdirTemp("", "lock") // a short path, for the socket
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { os.RemoveAll(dir) })
				if err := os.MkdirAll(dir+"/c/locks", 0o700); err != nil {
					t.Fatal(err)
				}
				s := open(t, filestore.Options{Dir: dir + "/c"})
				k := key(t, "https://a.example")
				path := dir + "/c/locks/" + k.Name() + which
				if err := plant(path); err != nil {
					t.Skipf("there can be no %s here: %v", name, err)
				}
				ctx, cancel := soon()
				defer cancel()
				if which == ".lock" {
					err = (&saved{Key: k}).put(ctx, s)
				} else {
					_, err = s.Lock(ctx, k, store.LockRefresh)
				}
				if !errors.Is(err, store.ErrUnusable) || !strings.Contains(err.Error(), path) || ctx.Err() != nil {
					t.Errorf("error %v, want ErrUnusable that names %s", err, path)
				}
			})
		}
	}
}

// A host that asks again and again while another process hangs must not collect threads.
func TestAbandonedWaitIsTakenOver(t *testing.T) {
	dir := t.TempDir() + "/credentials"
	k := key(t, "https://a.example")
	cmd, input, line := piped(t, "hold", dir, k.Server)
	if line != "held" {
		t.Fatalf("the child said %q", line)
	}
	before := runtime.NumGoroutine()
	for range 20 {
		// Each is as a Client of its own would open it.
		s := open(t, filestore.Options{Dir: dir})
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if _, err := s.Lock(ctx, k, store.LockRefresh); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Lock = %v", err)
		}
		cancel()
	}
	proctest.Wait(t, time.Minute, "one goroutine at most waits for the lock without a caller", func() bool {
		return runtime.NumGoroutine()-before <= 1 // those of contexts and timers are ending
	})

	// The next who wants it gets it, and the one after that, too.
	s := open(t, filestore.Options{Dir: dir})
	ctx, cancel := soon()
	defer cancel()
	got := make(chan error)
	go func() {
		unlock, err := s.Lock(ctx, k, store.LockRefresh)
		if err == nil {
			unlock()
		}
		got <- err
	}()
	input.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	together(t, 1, "queue", dir, func(int) []string { return []string{k.Server} })
}

// A lock that was abandoned and comes free is not kept from others.
func TestAbandonedLockIsReleased(t *testing.T) {
	dir := t.TempDir() + "/credentials"
	k := key(t, "https://a.example")
	cmd, input, line := piped(t, "hold", dir, k.Server)
	if line != "held" {
		t.Fatalf("the child said %q", line)
	}
	s := open(t, filestore.Options{Dir: dir})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.Lock(ctx, k, store.LockRefresh); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Lock = %v", err)
	}
	input.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	together(t, 2, "queue", dir, func(int) []string { return []string{k.Server} })
}

// A process that waits uses no processor: it sleeps until the lock is free. Its switches between
// waiting and running are counted, rather than its time: looking 40 times a second, as it once
// did, makes at least 40 of them in a second.
func TestWaitingProcessSleeps(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux counts a process's switches where others can read it")
	}
	const most = 20
	dir := t.TempDir() + "/credentials"
	k := key(t, "https://a.example")
	s := open(t, filestore.Options{Dir: dir})
	unlock, err := s.Lock(t.Context(), k, store.LockRefresh)
	if err != nil {
		t.Fatal(err)
	}
	cmd, _, line := piped(t, "queue", dir, k.Server)
	if line != "waiting" {
		t.Fatalf("the child said %q", line)
	}
	proctest.Wait(t, time.Minute, "the process that waits sleeps for a second", func() bool {
		before := switches(t, cmd.Process.Pid)
		<-time.After(time.Second) // in which its wake-ups are counted
		return switches(t, cmd.Process.Pid)-before <= most
	})
	released := time.Now()
	unlock()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("the lock was had and given back %v after its release", time.Since(released).Round(time.Millisecond))
}

// switches counts how often the threads of a process went to sleep of their own: to wait for a page
// that the system has taken from it meanwhile does not count.
func switches(t *testing.T, pid int) (sum int) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(files) == 0 {
		t.Fatalf("the process has no threads: %v", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			continue // a thread that has ended
		}
		_, rest, _ := bytes.Cut(data, []byte("\nvoluntary_ctxt_switches:"))
		number, _, _ := bytes.Cut(rest, []byte("\n"))
		n, err := strconv.Atoi(string(bytes.TrimSpace(number)))
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	const majorFaults = 12 - 3 // the field of proc(5), after the name, which is the second
	faults, err := strconv.Atoi(string(bytes.Fields(rest)[majorFaults]))
	if err != nil {
		t.Fatal(err)
	}
	return sum - faults
}
