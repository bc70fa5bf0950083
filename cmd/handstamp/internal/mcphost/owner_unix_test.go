//go:build unix

package mcphost

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// With sudo, the user's file stays the user's.
func TestFileKeepsItsOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may give files away")
	}
	file := filepath.Join(t.TempDir(), "mcp.json")
	write(t, file, "{}\n", 0o640)
	if err := os.Chown(file, 1234, 2345); err != nil {
		t.Skip(err)
	}
	if err := putLinear(file); err != nil {
		t.Fatal(err)
	}
	checkOwner(t, file, 1234, 2345, 0o640)
}

func putLinear(file string) error {
	h := Find("cursor")
	e := &Editor{Folder: filepath.Join(filepath.Dir(file), "state")}
	p := Place{file, h.Format, h.Path}
	_, err := e.Put(context.Background(), p, "linear", h.Entry.Object("linear", linear), false)
	return err
}

func checkOwner(t *testing.T, file string, uid, gid uint32, mode fs.FileMode) {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	if stat.Uid != uid || stat.Gid != gid || info.Mode().Perm() != mode {
		t.Errorf("owner %d, group %d, mode %v; want %d, %d, %v", stat.Uid, stat.Gid, info.Mode(), uid, gid, mode)
	}
}

// asUser names the file to edit to this test when it runs as another user.
const asUser = "HANDSTAMP_TEST_AS_USER"

// A user edits a file that belongs to another as far as its mode allows that, and no other may read
// more than before.
func TestFileOfAnotherOwner(t *testing.T) {
	if file := os.Getenv(asUser); file != "" {
		if err := putLinear(file); err != nil {
			t.Fatal(err)
		}
		return
	}
	if os.Getuid() != 0 {
		t.Skip("only root may become another user")
	}
	const me, mine, other, group = 1234, 2345, 1235, 2346
	for name, test := range map[string]struct {
		uid, gid   int
		mode, want fs.FileMode // want 0: it stays as it is
		groups     []uint32
		wantGID    uint32
	}{
		"of a group of both":         {other, group, 0o664, 0o664, []uint32{group}, group},
		"mine, of another group":     {me, group, 0o640, 0o600, nil, mine},
		"mine, all may read":         {me, group, 0o664, 0o644, nil, mine},
		"I may only read it":         {other, group, 0o644, 0, []uint32{group}, 0},
		"root's, in my folder":       {0, 0, 0o644, 0, nil, 0},
		"mine, and I made it locked": {me, mine, 0o444, 0, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			program, file := filepath.Join(dir, "test"), filepath.Join(dir, "mcp.json")
			self, err := os.ReadFile("/proc/self/exe")
			if err != nil {
				t.Skip(err)
			}
			write(t, program, string(self), 0o755)
			write(t, file, "{}\n", 0o600)
			for _, err := range []error{
				os.Chmod(filepath.Dir(dir), 0o755), os.Chown(dir, me, mine),
				os.Chown(file, test.uid, test.gid), os.Chmod(file, test.mode),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command(program, "-test.run=^TestFileOfAnotherOwner$")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), asUser+"="+file)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: me, Gid: mine, Groups: test.groups}}
			out, err := cmd.CombinedOutput()
			text, _ := os.ReadFile(file)
			if test.want == 0 {
				if err == nil || !strings.Contains(string(out), "permission denied") || string(text) != "{}\n" {
					t.Errorf("%v, %s, %q", err, out, text)
				}
				checkOwner(t, file, uint32(test.uid), uint32(test.gid), test.mode)
				return
			}
			if err != nil || !strings.Contains(string(text), "linear") {
				t.Fatalf("%v, %s, %q", err, out, text)
			}
			checkOwner(t, file, me, test.wantGID, test.want)
		})
	}
}
