package filestore_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

const namespaceVariable = "HANDSTAMP_TEST_NAMESPACE"

// inNamespace runs the test again as a process that may mount, and says whether
// this is that process. The other one has nothing left to do.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(namespaceVariable) != "" {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v")
	cmd.Env = append(os.Environ(), namespaceVariable+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	output, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Skipf("this system lets no process have a user namespace, and without one nothing can be mounted: %v", err)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, output)
	} else if !strings.Contains(string(output), "--- PASS: "+t.Name()) {
		t.Errorf("the test did not run:\n%s", output)
	}
	return false
}

// disk mounts a file system of 64 KiB, and one for everything else.
func disk(t *testing.T) (small, large string) {
	t.Helper()
	base := t.TempDir()
	small, large = base+"/small", base+"/large"
	for dir, size := range map[string]string{small: "64k", large: "8m"} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+size); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	}
	return small, large
}

// A trouble keeps a folder from being written.
type trouble struct {
	name  string
	begin func(t *testing.T, dir string)
	end   func(t *testing.T, dir string)
}

var troubles = []trouble{
	{"full", fill, func(t *testing.T, dir string) {
		if err := os.Remove(dir + "/ballast"); err != nil {
			t.Fatal(err)
		}
	}},
	{"read-only", func(t *testing.T, dir string) { remount(t, dir, syscall.MS_RDONLY) },
		func(t *testing.T, dir string) { remount(t, dir, 0) }},
}

func fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(dir + "/ballast")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); ; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func remount(t *testing.T, dir string, flags uintptr) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|flags, ""); err != nil {
		t.Fatal(err)
	}
}

func token(t *testing.T, s store.Store, k store.Key) string {
	t.Helper()
	r, err := read(t.Context(), s, k)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	return r.Token
}

func put(t *testing.T, s store.Store, r *saved, token string) {
	t.Helper()
	r.Token = token
	if err := r.put(t.Context(), s); err != nil {
		t.Fatalf("Put: %v", err)
	}
}

func putInto(t *testing.T, space store.Reservation, r *saved, token string) {
	t.Helper()
	r.Token = token
	if err := r.putInto(t.Context(), space); err != nil {
		t.Fatalf("Put: %v", err)
	}
}

func oneNotice(t *testing.T, collected *notices, part string) {
	t.Helper()
	list := collected.take()
	if len(list) != 1 || !strings.Contains(list[0], part) {
		t.Errorf("notices %q, want one notice with %q", list, part)
	}
}

// With no other place, nothing is stored, nothing is lost, and Reserve says so
// before anything is used.
func TestTroubleWithNoOtherPlace(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	for _, trouble := range troubles {
		t.Run(trouble.name, func(t *testing.T) {
			small, _ := disk(t)
			s := open(t, filestore.Options{Dir: small})
			r := &saved{Key: key(t, "https://a.example")}
			put(t, s, r, "old")
			trouble.begin(t, small)
			next := r.clone()
			next.Token = "new"
			if err := next.put(t.Context(), s); !errors.Is(err, store.ErrUnusable) {
				t.Errorf("Put = %v", err)
			}
			if space, err := s.Reserve(t.Context(), r.Key, 8192); !errors.Is(err, store.ErrUnusable) {
				t.Errorf("Reserve = %v, %v", space, err)
			}
			if got := token(t, s, r.Key); got != "old" {
				t.Errorf("the token is %q", got)
			}
			if left, err := filepath.Glob(small + "/*.tmp-*"); err != nil || len(left) != 0 {
				t.Errorf("left is %q (%v)", left, err)
			}
			trouble.end(t, small)
			put(t, s, r, "new")
		})
	}
}

// The spare folder takes the record, for all processes, until Dir can.
func TestTroubleWithSpareFolder(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	for _, trouble := range troubles {
		t.Run(trouble.name, func(t *testing.T) {
			var collected notices
			small, large := disk(t)
			spare := large + "/spare"
			options := filestore.Options{Dir: small, SpareDir: spare, Warn: collected.add}
			s := open(t, options)
			r := &saved{Key: key(t, "https://a.example")}
			put(t, s, r, "old")
			trouble.begin(t, small)
			other := open(t, options)
			put(t, s, r, "new")
			oneNotice(t, &collected, spare)
			if info, err := os.Stat(spare); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("the spare folder: %v, %v", info, err)
			}
			for _, handle := range []*filestore.Store{s, other} {
				if got := token(t, handle, r.Key); got != "new" {
					t.Errorf("the token is %q", got)
				}
			}
			space, err := other.Reserve(t.Context(), r.Key, 8192)
			if err != nil {
				t.Fatal(err)
			}
			putInto(t, space, r, "newer")
			space.Release()
			oneNotice(t, &collected, spare)

			// One that is only in the spare folder is listed, locked and deleted.
			guest := &saved{Key: key(t, "https://b.example")}
			put(t, s, guest, "guest")
			oneNotice(t, &collected, spare)
			if keys, err := other.List(t.Context()); err != nil || len(keys) != 2 {
				t.Errorf("List = %v, %v", keys, err)
			}
			unlock, err := s.Lock(t.Context(), guest.Key, store.LockRefresh)
			if err != nil {
				t.Fatal(err)
			}
			unlock()

			trouble.end(t, small)
			put(t, other, r, "newest")
			if got := token(t, s, r.Key); got != "newest" {
				t.Errorf("the token is %q", got)
			}
			if _, err := os.Stat(file(spare, r.Key)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the spare copy is still there: %v", err)
			}
			if err := s.Delete(t.Context(), guest.Key, guest.Revision); err != nil {
				t.Error(err)
			}
			if _, err := read(t.Context(), other, guest.Key); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("Get of what was deleted = %v", err)
			}
			if list := collected.take(); len(list) != 0 {
				t.Errorf("notices %q", list)
			}
		})
	}
}

// A process that may not stop keeps the record, and writes it as soon as it can.
func TestTroubleVolatile(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	for _, trouble := range troubles {
		t.Run(trouble.name, func(t *testing.T) {
			var collected notices
			small, _ := disk(t)
			s := open(t, filestore.Options{Dir: small, Volatile: true, Warn: collected.add})
			other := open(t, filestore.Options{Dir: small})
			r := &saved{Key: key(t, "https://a.example")}
			put(t, s, r, "old")
			trouble.begin(t, small)
			space, err := s.Reserve(t.Context(), r.Key, 8192)
			if err != nil {
				t.Fatal(err)
			}
			oneNotice(t, &collected, "no space")
			putInto(t, space, r, "new")
			space.Release()
			oneNotice(t, &collected, "COULD NOT BE SAVED")
			if got := token(t, s, r.Key); got != "new" {
				t.Errorf("the token is %q", got)
			}
			if got := token(t, other, r.Key); got != "old" {
				t.Errorf("another process has the token %q", got)
			}
			if list := collected.take(); len(list) != 0 {
				t.Errorf("notices %q", list)
			}
			trouble.end(t, small)
			if got := token(t, s, r.Key); got != "new" {
				t.Errorf("the token is %q", got)
			}
			oneNotice(t, &collected, "saved now")
			if got := token(t, other, r.Key); got != "new" {
				t.Errorf("another process has the token %q", got)
			}
		})
	}
}

// What another process stored in the meantime is not overwritten.
func TestVolatileGivesWay(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	var collected notices
	small, _ := disk(t)
	s := open(t, filestore.Options{Dir: small, Volatile: true, Warn: collected.add})
	other := open(t, filestore.Options{Dir: small})
	r := &saved{Key: key(t, "https://a.example")}
	put(t, s, r, "old")
	theirs := r.clone()
	fill(t, small)
	put(t, s, r, "kept")
	if err := os.Remove(small + "/ballast"); err != nil {
		t.Fatal(err)
	}
	put(t, other, theirs, "theirs")
	if got := token(t, s, r.Key); got != "theirs" {
		t.Errorf("the token is %q", got)
	}
	if err := (&saved{Key: r.Key}).put(t.Context(), s); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Put = %v", err)
	}
}

// Space that was reserved is there although the disk has filled up since.
func TestReservedSpaceStays(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	small, _ := disk(t)
	s := open(t, filestore.Options{Dir: small})
	r := &saved{Key: key(t, "https://a.example")}
	put(t, s, r, "old")
	space, err := s.Reserve(t.Context(), r.Key, 16<<10)
	if err != nil {
		t.Fatal(err)
	}
	defer space.Release()
	fill(t, small)
	long := strings.Repeat("x", 12<<10)
	putInto(t, space, r, long)
	if got := token(t, s, r.Key); got != long {
		t.Error("the token is another")
	}
}

// The folder cannot even be made.
func TestReadOnlyHome(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	small, large := disk(t)
	remount(t, small, syscall.MS_RDONLY)
	dir := small + "/credentials"
	if s, err := filestore.Open(filestore.Options{Dir: dir}); !errors.Is(err, store.ErrUnusable) {
		t.Errorf("Open = %v, %v", s, err)
	}
	for _, options := range []filestore.Options{
		{Dir: dir, Volatile: true},
		{Dir: dir, SpareDir: large + "/spare"},
	} {
		var collected notices
		options.Warn = collected.add
		s := open(t, options)
		if len(collected.take()) == 0 {
			t.Error("there was no notice")
		}
		r := &saved{Key: key(t, "https://a.example")}
		unlock, err := s.Lock(t.Context(), r.Key, store.LockRefresh)
		if err != nil {
			t.Fatal(err)
		}
		put(t, s, r, "new")
		unlock()
		if got := token(t, s, r.Key); got != "new" {
			t.Errorf("the token is %q", got)
		}
	}
}
