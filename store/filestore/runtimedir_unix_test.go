//go:build unix

package filestore_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

// A runtime folder that is not the user's own, as su and sudo -E leave one behind, is ignored
// with one warning. It is never written to, and a login works without it.
func TestInheritedRuntimeDir(t *testing.T) {
	const other = 12345
	root := os.Geteuid() == 0
	tests := []struct {
		name string
		make func(dir string) error
		warn string // a part of the one warning; empty: none
		used bool   // a spare folder is in it
	}{
		{"own", func(dir string) error { return os.Mkdir(dir, 0o700) }, "", true},
		{"own, readable by others", func(dir string) error { return mkdir(dir, 0o755) }, "", true},
		{"absent", func(string) error { return nil }, "", false},
		{"of another user", func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, other, -1)) }, "belongs to another user", false},
		{"a file", func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, "is no folder", false},
		{"a pipe", func(dir string) error { return syscall.Mkfifo(dir, 0o600) }, "is no folder", false},
		{"writable by all", func(dir string) error { return mkdir(dir, 0o777) }, "can be written by other users (mode 0777)", false},
		{"writable by all, sticky", func(dir string) error { return mkdir(dir, 0o777|fs.ModeSticky) }, "can be written by other users (mode 0777)", false},
		{"writable by the group", func(dir string) error { return mkdir(dir, 0o770) }, "can be written by other users (mode 0770)", false},
		{"closed", func(dir string) error { return mkdir(dir, 0) }, "is closed to its owner", false},
		{"own link", func(dir string) error { return errors.Join(os.Mkdir(dir+".real", 0o700), os.Symlink(dir+".real", dir)) }, "", true},
		{"dangling link", func(dir string) error { return os.Symlink(dir+".real", dir) }, "", false},
		{"link of another user", func(dir string) error {
			return errors.Join(os.Mkdir(dir+".real", 0o700), os.Symlink(dir+".real", dir), os.Lchown(dir, other, -1))
		}, "is a symbolic link of another user", false},
		{"own link to another user's", func(dir string) error {
			return errors.Join(os.Mkdir(dir+".real", 0o700), os.Chown(dir+".real", other, -1), os.Symlink(dir+".real", dir))
		}, "belongs to another user", false},
		{"in a file", func(dir string) error { return os.WriteFile(strings.TrimSuffix(dir, "/runtime"), nil, 0o600) }, "cannot be read", false},
		{"another user's folder inside", func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/handstamp", 0o700), os.Chown(dir+"/handstamp", other, -1))
		}, "cannot be used", false},
		{"a file inside", func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(dir+"/handstamp", nil, 0o600))
		}, "cannot be used", false},
		{"an open folder inside", func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), mkdir(dir+"/handstamp", 0o777)) }, "cannot be used", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if strings.Contains(test.name, "another user") && !root {
				t.Skip("only root can give files away")
			}
			base := t.TempDir()
			runtimeDir := base + "/run/runtime"
			if test.name != "in a file" {
				if err := os.Mkdir(base+"/run", 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if err := test.make(runtimeDir); err != nil {
				t.Fatal(err)
			}
			before := ""
			if !test.used {
				before = snapshot(t, base+"/run")
			}
			env := map[string]string{"HOME": base + "/home", "XDG_RUNTIME_DIR": runtimeDir}
			for range 2 { // the first makes the folders
				folders, err := filestore.UserFolders(func(name string) string { return env[name] })
				if err != nil {
					t.Fatal(err)
				}
				if got := folders.Spare == runtimeDir+"/handstamp"; got != test.used {
					t.Errorf("the spare folder is %q", folders.Spare)
				}
				var collected notices
				s, err := folders.Open(filestore.Options{Warn: collected.add})
				if err != nil {
					t.Fatal(err)
				}
				k := key(t, "https://a.example")
				r, err := read(t.Context(), s, k)
				if errors.Is(err, store.ErrNotFound) {
					r, err = &saved{Key: k}, nil
				}
				if err != nil {
					t.Fatal(err)
				}
				if err := r.put(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				list := collected.take()
				if test.warn == "" && len(list) != 0 {
					t.Errorf("notices %q", list)
				}
				if test.warn != "" && (len(list) != 1 || !strings.Contains(list[0], test.warn) || !strings.Contains(list[0], runtimeDir)) {
					t.Errorf("notices %q, want one warning with %q", list, test.warn)
				}
			}
			if !test.used {
				if after := snapshot(t, base+"/run"); after != before {
					t.Errorf("it was changed:\n%s\nbefore:\n%s", after, before)
				}
			}
		})
	}
}

// mkdir makes a folder of a mode, whatever the umask.
func mkdir(dir string, mode fs.FileMode) error {
	return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, mode))
}

// User warns where the command keeps its logins in another store.
func TestUserWarnsWhereTheCommandUsesAnotherStore(t *testing.T) {
	for config, warns := range map[string]bool{
		`{"store":"keyring"}`: true, `{"store":"encrypted"}`: true, `{"store":"postgres://db.example/logins"}`: true,
		`{"store":"file"}`: false, `{"store":"auto"}`: false, `{"servers":{}}`: false, `{"store":`: false, `{"store":7}`: false, "": false,
	} {
		home := t.TempDir()
		t.Setenv("HANDSTAMP_HOME", home)
		if config != "" {
			if err := os.WriteFile(filepath.Join(home, "config.json"), []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var warnings []string
		_, err := filestore.User(filestore.Options{Warn: func(message string) { warnings = append(warnings, message) }})
		if err != nil {
			t.Fatal(err)
		}
		if warned := len(warnings) == 1 && strings.Contains(warnings[0], "handstamp store migrate file"); warned != warns || len(warnings) > 1 {
			t.Errorf("%s: warnings %q", config, warnings)
		}
	}
}

// User opens what the environment of the process leads to, and nothing else.
func TestUserOpensTheUsersFolder(t *testing.T) {
	home := t.TempDir() + "/home"
	t.Setenv("HANDSTAMP_HOME", home)
	s, err := filestore.User(filestore.Options{Dir: t.TempDir() + "/elsewhere", SpareDir: t.TempDir() + "/spare"})
	if err != nil {
		t.Fatal(err)
	}
	r := &saved{Key: key(t, "https://a.example")}
	if err := r.put(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file(home+"/credentials", r.Key)); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"HANDSTAMP_HOME", "HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"} {
		t.Setenv(name, "")
	}
	if _, err := filestore.User(filestore.Options{}); err == nil || !strings.Contains(err.Error(), "HANDSTAMP_HOME") {
		t.Errorf("User without a home = %v", err)
	}
}
