package keyringstore

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp/internal/keyringtest"
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
	"github.com/handstamp/handstamp/store/storetest"
)

// on returns options for a bus that only the runtime folder leads to, as systemd has it.
func on(k *keyringtest.Keyring) Options {
	return Options{Getenv: func(name string) string {
		if name == "XDG_RUNTIME_DIR" {
			return k.RuntimeDir
		}
		return ""
	}}
}

func files(t testing.TB, dir string) store.Store {
	t.Helper()
	s, err := filestore.Open(filestore.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const (
	childDir = "KEYRINGSTORE_CHILD_DIR"
	childRun = "KEYRINGSTORE_CHILD_RUNTIME_DIR"
)

// TestMain is also the process that processes at once are made of: it prints the id of its key.
func TestMain(m *testing.M) {
	dir := os.Getenv(childDir)
	if dir == "" {
		proctest.Prepare()
		os.Exit(m.Run())
	}
	s, err := filestore.Open(filestore.Options{Dir: dir})
	if err == nil {
		var key interface{ Reveal() string }
		key, err = Key(context.Background(), s, on(&keyringtest.Keyring{RuntimeDir: os.Getenv(childRun)}))
		if err == nil {
			os.Stdout.WriteString(key.Reveal())
			return
		}
	}
	os.Stderr.WriteString(err.Error())
	os.Exit(1)
}

// child runs a process of its own, which is needed for each state of a bus: a process keeps its
// connection to the bus.
func child(t testing.TB, k *keyringtest.Keyring, dir string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childRun+"="+k.RuntimeDir)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	return cmd, &out, &errs
}

func keyOf(t testing.TB, k *keyringtest.Keyring, dir string) (string, string) {
	t.Helper()
	cmd, out, errs := child(t, k, dir)
	if err := cmd.Run(); err != nil && errs.Len() == 0 {
		t.Fatal(err)
	}
	return out.String(), errs.String()
}

// The key is made once, is in the keyring and nowhere else, and every process gets the same.
func TestKeyringHasOneKeyForProcessesAtOnce(t *testing.T) {
	k := keyringtest.Start(t)
	dir := filepath.Join(t.TempDir(), "credentials")
	const processes = 6
	outs := make([]*bytes.Buffer, processes)
	cmds := make([]*exec.Cmd, processes)
	for i := range processes {
		var errs *bytes.Buffer
		cmds[i], outs[i], errs = child(t, k, dir)
		if err := cmds[i].Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if errs.Len() > 0 {
				t.Error(errs)
			}
		}()
	}
	for i, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		if got := outs[i].Len(); got != 32 || outs[i].String() != outs[0].String() {
			t.Errorf("process %d has another key, of %d bytes", i, got)
		}
	}
	if n := k.Items(); n != 1 {
		t.Errorf("the keyring has %d items, want 1", n)
	}
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, _ error) error {
		if data, err := os.ReadFile(path); err == nil && bytes.Contains(data, outs[0].Bytes()) {
			t.Errorf("%s has the key", path)
		}
		return nil
	})
}

// The store keeps the contract, over a store with files.
func TestKeyringStoreKeepsTheContract(t *testing.T) {
	k := keyringtest.Start(t)
	storetest.Run(t, func(t *testing.T) store.Store {
		s, err := Open(t.Context(), files(t, t.TempDir()+"/credentials"), on(k))
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// Each trouble has its own error, within the bound, and is never taken for a missing key.
func TestKeyringTroubleIsReported(t *testing.T) {
	empty := func(t *testing.T) string { return filepath.Join(t.TempDir(), "credentials") }
	tests := []struct {
		name string
		bus  func(t *testing.T) (k *keyringtest.Keyring, dir string)
		want error
	}{
		{"no bus", func(t *testing.T) (*keyringtest.Keyring, string) {
			return &keyringtest.Keyring{RuntimeDir: t.TempDir()}, empty(t)
		}, ErrUnavailable},
		{"a file where the bus should be", func(t *testing.T) (*keyringtest.Keyring, string) {
			dir := t.TempDir()
			if err := os.WriteFile(dir+"/bus", nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return &keyringtest.Keyring{RuntimeDir: dir}, empty(t)
		}, ErrUnavailable},
		{"no keyring on the bus", func(t *testing.T) (*keyringtest.Keyring, string) {
			return keyringtest.StartBus(t), empty(t)
		}, ErrUnavailable},
		{"a bus that says nothing", func(t *testing.T) (*keyringtest.Keyring, string) {
			return keyringtest.SilentBus(t), empty(t)
		}, ErrSilent},
		{"a keyring that hangs", func(t *testing.T) (*keyringtest.Keyring, string) {
			k := keyringtest.Start(t)
			k.Freeze()
			return k, empty(t)
		}, ErrSilent},
		{"locked", func(t *testing.T) (*keyringtest.Keyring, string) {
			k := keyringtest.Start(t)
			k.Lock()
			return k, empty(t)
		}, ErrLocked},
		{"wiped", func(t *testing.T) (*keyringtest.Keyring, string) {
			k, dir := keyringtest.Start(t), empty(t)
			if key, errs := keyOf(t, k, dir); key == "" {
				t.Fatal(errs)
			}
			at := store.Key{Server: "https://mcp.example", Profile: "default"}
			if _, err := files(t, dir).Put(t.Context(), at, []byte("sealed"), ""); err != nil {
				t.Fatal(err)
			}
			k.Wipe()
			return k, dir
		}, ErrKeyMissing},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			k, dir := test.bus(t)
			key, errs := keyOf(t, k, dir)
			if key != "" || !strings.Contains(errs, test.want.Error()) {
				t.Errorf("key of %d bytes, error %q, want %q", len(key), errs, test.want)
			}
		})
	}
}

// A keyring that hangs costs one goroutine, however often it is called.
func TestKeyringThatHangsKeepsOneGoroutine(t *testing.T) {
	hangs := make(chan struct{})
	defer close(hangs)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	begun := make(chan struct{})
	first := make(chan error)
	go func() {
		first <- bounded(t.Context(), func() error { close(begun); <-hangs; return nil })
	}()
	<-begun
	before := runtime.NumGoroutine()
	for range 100 {
		err := bounded(ctx, func() error { t.Error("it ran beside one that hangs"); return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("bounded = %v", err)
		}
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines, %d before", after, before)
	}
	if err := <-first; !errors.Is(err, errTimeout) {
		t.Errorf("the call that hangs returned %v", err)
	}
}

// A call of a keyring that hangs ends after three seconds, and so does one that waits for its turn meanwhile.
func TestKeyringThatHangsIsWaitedForThreeSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer func(all chan func(), start func()) { jobs, startWorker = all, start }(jobs, startWorker)
		jobs, startWorker = make(chan func()), func() {}
		hangs := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for job := range jobs {
				job()
			}
		}()
		began := time.Now()
		var calls sync.WaitGroup
		for range 2 {
			calls.Go(func() {
				err := bounded(t.Context(), func() error { <-hangs; return nil })
				if took := time.Since(began); took != 3*time.Second || !errors.Is(err, errTimeout) {
					t.Errorf("after %v: %v", took, err)
				}
			})
		}
		calls.Wait()
		close(hangs)
		close(jobs)
		<-ended
	})
}

func TestKeyringErrorsSayWhatToDo(t *testing.T) {
	for _, reason := range []error{
		ErrUnavailable, ErrLocked, ErrSilent, ErrRejected, ErrKeyMissing, ErrKeyDamaged,
	} {
		err := error(&Error{Reason: reason, Err: context.DeadlineExceeded})
		if !errors.Is(err, reason) || !errors.Is(err, store.ErrUnusable) || errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%v is none of its kinds", err)
		}
		if (&Error{Reason: reason}).Hint() == "" {
			t.Errorf("%v has no hint", err)
		}
	}
	if new(Error).Error() == "" { // and no panic
		t.Error("an empty error has no text")
	}
}

// What a peer sends that makes go-keyring panic is an error of the call.
func TestKeyringPanicIsAnError(t *testing.T) {
	if err := bounded(t.Context(), func() error { panic("assertion") }); err == nil {
		t.Error("no error")
	}
	if err := bounded(t.Context(), func() error { return nil }); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

// The keyring's service may be restarted at any time.
func TestKeyringThatWasStartedAnew(t *testing.T) {
	k := keyringtest.Start(t)
	dir := filepath.Join(t.TempDir(), "credentials")
	options := on(k)
	if _, err := Key(t.Context(), files(t, dir), options); err != nil {
		t.Fatal(err)
	}
	k.Wipe()
	start := time.Now()
	if _, err := Key(t.Context(), files(t, dir), options); err != nil {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}
