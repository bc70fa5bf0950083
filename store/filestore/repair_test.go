package filestore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

// The record before stays until another one takes its place: neither a crash in the middle of
// bringing it back nor more damage before the next write loses the login.
func TestRecordBeforeOutlastsItsReturn(t *testing.T) {
	var collected notices
	_, r, path, data := damaged(t, &collected)
	steps := 0
	s := open(t, filestore.Options{Dir: filepath.Dir(path), Warn: collected.add, Trace: func(step filestore.Step) {
		if steps++; step == filestore.StepDone {
			return
		}
		if _, err := os.Stat(path + ".prev"); err != nil {
			t.Errorf("a crash at step %v would leave no copy: %v", step, err)
		}
	}})
	for range 3 {
		replace(t, path, data[:len(data)/2])
		got, err := read(t.Context(), s, r.Key)
		if err != nil || got.Token != "first" || got.Revision == r.Revision {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
	if steps == 0 {
		t.Error("no step was traced")
	}
}

// While a damaged file is repaired its name is always taken: no other process finds the login absent.
func TestLoginIsThereWhileItIsRepaired(t *testing.T) {
	var collected notices
	_, r, path, data := damaged(t, &collected)
	options := filestore.Options{Dir: filepath.Dir(path), Warn: collected.add}
	other := open(t, options)
	options.Trace = func(step filestore.Step) {
		if _, _, err := other.Peek(t.Context(), r.Key); errors.Is(err, store.ErrNotFound) {
			t.Errorf("before step %v the login is absent", step)
		}
	}
	s := open(t, options)
	repair := func() {
		t.Helper()
		replace(t, path+".spoiled", data[:len(data)/2])
		if err := os.Rename(path+".spoiled", path); err != nil {
			t.Fatal(err)
		}
		if got, err := read(t.Context(), s, r.Key); err != nil || got.Token != "first" {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	repair() // with a look before each step
	reading, stop := context.WithCancel(t.Context())
	var reader sync.WaitGroup
	reader.Go(func() {
		for reading.Err() == nil {
			if got, err := read(t.Context(), other, r.Key); err != nil || got.Token != "first" {
				t.Errorf("another process got %+v, %v", got, err)
				return
			}
		}
	})
	for range 30 {
		repair()
	}
	stop()
	reader.Wait()
}

// A process that was killed after it had set a damaged file aside leaves it under both names. The
// next one goes on from there, without another copy of it.
func TestSetAsideAgain(t *testing.T) {
	for _, before := range []string{"there", "absent"} {
		t.Run("record before "+before, func(t *testing.T) {
			var collected notices
			s, r, path, data := damaged(t, &collected)
			replace(t, path, data[:len(data)/2])
			aside := path + ".corrupt-20260101T000000.000000000Z"
			if err := os.Link(path, aside); err != nil {
				t.Fatal(err)
			}
			if before == "absent" {
				if err := os.Remove(path + ".prev"); err != nil {
					t.Fatal(err)
				}
			}
			got, err := read(t.Context(), s, r.Key)
			switch before {
			case "there":
				if err != nil || got.Token != "first" {
					t.Errorf("Get = %+v, %v", got, err)
				}
				if list := collected.take(); len(list) != 1 || !strings.Contains(list[0], aside) {
					t.Errorf("notices %q", list)
				}
			case "absent":
				if !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), aside) {
					t.Errorf("Get = %+v, %v", got, err)
				}
				if _, err := read(t.Context(), s, r.Key); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("second Get = %v", err)
				}
			}
			if list, err := filepath.Glob(path + ".corrupt-*"); err != nil || !slices.Equal(list, []string{aside}) {
				t.Errorf("set aside is %q (%v)", list, err)
			}
		})
	}
}
