package mcphost

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// A file that a host makes while ours is being written is not replaced.
func TestFileThatAppearsMeanwhileStays(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "mcp.json")
	write(t, file, "theirs", 0o600)
	if err := replaceFile(file, []byte("ours"), 0o600, nil); !errors.Is(err, ErrChanging) {
		t.Errorf("%v", err)
	}
	got, _ := os.ReadFile(file)
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); string(got) != "theirs" || len(left) > 0 {
		t.Errorf("%q, left behind %v", got, left)
	}
}

// A file that cannot be replaced has no copy beside it.
func TestNoCopyBesideAFileThatCannotBeReplaced(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "mcp.json")
	write(t, filepath.Join(path, "in it"), "", 0o600) // it is a folder
	temp, err := writeBeside(path, []byte("ours"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := rename(temp, path); err == nil {
		t.Error("a folder was replaced")
	}
	if err := writeFile(path, []byte("ours")); err == nil {
		t.Error("a folder was replaced")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A process that was killed has left a copy of the file, with all that is in it.
func TestTemporaryFilesOfKilledProcessesGo(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "mcp.json")
	write(t, file, "{}", 0o600)
	var want []string
	for name, keep := range map[string]bool{
		".mcp.json.handstamp-1": false, ".mcp.json.handstamp-2": true, ".mcp.json": true, ".other.json.handstamp-1": true,
	} {
		path := filepath.Join(dir, name)
		write(t, path, "{}", 0o600)
		if name != ".mcp.json.handstamp-2" { // which is being written
			old := time.Now().Add(-time.Hour)
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
		}
		if keep {
			want = append(want, path)
		}
	}
	if err := replaceFile(file, []byte("ours"), 0o600, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	if got, _ := filepath.Glob(filepath.Join(dir, ".*")); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Behind a link to a folder, a file that connect makes is gone after disconnect, as elsewhere:
// its notes are found under the same path, whether it is there or not.
func TestFileBehindLinkedFolderIsRemovedAgain(t *testing.T) {
	for name, made := range map[string]string{
		"in the folder": "link/mcp.json", "in folders below": "link/a/b/mcp.json", "two links": "link2/mcp.json",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.MkdirAll(filepath.Join(dir, "dotfiles", "cursor"), 0o700); err != nil {
				t.Fatal(err)
			}
			for link, to := range map[string]string{"link": "dotfiles/cursor", "link2": "link"} {
				if err := os.Symlink(filepath.FromSlash(to), filepath.Join(dir, link)); err != nil {
					t.Skip(err)
				}
			}
			h := Find("cursor")
			e := &Editor{Folder: filepath.Join(dir, "state")}
			p := Place{filepath.Join(dir, filepath.FromSlash(made)), h.Format, h.Path}
			if _, err := e.Put(context.Background(), p, "linear", h.Entry.Object("linear", linear), false); err != nil {
				t.Fatal(err)
			}
			if _, err := e.Remove(context.Background(), p, "linear"); err != nil {
				t.Fatal(err)
			}
			if left, _ := os.ReadDir(filepath.Join(dir, "dotfiles", "cursor")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// What the host writes before its file would be removed is not removed with it.
func TestFileChangedBeforeItsRemovalStays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mcp.json")
	write(t, file, "theirs", 0o600)
	e := &Editor{Folder: t.TempDir()}
	c := &Change{File: file, Before: []byte("ours")}
	if err := e.write(c, e.readJournal(file), e.readJournal(file), 0o600); !errors.Is(err, ErrChanging) {
		t.Errorf("%v", err)
	}
	if got, err := os.ReadFile(file); !bytes.Equal(got, []byte("theirs")) {
		t.Errorf("%q, %v", got, err)
	}
}

// Rewrites of one file at the same time are all there, and the file keeps its mode.
func TestRewritesWaitForEachOther(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	file := filepath.Join(dir, "config.json")
	write(t, file, "", 0o640)
	done := make(chan error)
	const n = 12
	for range n {
		go func() {
			e := &Editor{Folder: filepath.Join(dir, "state")}
			done <- e.Rewrite(ctx, file, func(before []byte) ([]byte, error) { return append(before, '.'), nil })
		}()
	}
	for range n {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	text, _ := os.ReadFile(file)
	if info, err := os.Stat(file); err != nil || len(text) != n || info.Mode().Perm() != 0o640 {
		t.Errorf("%s, %v, %v", text, info, err)
	}
	e := &Editor{Folder: filepath.Join(dir, "state")}
	locked := filepath.Join(dir, "locked.json")
	write(t, locked, "mine", 0o400)
	err := e.Rewrite(ctx, locked, func([]byte) ([]byte, error) { return []byte("ours"), nil })
	if text, _ := os.ReadFile(locked); !errors.Is(err, fs.ErrPermission) || string(text) != "mine" {
		t.Errorf("%v, %s", err, text)
	}
}
