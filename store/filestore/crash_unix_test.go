//go:build unix

package filestore_test

import (
	"bytes"
	"context"
	"encoding/json"
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

	"github.com/handstamp/handstamp/internal/envelope"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

var steps = []filestore.Step{
	filestore.StepCreate, filestore.StepReserve, filestore.StepWrite, filestore.StepSync,
	filestore.StepRename, filestore.StepSyncDir, filestore.StepDone,
}

// filled returns a value that has the same number from its beginning to its end, so that a
// mixture of two would show.
func filled(k store.Key, number int) *saved {
	return &saved{Key: k, Token: strings.Repeat(strconv.Itoa(number)+" ", 24000/len(strconv.Itoa(number)))}
}

// numberOf returns the number that a value is filled with.
func numberOf(r *saved) (int, error) {
	first, _, _ := strings.Cut(r.Token, " ")
	number, err := strconv.Atoi(first)
	if err == nil && r.Token != filled(r.Key, number).Token {
		err = errors.New("the value is a mixture")
	}
	return number, err
}

func checkFilled(t *testing.T, r *saved) int {
	t.Helper()
	number, err := numberOf(r)
	if err != nil {
		t.Fatal(err)
	}
	return number
}

// putNext puts the value with the next number.
func putNext(r *saved, put func(next *saved) error) error {
	number, err := numberOf(r)
	if err != nil {
		return err
	}
	next := filled(r.Key, number+1)
	next.Revision = r.Revision
	return put(next)
}

// childKilled puts a record into reserved space and kills itself before a step.
func childKilled(dir string, args []string) error {
	s, k, err := openChild(dir, "https://a.example", func(step filestore.Step) {
		if string(step) == args[0] {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until it is delivered
		}
	})
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
		return err
	}
	if err := putNext(r, func(next *saved) error { return next.putInto(ctx, space) }); err != nil {
		return err
	}
	return errors.New("it was not killed")
}

// childWriter puts records until it is killed.
func childWriter(dir string, _ []string) error {
	s, k, err := openChild(dir, "https://a.example", nil)
	if err != nil {
		return err
	}
	ctx := context.Background()
	fmt.Println("writing")
	for {
		r, err := read(ctx, s, k)
		if err != nil {
			return err
		}
		if err := putNext(r, func(next *saved) error { return next.put(ctx, s) }); err != nil {
			return err
		}
	}
}

// Killed before any step, the record is the old one; from the rename on it is
// the new one.
func TestKilledAtEachStep(t *testing.T) {
	rounds := 10
	if testing.Short() {
		rounds = 3
	}
	dir := t.TempDir() + "/credentials"
	s := open(t, filestore.Options{Dir: dir})
	k := key(t, "https://a.example")
	if err := filled(k, 1).put(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	number := 1
	for range rounds {
		for i, step := range steps {
			runKilled(t, dir, step)
			if i > slices.Index(steps, filestore.StepRename) {
				number++
			}
			r, err := read(t.Context(), s, k)
			if err != nil {
				t.Fatalf("killed before %q: %v", step, err)
			}
			if got := checkFilled(t, r); got != number {
				t.Fatalf("killed before %q: the record is number %d, want %d", step, got, number)
			}
			if previous, err := os.ReadFile(file(dir, k) + ".prev"); err == nil {
				if _, err := envelope.Open(previous, new(json.RawMessage)); err != nil {
					t.Fatalf("killed before %q: the value before: %v", step, err)
				}
			}
		}
	}

	// The kills between creation and renaming left a file each. Once they are
	// old the next process that writes removes them.
	left := temporary(t, dir)
	if want := rounds * (slices.Index(steps, filestore.StepRename) - slices.Index(steps, filestore.StepCreate)); len(left) != want {
		t.Errorf("the kills left %d files, want %d", len(left), want)
	}
	write := func() {
		t.Helper()
		s := open(t, filestore.Options{Dir: dir})
		other := store.Key{Server: "https://other.example", Profile: "default"}
		_, revision, _ := s.Get(t.Context(), other)
		if _, err := s.Put(t.Context(), other, nil, revision); err != nil {
			t.Fatal(err)
		}
	}
	write()
	if got := temporary(t, dir); len(got) != len(left) {
		t.Errorf("%d of %d new files were removed: they may be in use", len(left)-len(got), len(left))
	}
	old := time.Now().Add(-2 * time.Hour)
	for _, path := range left {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	write()
	if got := temporary(t, dir); len(got) != 0 {
		t.Errorf("%d old files are left", len(got))
	}
}

// runKilled runs a child that is killed before a step.
func runKilled(t *testing.T, dir string, step filestore.Step) {
	t.Helper()
	cmd, output := child(t, "killed", dir, string(step))
	err := cmd.Run()
	if cmd.ProcessState == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child was not killed before %q: %v: %s", step, err, output)
	}
}

// Killed before any step of a repair, the next process finds the record before the damaged one,
// and one copy of that.
func TestKilledDuringRepair(t *testing.T) {
	for _, step := range steps {
		if step == filestore.StepReserve {
			continue // not in a repair
		}
		t.Run(string(step), func(t *testing.T) {
			dir := t.TempDir() + "/credentials"
			s := open(t, filestore.Options{Dir: dir})
			r := filled(key(t, "https://a.example"), 1)
			if err := r.put(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if err := putNext(r, func(next *saved) error { return next.put(t.Context(), s) }); err != nil {
				t.Fatal(err)
			}
			path := file(dir, r.Key)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			spoiled := data[:len(data)/2]
			replace(t, path, spoiled)
			runKilled(t, dir, step)

			var collected notices // none if the repair was complete
			got, err := read(t.Context(), open(t, filestore.Options{Dir: dir, Warn: collected.add}), r.Key)
			if err != nil {
				t.Fatal(err)
			}
			if number := checkFilled(t, got); number != 1 {
				t.Errorf("the record is number %d, want 1", number)
			}
			aside, err := filepath.Glob(path + ".corrupt-*")
			if err != nil || len(aside) != 1 {
				t.Fatalf("set aside is %q (%v)", aside, err)
			}
			if kept, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(kept, spoiled) {
				t.Errorf("%d bytes were set aside (%v), want %d", len(kept), err, len(spoiled))
			}
		})
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
	if err := filled(k, 1).put(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	number, kills := 1, 40
	if testing.Short() {
		kills = 10
	}
	for range kills {
		cmd, _, line := piped(t, "writer", dir)
		if line != "writing" {
			t.Fatalf("the child said %q", line)
		}
		// Some moment after it has written; on a busy disk that takes a while.
		begin, deadline := number, time.Now().Add(time.Duration(rand.IntN(15_000))*time.Microsecond)
		for number == begin || time.Now().Before(deadline) { // reading meanwhile must never see a mixture
			if time.Since(deadline) > time.Minute {
				t.Fatal("the child does not write")
			}
			r, err := read(t.Context(), s, k)
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
		r, err := read(t.Context(), s, k)
		if err != nil {
			t.Fatal(err)
		}
		if got := checkFilled(t, r); got < number {
			t.Fatalf("the record went back from number %d to %d", number, got)
		}
	}
}
