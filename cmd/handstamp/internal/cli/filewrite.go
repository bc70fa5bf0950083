package cli

import (
	"crypto/rand"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// writeWhole writes a file in one step: whatever happens, there is the old one or the new one.
func writeWhole(path string, text []byte, mode fs.FileMode) error {
	return publish(path, text, mode, os.Rename)
}

// publish writes a temporary file, which move gives its name.
func publish(
	path string, text []byte, mode fs.FileMode, move func(temp, path string) error,
) error {
	removeTemporary(path)
	temp := path + "." + rand.Text()
	defer os.Remove(temp) // if it is still there
	if err := writeNew(temp, text, mode); err != nil {
		return err
	}
	if err := move(temp, path); err != nil {
		return err
	}
	// Not every system syncs folders.
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		_ = dir.Sync()
		_ = dir.Close()
	}
	return nil
}

// stale is how old a temporary file is that no process writes any more.
const stale = time.Minute

// removeTemporary removes what publish left where a process was killed: it may have secrets.
func removeTemporary(path string) {
	all, _ := os.ReadDir(filepath.Dir(path))
	for _, f := range all {
		end, ok := strings.CutPrefix(f.Name(), filepath.Base(path)+".")
		if !ok || len(end) != len(rand.Text()) || strings.Trim(end, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
			continue
		}
		if info, err := f.Info(); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > stale {
			_ = os.Remove(filepath.Join(filepath.Dir(path), f.Name()))
		}
	}
}

// writeNew writes a file that is not there yet, through to the disk.
func writeNew(path string, text []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(path)
	}
	return err
}
