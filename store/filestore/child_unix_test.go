//go:build unix

package filestore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

// Tests that need other processes run this binary again, as one of these. A
// child gets the folder and further arguments; what it prints is an error.
var children = map[string]func(dir string, args []string) error{
	"put":        childPut,
	"increment":  childIncrement,
	"hold":       childHold,
	"holdrecord": childHoldRecord,
	"inherit":    childInherit,
	"pid":        childPID,
	"queue":      childQueue,
	"spawn":      childSpawn,
	"wait":       childWait,
	"unlink":     childUnlink,
	"umask":      childUmask,
	"stranger":   childStranger,
	"killed":     childKilled,
	"writer":     childWriter,
	"traced":     childTraced,
}

const childVariable = "HANDSTAMP_TEST_CHILD"

func TestMain(m *testing.M) {
	name := os.Getenv(childVariable)
	if name == "" {
		proctest.Prepare()
		os.Exit(new(proctest.Sampler).Wrap(m).Run())
	}
	if err := children[name](os.Args[1], os.Args[2:]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// child makes a process; its output is in the buffer once it has ended.
func child(t testing.TB, name, dir string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{dir}, args...)...)
	// The race detector sleeps for a second when a process ends; ours are many.
	cmd.Env = append(os.Environ(), childVariable+"="+name, "GORACE=atexit_sleep_ms=0")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	return cmd, &output
}

// together runs processes at the same time; all must succeed.
func together(t *testing.T, n int, name, dir string, args func(i int) []string) {
	t.Helper()
	results := make(chan error)
	for i := range n {
		cmd, output := child(t, name, dir, args(i)...)
		go func() {
			if err := cmd.Run(); err != nil {
				results <- fmt.Errorf("%s %d: %w: %s", name, i, err, output)
				return
			}
			results <- nil
		}()
	}
	for range n {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

// openChild opens the store of a child, and returns it with the key of a server.
func openChild(dir, server string, trace func(filestore.Step)) (*filestore.Store, store.Key, error) {
	s, err := filestore.Open(filestore.Options{
		Dir:   dir,
		Trace: trace,
		Warn:  func(message string) { fmt.Println("notice:", message) },
	})
	if err != nil {
		return nil, store.Key{}, err
	}
	k, err := store.NewKey(server, "")
	return s, k, err
}

// soon bounds what must happen within seconds on an idle machine: for hundreds of writes that a busy
// disk takes its time for.
func soon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 5*time.Minute)
}

// childPut stores a new record for the server.
func childPut(dir string, args []string) error {
	s, k, err := openChild(dir, args[0], nil)
	if err != nil {
		return err
	}
	ctx, cancel := soon()
	defer cancel()
	return (&saved{Key: k}).put(ctx, s)
}

// childIncrement adds to the number that is the server's token, many times, with
// or without holding the lock.
func childIncrement(dir string, args []string) error {
	s, k, err := openChild(dir, args[0], nil)
	if err != nil {
		return err
	}
	times, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	locked := args[2] == "locked"
	ctx, cancel := soon()
	defer cancel()
	once := func() error {
		if locked {
			unlock, err := s.Lock(ctx, k, store.LockRefresh)
			if err != nil {
				return err
			}
			defer unlock()
		}
		r, err := read(ctx, s, k)
		if err != nil {
			return err
		}
		if err := r.increment(); err != nil {
			return err
		}
		return r.put(ctx, s)
	}
	for done := 0; done < times; {
		switch err := once(); {
		case err == nil:
			done++
		case locked || !errors.Is(err, store.ErrConflict):
			return err
		}
	}
	return nil
}

// childHold takes the lock, says so, and holds it until its input ends.
func childHold(dir string, args []string) error {
	s, k, err := openChild(dir, args[0], nil)
	if err != nil {
		return err
	}
	ctx, cancel := soon()
	defer cancel()
	unlock, err := s.Lock(ctx, k, store.LockRefresh)
	if err != nil {
		return err
	}
	defer unlock()
	fmt.Println("held")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// childSpawn takes the lock, starts a process that outlives it, and dies with
// the lock held.
func childSpawn(dir string, args []string) error {
	s, k, err := openChild(dir, args[0], nil)
	if err != nil {
		return err
	}
	ctx, cancel := soon()
	defer cancel()
	if _, err := s.Lock(ctx, k, store.LockRefresh); err != nil {
		return err
	}
	cmd := exec.Command(os.Args[0], dir)
	cmd.Env = append(os.Environ(), childVariable+"=wait")
	cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
	return cmd.Start()
}

// childWait says that it lives, and lives until its input ends.
func childWait(string, []string) error {
	fmt.Println("alive")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// childUnlink does what must not be done: it removes the lock's file while it
// holds the lock. A marker file proves that it was alone until then.
func childUnlink(dir string, args []string) error {
	s, k, err := openChild(dir, args[0], nil)
	if err != nil {
		return err
	}
	ctx, cancel := soon()
	defer cancel()
	for range 25 {
		unlock, err := s.Lock(ctx, k, store.LockRefresh)
		if err != nil {
			return err
		}
		marker, err := os.OpenFile(dir+"/marker", os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("two held the lock at once: %w", err)
		}
		marker.Close()
		if err := os.Remove(dir + "/marker"); err != nil {
			return err
		}
		if err := os.Remove(dir + "/locks/" + k.Name() + ".refresh.lock"); err != nil {
			return err
		}
		unlock()
	}
	return nil
}

// childTraced reserves, puts and locks, and prints the steps and how it went.
func childTraced(dir string, _ []string) error {
	runtime.LockOSThread() // strace counts the calls of each thread
	s, err := filestore.Open(filestore.Options{
		Dir:   dir,
		Trace: func(step filestore.Step) { fmt.Print(step, " ") },
		Warn:  func(message string) { fmt.Print("NOTICE(", message, ") ") },
	})
	if err != nil {
		return err
	}
	k, err := store.NewKey("https://a.example", "")
	if err != nil {
		return err
	}
	ctx := context.Background()
	r, err := read(ctx, s, k)
	if err != nil {
		return err
	}
	space, err := s.Reserve(ctx, k, 64<<10)
	if err != nil {
		fmt.Printf("Reserve(unusable: %t) ", errors.Is(err, store.ErrUnusable))
	} else {
		r.Token = "new"
		if err := r.putInto(ctx, space); err != nil {
			fmt.Printf("Put(unusable: %t: %v) ", errors.Is(err, store.ErrUnusable), err)
		}
		space.Release()
	}
	unlock, err := s.Lock(ctx, k, store.LockRefresh)
	if err != nil {
		fmt.Printf("Lock(unusable: %t: %v)", errors.Is(err, store.ErrUnusable), err)
		return nil
	}
	unlock()
	return nil
}
