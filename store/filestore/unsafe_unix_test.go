//go:build unix

package filestore_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

// childUmask writes every kind of file under a umask.
func childUmask(dir string, args []string) error {
	mask, err := strconv.ParseInt(args[0], 8, 32)
	if err != nil {
		return err
	}
	syscall.Umask(int(mask))
	s, err := filestore.Open(filestore.Options{Dir: dir + "/new/dir", SpareDir: dir + "/spare"})
	if err != nil {
		return err
	}
	ctx, cancel := soon()
	defer cancel()
	k, err := store.NewKey("https://a.example", "")
	if err != nil {
		return err
	}
	r := &saved{Key: k}
	for range 2 {
		if err := r.put(ctx, s); err != nil {
			return err
		}
	}
	if _, err := s.Lock(ctx, k, store.LockLogin); err != nil {
		return err
	}
	damaged := store.Key{Server: "https://b.example", Profile: "default"}
	if err := os.WriteFile(file(dir+"/new/dir", damaged), nil, 0o600); err != nil {
		return err
	}
	if _, err := read(ctx, s, damaged); !errors.Is(err, store.ErrCorrupt) {
		return fmt.Errorf("Get of a damaged file: %v", err)
	}
	_, err = s.Reserve(ctx, k, 4096)
	return err
}

func TestModesUnderAnyUmask(t *testing.T) {
	for _, mask := range []string{"000", "022", "077"} {
		t.Run(mask, func(t *testing.T) {
			dir := t.TempDir()
			cmd, output := child(t, "umask", dir, mask)
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v: %s", err, output)
			}
			var kinds []string
			err := filepath.WalkDir(dir+"/new", func(path string, entry fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				info, err := entry.Info()
				if err != nil {
					return err
				}
				want := fs.FileMode(0o600)
				if entry.IsDir() {
					want = 0o700
				} else {
					kinds = append(kinds, path)
				}
				if info.Mode().Perm() != want {
					t.Errorf("%s has mode %04o, want %04o", path, info.Mode().Perm(), want)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, kind := range []string{".json", ".json.prev", ".json.corrupt-", ".json.tmp-", ".login.lock", ".lock"} {
				if !strings.Contains(strings.Join(kinds, "\n")+"\n", kind) {
					t.Errorf("there is no %s file to look at", kind)
				}
			}
		})
	}
}

// What others could have touched is rejected, in a sentence that says where, what
// and how to mend it, and is left exactly as it was.
func TestUnsafeIsRejected(t *testing.T) {
	tests := []struct {
		name   string
		asRoot bool // only root can give files away
		spoil  func(dir, file string) error
		want   []string // parts of the error
		opens  bool     // it is found when the record is used, not when the folder is opened
	}{
		{"folder open to others", false, func(dir, _ string) error { return os.Chmod(dir, 0o755) },
			[]string{"credentials", "0755", "chmod 700"}, false},
		{"folder open to the group", false, func(dir, _ string) error { return os.Chmod(dir, 0o710) },
			[]string{"credentials", "0710", "chmod 700"}, false},
		{"folder of a stranger", true, func(dir, _ string) error { return os.Chown(dir, stranger, -1) },
			[]string{"credentials", "12345", "without sudo"}, false},
		{"link of a stranger to the folder", true, func(dir, _ string) error {
			if err := os.Rename(dir, dir+"2"); err != nil {
				return err
			}
			if err := os.Symlink(dir+"2", dir); err != nil {
				return err
			}
			return os.Lchown(dir, stranger, -1)
		}, []string{"credentials", "12345"}, false},
		{"lock folder of a stranger", true, func(dir, _ string) error { return os.Chown(dir+"/locks", stranger, -1) },
			[]string{"locks", "12345"}, false},
		{"file open to others", false, func(_, file string) error { return os.Chmod(file, 0o604) },
			[]string{".json", "0604", "chmod 600"}, true},
		{"file of a stranger", true, func(_, file string) error { return os.Chown(file, stranger, -1) },
			[]string{".json", "12345"}, true},
		{"file is a link", false, func(dir, file string) error {
			if err := os.Rename(file, dir+"/elsewhere"); err != nil {
				return err
			}
			return os.Symlink("elsewhere", file)
		}, []string{".json", "symbolic link"}, true},
		{"file is a link to nothing", false, func(dir, file string) error {
			if err := os.Remove(file); err != nil {
				return err
			}
			return os.Symlink("/nonexistent/planted", file)
		}, []string{".json", "symbolic link"}, true},
		{"file is a link out of the folder", false, func(dir, file string) error {
			if err := os.Rename(file, dir+"/../outside"); err != nil {
				return err
			}
			return os.Symlink("../outside", file)
		}, []string{".json", "symbolic link"}, true},
		{"hard link to a stranger's file", true, func(dir, file string) error {
			if err := os.WriteFile(dir+"/../theirs", nil, 0o600); err != nil {
				return err
			}
			if err := os.Chown(dir+"/../theirs", stranger, -1); err != nil {
				return err
			}
			if err := os.Remove(file); err != nil {
				return err
			}
			return os.Link(dir+"/../theirs", file)
		}, []string{".json", "12345"}, true},
		{"file is a pipe", false, func(_, file string) error {
			if err := os.Remove(file); err != nil {
				return err
			}
			return syscall.Mkfifo(file, 0o600)
		}, []string{".json", "not a regular file"}, true},
		{"file is a folder", false, func(_, file string) error {
			if err := os.Remove(file); err != nil {
				return err
			}
			return os.Mkdir(file, 0o700)
		}, []string{".json", "not a regular file"}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.asRoot && os.Geteuid() != 0 {
				t.Skip("only root can give a file to another user")
			}
			dir := t.TempDir() + "/credentials"
			s := open(t, filestore.Options{Dir: dir})
			r := &saved{Key: key(t, "https://a.example"), Token: "s3cret"}
			if err := r.put(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if err := test.spoil(dir, file(dir, r.Key)); err != nil {
				t.Fatal(err)
			}
			before := snapshot(t, filepath.Dir(dir))
			rejected := func(what string, err error) {
				t.Helper()
				if !errors.Is(err, store.ErrUnusable) {
					t.Fatalf("%s = %v, want ErrUnusable", what, err)
				}
				for _, part := range test.want {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%s says %q, but not %q", what, err, part)
					}
				}
				wantCommand(t, err)
			}
			_, err := filestore.Open(filestore.Options{Dir: dir})
			if !test.opens {
				rejected("Open", err)
			} else if err != nil {
				t.Errorf("Open = %v", err)
			}
			if !strings.Contains(test.name, "lock") { // locks are no business of Get's
				_, err = read(t.Context(), s, r.Key)
				rejected("Get", err)
			}
			rejected("Put", r.clone().put(t.Context(), s))
			rejected("Delete", s.Delete(t.Context(), r.Key, r.Revision))
			if !test.opens {
				_, err = s.Lock(t.Context(), r.Key, store.LockRefresh)
				if strings.Contains(test.name, "lock") {
					rejected("Lock", err)
				}
			}
			if after := snapshot(t, filepath.Dir(dir)); after != before {
				t.Errorf("it was\n%s\nand is\n%s", before, after)
			}
		})
	}
}

// wantCommand checks that the command in an error, if there is one, is about a
// file or folder that is there.
func wantCommand(t *testing.T, err error) {
	t.Helper()
	_, command, ok := strings.Cut(err.Error(), "run: ")
	if !ok {
		return
	}
	words := strings.SplitN(command, " \"", 2)
	path, quoteErr := strconv.Unquote("\"" + words[len(words)-1])
	if quoteErr != nil {
		t.Errorf("%q names no path: %v", command, quoteErr)
	} else if _, statErr := os.Lstat(path); statErr != nil {
		t.Errorf("%q: %v", command, statErr)
	}
}

// childStranger uses, as another user than root, folders that root has made: what
// one run with sudo leaves behind.
func childStranger(dir string, _ []string) error {
	if err := syscall.Setuid(stranger); err != nil {
		return err
	}
	_, err := filestore.Open(filestore.Options{Dir: dir})
	return err
}

const stranger = 12345

func TestFolderMadeWithSudo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make what root has made")
	}
	home := t.TempDir() + "/home"
	if err := os.MkdirAll(home, 0o700); err != nil {
		t.Fatal(err)
	}
	for dir := home; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if dir != home && info.Mode()&0o001 == 0 {
			if info.Sys().(*syscall.Stat_t).Uid != 0 || !strings.HasPrefix(dir, os.TempDir()+"/") {
				t.Skipf("%s lets no other user through", dir)
			}
			if err := os.Chmod(dir, 0o711); err != nil {
				t.Fatal(err)
			}
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	if err := os.Chown(home, stranger, -1); err != nil {
		t.Fatal(err)
	}
	run := func(dir string) string {
		t.Helper()
		cmd, output := child(t, "stranger", dir)
		if err := cmd.Run(); err == nil {
			t.Fatalf("the child could open %s", dir)
		}
		return strings.TrimSpace(output.String())
	}
	for made, dir := range map[string]string{
		home + "/a/handstamp/credentials": home + "/a/handstamp/credentials",
		home + "/b/handstamp":             home + "/b/handstamp/credentials",
		home + "/c":                       home + "/c",
	} {
		if err := os.MkdirAll(made, 0o700); err != nil {
			t.Fatal(err)
		}
		top := home + "/" + strings.SplitN(strings.TrimPrefix(made, home+"/"), "/", 2)[0]
		want := fmt.Sprintf("store: cannot be used: %s belongs to user 0, not to you (12345); to make it yours, run: sudo chown -hR 12345 %q", top, top)
		if got := run(dir); got != want {
			t.Errorf("it said\n%s\nwant\n%s", got, want)
		}
	}
	// What is in no folder of ours is left alone.
	outside := t.TempDir() + "/theirs"
	if err := os.Mkdir(outside, 0o700); err != nil {
		t.Fatal(err)
	}
	if got := run(outside + "/handstamp"); strings.Contains(got, "chown") || !strings.Contains(got, "permission denied") {
		t.Errorf("it said %s", got)
	}
}

// snapshot describes all files below dir but those of locks.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if strings.HasSuffix(path, ".lock") {
			return nil
		}
		target, _ := os.Readlink(path)
		var data []byte
		if info.Mode().IsRegular() {
			if data, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		fmt.Fprintf(&b, "%s %v %d %q %q\n", path, info.Mode(), info.Sys().(*syscall.Stat_t).Uid, target, data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// People move their folders to another disk and leave a link.
func TestFolderMayBeOwnLink(t *testing.T) {
	base := t.TempDir()
	if err := os.Mkdir(base+"/real", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", base+"/credentials"); err != nil {
		t.Fatal(err)
	}
	s := open(t, filestore.Options{Dir: base + "/credentials"})
	r := &saved{Key: key(t, "https://a.example")}
	if err := r.put(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file(base+"/real", r.Key)); err != nil {
		t.Error(err)
	}
}

// A file planted where a lock belongs must not be followed.
func TestLockFileIsLink(t *testing.T) {
	dir := t.TempDir() + "/credentials"
	s := open(t, filestore.Options{Dir: dir})
	k := key(t, "https://a.example")
	planted := dir + "/planted"
	if err := os.Symlink(planted, dir+"/locks/"+k.Name()+".refresh.lock"); err != nil {
		t.Fatal(err)
	}
	unlock, err := s.Lock(t.Context(), k, store.LockRefresh)
	if err == nil {
		unlock()
	}
	if !errors.Is(err, store.ErrUnusable) || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("Lock = %v", err)
	}
	if _, err := os.Lstat(planted); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link was followed: %v", err)
	}
}
