//go:build unix

package mcphost

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// With sudo, the user's file stays the user's.
func TestFileKeepsItsOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may give files away")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "mcp.json")
	write(t, file, "{}\n", 0o640)
	if err := os.Chown(file, 1234, 2345); err != nil {
		t.Skip(err)
	}
	h := Find("cursor")
	e := &Editor{Folder: filepath.Join(dir, "state")}
	p := Place{file, h.Format, h.Path}
	if _, err := e.Put(context.Background(), p, "linear", h.Entry.Object("linear", linear), false); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	if stat.Uid != 1234 || stat.Gid != 2345 || info.Mode().Perm() != 0o640 {
		t.Errorf("owner %d, group %d, mode %v", stat.Uid, stat.Gid, info.Mode())
	}
}
