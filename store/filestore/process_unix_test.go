//go:build unix

package filestore_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

// Processes that sign in at different servers take nothing from one another.
func TestProcessesWithServersOfTheirOwn(t *testing.T) {
	const processes = 50
	dir := t.TempDir() + "/credentials"
	together(t, processes, "put", dir, func(i int) []string {
		return []string{fmt.Sprintf("https://%d.example", i)}
	})
	keys, err := open(t, filestore.Options{Dir: dir}).List(t.Context())
	if err != nil || len(keys) != processes {
		t.Errorf("%d of %d credentials are there (%v)", len(keys), processes, err)
	}
}

func TestProcessesWithOneServer(t *testing.T) {
	for _, how := range []string{"locked", "by comparison"} {
		t.Run(how, func(t *testing.T) {
			const processes, times = 20, 4
			dir := t.TempDir() + "/credentials"
			s := open(t, filestore.Options{Dir: dir})
			k := key(t, "https://a.example")
			if err := (&saved{Key: k, Token: "0"}).put(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			together(t, processes, "increment", dir, func(int) []string {
				return []string{k.Server, fmt.Sprint(times), how}
			})
			r, err := read(t.Context(), s, k)
			if err != nil {
				t.Fatal(err)
			}
			if r.Token != fmt.Sprint(processes*times) {
				t.Errorf("%s of %d increments are left", r.Token, processes*times)
			}
		})
	}
}

// piped starts a child whose input is open until the test ends, and waits for
// its first line.
func piped(t *testing.T, name, dir string, args ...string) (cmd *exec.Cmd, input io.WriteCloser, line string) {
	t.Helper()
	cmd, _ = child(t, name, dir, args...)
	cmd.Stdout = nil
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	input, err = cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		input.Close()
		io.Copy(io.Discard, output)
		cmd.Wait()
	})
	line, err = bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatalf("%s said %q: %v", name, line, err)
	}
	return cmd, input, strings.TrimSpace(line)
}

func TestLockOfKilledProcess(t *testing.T) {
	dir := t.TempDir() + "/credentials"
	k := key(t, "https://a.example")
	s := open(t, filestore.Options{Dir: dir})
	cmd, _, line := piped(t, "hold", dir, k.Server)
	if line != "held" {
		t.Fatalf("the child said %q", line)
	}
	result := make(chan error)
	go func() {
		ctx, cancel := soon()
		defer cancel()
		unlock, err := s.Lock(ctx, k, store.LockRefresh)
		if err == nil {
			unlock()
		}
		result <- err
	}()
	select {
	case err := <-result:
		t.Fatalf("the lock was had by two at once (%v)", err)
	case <-time.After(4 * 25 * time.Millisecond): // in which the waiter has looked a few times
	}
	killed := time.Now()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(killed); waited > 30*time.Second { // and not never
		t.Errorf("the lock was free only after %v", waited)
	}
}

// A browser that was opened under the lock must not hold it.
func TestLockIsNotInherited(t *testing.T) {
	dir := t.TempDir() + "/credentials"
	k := key(t, "https://a.example")
	s := open(t, filestore.Options{Dir: dir})
	cmd, _, line := piped(t, "spawn", dir, k.Server)
	if line != "alive" {
		t.Fatalf("the child said %q", line)
	}
	if _, err := cmd.Process.Wait(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := soon()
	defer cancel()
	unlock, err := s.Lock(ctx, k, store.LockRefresh)
	if err != nil {
		t.Fatalf("a child of the process that held the lock still holds it: %v", err)
	}
	unlock()
}

// Whoever waited for a lock on a file that was removed meanwhile has locked
// nothing.
func TestLockFileRemoved(t *testing.T) {
	together(t, 8, "unlink", t.TempDir()+"/credentials", func(int) []string { return []string{"https://a.example"} })
}

// A lock whose file a user removed no longer keeps others out: what was
// compared under it does not count.
func TestLockFileRemovedDuringPut(t *testing.T) {
	dir := t.TempDir() + "/credentials"
	k := key(t, "https://a.example")
	theirs := &saved{Key: k, Token: "0"}
	if err := theirs.put(t.Context(), open(t, filestore.Options{Dir: dir})); err != nil {
		t.Fatal(err)
	}
	ours := theirs.clone()
	ours.Token = "ours"
	interfere := sync.OnceFunc(func() {
		if err := os.Remove(dir + "/locks/" + k.Name() + ".lock"); err != nil {
			t.Error(err)
		}
		together(t, 1, "increment", dir, func(int) []string { return []string{k.Server, "1", "by comparison"} })
	})
	s := open(t, filestore.Options{Dir: dir, Trace: func(step filestore.Step) {
		if step == filestore.StepSync {
			interfere()
		}
	}})
	if err := ours.put(t.Context(), s); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Put = %v, want ErrConflict", err)
	}
	if r, err := read(t.Context(), s, k); err != nil || r.Token != "1" {
		t.Errorf("Get = %v, %v", r, err)
	}
}
