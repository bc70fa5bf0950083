package mcphost

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/atomicfile"
)

// behindLinks returns the file that a path leads to, so that a link stays one. Of a file that is
// missing, it is the one that would be made.
func behindLinks(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return real, err
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return "", errors.New("it is a link to a file that is missing")
	}
	folder := filepath.Dir(path)
	if folder == path {
		return path, nil
	}
	if folder, err = behindLinks(folder); err != nil {
		return "", err
	}
	return filepath.Join(folder, filepath.Base(path)), nil
}

// ReadFile returns the text of a host's file; nil if there is none.
func ReadFile(path string) ([]byte, error) {
	text, _, err := readHostFile(path)
	return text, err
}

// readHostFile returns the text of a file, nil if there is none, and the mode for a new one.
func readHostFile(path string) ([]byte, fs.FileMode, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0o600, nil
	}
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, errors.New("it is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = errors.New("it is too large")
	}
	if text == nil {
		text = []byte{}
	}
	return text, info.Mode().Perm(), err
}

// writable returns an error if a file is there that its mode keeps from this user, or that is
// locked: the folder alone would allow to replace it.
func writable(path string, mode fs.FileMode) error {
	if mode&0o200 == 0 {
		return fs.ErrPermission
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// replaceFile replaces a host's file in one step. The file must still have the text before; nil:
// it must be missing. It keeps its owner.
func replaceFile(path string, text []byte, mode fs.FileMode, before []byte) error {
	removeTemporary(path)
	temp, err := writeBeside(path, text, mode)
	if err != nil {
		return err
	}
	if err := errors.Join(KeepOwner(temp, path), unchanged(path, before)); err != nil {
		os.Remove(temp)
		return err
	}
	return rename(temp, path)
}

// rename puts a temporary file in place of another. Where that cannot be replaced, as if it is a mount of
// its own, no copy of it stays beside it. After a power failure the file must not be the old one again: logins
// are removed from the store that it named.
func rename(temp, path string) error {
	if err := os.Rename(temp, path); err != nil {
		os.Remove(temp)
		return err
	}
	folder, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer folder.Close()
	return atomicfile.SyncDir(folder)
}

// unchanged returns [ErrChanging] unless a file has a text; nil: it is missing.
func unchanged(path string, before []byte) error {
	now, err := ReadFile(path)
	if err != nil || (now == nil) != (before == nil) || !bytes.Equal(now, before) {
		return ErrChanging
	}
	return nil
}

// writeFile writes a file of our own in one step.
func writeFile(path string, text []byte) error {
	temp, err := writeBeside(path, text, 0o600)
	if err != nil {
		return err
	}
	return rename(temp, path)
}

// stale is how old a temporary file is that no process writes any more.
const stale = time.Minute

// removeTemporary removes what writeBeside left where a process was killed: it has all that the file
// has, and is not where its user would look for it.
func removeTemporary(path string) {
	all, _ := os.ReadDir(filepath.Dir(path))
	for _, f := range all {
		if info, err := f.Info(); strings.HasPrefix(f.Name(), temporaryPrefix(path)) && err == nil &&
			info.Mode().IsRegular() && time.Since(info.ModTime()) > stale {
			_ = os.Remove(filepath.Join(filepath.Dir(path), f.Name()))
		}
	}
}

func temporaryPrefix(path string) string { return "." + filepath.Base(path) + ".handstamp-" }

// writeBeside writes a temporary file in the folder of another, and returns its path.
func writeBeside(path string, text []byte, mode fs.FileMode) (name string, err error) {
	temp, err := os.CreateTemp(filepath.Dir(path), temporaryPrefix(path)+"*")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			temp.Close()
			os.Remove(temp.Name())
		}
	}()
	if _, err = temp.Write(text); err != nil {
		return "", err
	}
	if err = temp.Chmod(mode); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return "", err
	}
	return temp.Name(), errors.Join(temp.Sync(), temp.Close())
}

// makeFolders makes a folder and those above it, and returns the topmost that was missing.
func makeFolders(folder string) (made string, err error) {
	for f := folder; !exists(f); f = filepath.Dir(f) {
		made = f
		if f == filepath.Dir(f) {
			break
		}
	}
	return made, os.MkdirAll(folder, 0o700)
}

// removeFolders removes a folder and those above it up to made, as far as they are empty.
func removeFolders(folder, made string) {
	for made != "" && os.Remove(folder) == nil && folder != made {
		folder = filepath.Dir(folder)
	}
}
