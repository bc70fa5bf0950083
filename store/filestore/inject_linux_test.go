package filestore_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/store/filestore"
)

// runTraced runs a child in strace, with more arguments for that.
func runTraced(t *testing.T, cmd *exec.Cmd, args ...string) error {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed, and nothing else makes a disk fail, or shows what is synced, here")
	}
	if output, err := exec.Command(strace, "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("this system lets strace trace nothing: %v: %s", err, output)
	}
	cmd.Path, cmd.Args = strace, slices.Concat([]string{"strace", "-f", "-qq"}, args, cmd.Args)
	return cmd.Run()
}

// Every folder that is made is durable: the one that it is in is synced.
func TestFoldersThatAreMadeAreDurable(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	calls := filepath.Join(base, "calls")
	cmd, output := child(t, "put", base+"/a/b/credentials", "https://a.example")
	if err := runTraced(t, cmd, "-y", "-o", calls, "-e", "trace=fsync"); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	text, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"", "/a", "/a/b", "/a/b/credentials"} {
		if !strings.Contains(string(text), "<"+base+folder+">") {
			t.Errorf("%s was not synced:\n%s", base+folder, text)
		}
	}
}

// Where there are no hard links, a damaged file is renamed before another one takes its place.
func TestDamageWithoutHardLinks(t *testing.T) {
	var collected notices
	s, r, path, data := damaged(t, &collected)
	replace(t, path, data[:len(data)/2])
	cmd, output := child(t, "traced", filepath.Dir(path))
	if err := runTraced(t, cmd, "-o", os.DevNull, "-e", "trace=linkat", "-e", "inject=linkat:error=EPERM"); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if !strings.Contains(output.String(), "NOTICE(The saved login") {
		t.Errorf("no notice: %s", output)
	}
	if got := token(t, s, r.Key); got != "new" {
		t.Errorf("the %s token is stored", got)
	}
	aside, err := filepath.Glob(path + ".corrupt-*")
	if err != nil || len(aside) != 1 {
		t.Fatalf("set aside is %q (%v)", aside, err)
	}
	if kept, err := os.ReadFile(aside[0]); err != nil || string(kept) != string(data[:len(data)/2]) {
		t.Errorf("%q was set aside (%v)", kept, err)
	}
}

// Faults of the disk that only the system can make up.
func TestSystemCallsFail(t *testing.T) {
	tests := []struct {
		name, inject string
		want         []string // parts of the output, in their order
		stored       string
	}{
		{"nothing", "fsync:delay_enter=1",
			[]string{"create reserve write sync rename syncdir done $"}, "new"},
		{"one sync", "fsync:error=EIO:when=1",
			[]string{"create reserve write sync create write sync rename syncdir done $"}, "new"},
		{"every sync", "fsync:error=EIO", // three of the space's, three of another try
			[]string{strings.Repeat("write sync create ", 5) + "write sync Put(unusable: true", "input/output error"}, "old"},
		{"syncs of the folder", "fsync:error=EIO:when=2+",
			[]string{"create reserve write sync rename syncdir NOTICE(", "might not survive a power failure"}, "new"},
		{"quota", "fallocate:error=EDQUOT",
			[]string{"create reserve Reserve(unusable: true"}, "old"},
		{"no allocation", "fallocate:error=EOPNOTSUPP",
			[]string{"create reserve write sync rename syncdir done $"}, "new"},
		{"no locks", "flock:error=ENOLCK",
			[]string{"Reserve(unusable: true", "Lock(unusable: true", "has no locks", "local disk"}, "old"},
		{"locks for writers only", "flock:error=EBADF:when=1", // as on NFS
			[]string{"create reserve write sync rename syncdir done $"}, "new"},
		{"read-only at the end", "renameat,renameat2:error=EROFS:when=2+",
			[]string{"rename ", "Put(unusable: true"}, "old"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir() + "/credentials"
			s := open(t, filestore.Options{Dir: dir})
			r := &saved{Key: key(t, "https://a.example"), Token: "old"}
			if err := r.put(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			cmd, output := child(t, "traced", dir)
			calls, _, _ := strings.Cut(test.inject, ":")
			if err := runTraced(t, cmd, "-o", os.DevNull, "-e", "trace="+calls, "-e", "inject="+test.inject); err != nil {
				t.Fatalf("%v: %s", err, output)
			}
			rest := output.String() + "$"
			for _, part := range test.want {
				_, after, ok := strings.Cut(rest, part)
				if !ok {
					t.Fatalf("%q is not in the rest of the output: %s", part, output)
				}
				rest = after
			}
			if got := token(t, s, r.Key); got != test.stored {
				t.Errorf("the %s token is stored", got)
			}
			if left := temporary(t, dir); len(left) != 0 {
				t.Errorf("left is %q", left)
			}
		})
	}
}
