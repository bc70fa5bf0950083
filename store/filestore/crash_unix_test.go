//go:build unix

package filestore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

var steps = []filestore.Step{
	filestore.StepCreate, filestore.StepReserve, filestore.StepWrite, filestore.StepSync,
	filestore.StepRename, filestore.StepSyncDir, filestore.StepDone,
}

// filled returns a record whose parts all tell the same number, so that a mixture
// of two would show.
func filled(k store.Key, number int) *store.Record {
	text := strings.Repeat(strconv.Itoa(number)+" ", 8000/len(strconv.Itoa(number)))
	return &store.Record{
		Key:       k,
		ServerURL: text,
		Grant:     &store.Grant{AccessToken: store.Secret(text), RefreshToken: store.Secret(text)},
		Retry:     &store.Retry{Failures: number},
	}
}

func checkFilled(t *testing.T, r *store.Record) (number int) {
	t.Helper()
	want := filled(r.Key, r.Retry.Failures)
	if r.ServerURL != want.ServerURL || r.Grant.AccessToken != want.Grant.AccessToken || r.Grant.RefreshToken != want.Grant.RefreshToken {
		t.Fatal("the record is a mixture")
	}
	return r.Retry.Failures
}

// childKilled puts a record into reserved room and kills itself before a step.
func childKilled(dir string, args []string) error {
	s, err := openChild(dir, func(step filestore.Step) {
		if string(step) == args[0] {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until it is delivered
		}
	})
	if err != nil {
		return err
	}
	k, err := store.NewKey("https://a.example", "")
	if err != nil {
		return err
	}
	ctx := context.Background()
	r, err := s.Get(ctx, k)
	if err != nil {
		return err
	}
	next := filled(k, r.Retry.Failures+1)
	next.Generation = r.Generation
	room, err := s.Reserve(ctx, k, 64<<10)
	if err != nil {
		return err
	}
	if err := room.Put(ctx, next); err != nil {
		return err
	}
	return errors.New("it was not killed")
}

// childWriter puts records until it is killed.
func childWriter(dir string, _ []string) error {
	s, err := openChild(dir, nil)
	if err != nil {
		return err
	}
	k, err := store.NewKey("https://a.example", "")
	if err != nil {
		return err
	}
	ctx := context.Background()
	fmt.Println("writing")
	for {
		r, err := s.Get(ctx, k)
		if err != nil {
			return err
		}
		next := filled(k, r.Retry.Failures+1)
		next.Generation = r.Generation
		if err := s.Put(ctx, next); err != nil {
			return err
		}
	}
}

// Killed before any step, the record is the old one; from the rename on it is
// the new one.
func TestKilledAtEachStep(t *testing.T) {
	const rounds = 10
	dir := t.TempDir() + "/credentials"
	s := open(t, filestore.Options{Dir: dir})
	k := key(t, "https://a.example")
	if err := s.Put(t.Context(), filled(k, 1)); err != nil {
		t.Fatal(err)
	}
	number := 1
	for range rounds {
		for i, step := range steps {
			cmd, output := child(t, "killed", dir, string(step))
			err := cmd.Run()
			if cmd.ProcessState == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the child was not killed before %q: %v: %s", step, err, output)
			}
			if i > slices.Index(steps, filestore.StepRename) {
				number++
			}
			r, err := s.Get(t.Context(), k)
			if err != nil {
				t.Fatalf("killed before %q: %v", step, err)
			}
			if got := checkFilled(t, r); got != number {
				t.Fatalf("killed before %q: the record is number %d, want %d", step, got, number)
			}
			if previous, err := os.ReadFile(file(dir, k) + ".prev"); err == nil {
				if _, err := store.Decode(bare(t, previous)); err != nil {
					t.Fatalf("killed before %q: the record before: %v", step, err)
				}
			}
		}
	}

	// The kills between creation and renaming left a file each. Once they are
	// old the next start removes them.
	left := temporary(t, dir)
	if want := rounds * (slices.Index(steps, filestore.StepRename) - slices.Index(steps, filestore.StepCreate)); len(left) != want {
		t.Errorf("the kills left %d files, want %d", len(left), want)
	}
	open(t, filestore.Options{Dir: dir})
	if got := temporary(t, dir); len(got) != len(left) {
		t.Errorf("%d of %d new files were removed: they may be in use", len(left)-len(got), len(left))
	}
	old := time.Now().Add(-2 * time.Hour)
	for _, path := range left {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	open(t, filestore.Options{Dir: dir})
	if got := temporary(t, dir); len(got) != 0 {
		t.Errorf("%d old files are left", len(got))
	}
}

func temporary(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(dir + "/*.tmp-*")
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Killed at any time, whatever the program was doing.
func TestKilledAtAnyTime(t *testing.T) {
	dir := t.TempDir() + "/credentials"
	s := open(t, filestore.Options{Dir: dir})
	k := key(t, "https://a.example")
	if err := s.Put(t.Context(), filled(k, 1)); err != nil {
		t.Fatal(err)
	}
	number := 1
	for range 40 {
		cmd, _, line := piped(t, "writer", dir)
		if line != "writing" {
			t.Fatalf("the child said %q", line)
		}
		// Some moment after it has written; on a busy disk that takes a while.
		begin, deadline := number, time.Now().Add(time.Duration(rand.IntN(15_000))*time.Microsecond)
		for number == begin || time.Now().Before(deadline) { // reading meanwhile must never see a mixture
			if time.Since(deadline) > 10*time.Second {
				t.Fatal("the child does not write")
			}
			r, err := s.Get(t.Context(), k)
			if err != nil {
				t.Fatal(err)
			}
			if got := checkFilled(t, r); got < number {
				t.Fatalf("the record went back from number %d to %d", number, got)
			} else {
				number = got
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Process.Wait()
		r, err := s.Get(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		if got := checkFilled(t, r); got < number {
			t.Fatalf("the record went back from number %d to %d", number, got)
		}
	}
}
