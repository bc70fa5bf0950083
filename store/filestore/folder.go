package filestore

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

// maxSize bounds what is read as a record, in bytes.
const maxSize = 16 << 20

var errNoFolder = errors.New("it is not a folder")

var errTooLarge = errors.New("it is larger than 16 MiB")

// openFolder opens a folder that is safe to keep secrets in, and makes it first
// if create says so. Every call opens it again, since it may be replaced at any
// time; what is done through the root is done in the folder that was checked.
func openFolder(path string, create bool) (*os.Root, error) {
	if create {
		if err := makeFolder(path); err != nil {
			return nil, denied(path, err)
		}
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil, denied(path, err)
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		if err := checkOwner(path, info); err != nil {
			return nil, err
		}
		if info, err = os.Stat(path); err != nil {
			return nil, denied(path, err)
		}
	}
	if !info.IsDir() { // to open a pipe would block
		return nil, &fs.PathError{Op: "open", Path: path, Err: errNoFolder}
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, denied(path, err)
	}
	info, err = root.Stat(".")
	if err == nil {
		err = checkPrivate(path, info)
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return root, nil
}

// inFolder opens a folder for as long as do runs.
func inFolder(path string, create bool, do func(root *os.Root) error) error {
	root, err := openFolder(path, create)
	if err != nil {
		return err
	}
	defer root.Close()
	return do(root)
}

// usable does nothing: a folder that inFolder can open is usable.
func usable(*os.Root) error { return nil }

// denied says who keeps us out of path, where that is a folder in one of ours
// that another user made, typically a program that was run with sudo.
func denied(path string, err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	var stranger error
	for dir := filepath.Clean(path); ; {
		if info, statErr := os.Stat(dir); statErr == nil {
			rejected := checkOwner(dir, info)
			if rejected == nil {
				break
			}
			stranger = rejected
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return err // not in a folder of ours
		}
		dir = parent
	}
	if stranger == nil {
		return err
	}
	return stranger
}

// makeFolder makes a folder, with its parents, and makes the names of all that it made durable.
func makeFolder(path string) error {
	if _, err := os.Stat(path); !notThere(err) {
		return nil // openFolder says what is wrong with it
	}
	parent := filepath.Dir(path)
	if parent != path { // equal for the root of a drive that is absent
		if err := makeFolder(parent); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	if root, err := os.OpenRoot(parent); err == nil {
		atomicfile.SyncDir(root) // the folder can be used in any case
		root.Close()
	}
	return nil
}

// checkPrivate rejects what others own or may touch. It repairs nothing: that
// a user could have been there is for the user to check.
func checkPrivate(path string, info fs.FileInfo) error {
	if err := checkOwner(path, info); err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && hasModes {
		fix := 0o600
		if info.IsDir() {
			fix = 0o700
		}
		return unusable("%s is open to other users (mode %04o); if no other user was there, run: chmod %o %[1]q", path, mode, fix)
	}
	return nil
}

// readFile reads a regular file of root, no link, if check has nothing against it.
func readFile(root *os.Root, name string, check func(path string, info fs.FileInfo) error) ([]byte, error) {
	path := filepath.Join(root.Name(), name)
	info, err := root.Lstat(name) // before it is opened: to open a pipe would block
	if err != nil {
		return nil, err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return nil, unusable("%s is a symbolic link; remove it, or put the file in its place", path)
	}
	if !info.Mode().IsRegular() {
		return nil, unusable("%s is not a regular file; remove it", path)
	}
	file, err := root.Open(name)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			if private := checkPrivate(path, info); private != nil {
				return nil, private // says more
			}
		}
		return nil, err
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil {
		return nil, err
	}
	if err := check(path, info); err != nil {
		return nil, err
	}
	if info.Size() > maxSize {
		return nil, errTooLarge
	}
	data := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	_, err = data.ReadFrom(io.LimitReader(file, maxSize+1))
	if err == nil && data.Len() > maxSize {
		err = errTooLarge
	}
	return data.Bytes(), err
}

// names returns the names in root, in any order.
func names(root *os.Root) ([]string, error) {
	dir, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Readdirnames(-1) // ReadDir looks at each file, where the file system has no types
}

const (
	// sweepAfter is the age from which a temporary file is taken for a killed
	// process's: no write lasts that long.
	sweepAfter = time.Hour

	// sweepMost bounds how many files one process removes.
	sweepMost = 1000
)

// sweep removes temporary files that no process will finish, once.
func (s *Store) sweep() {
	s.sweeps.Do(func() {
		for _, dir := range s.dirs() {
			_ = inFolder(dir, false, sweepFolder) // what is wrong with it shows when it is used
		}
	})
}

func sweepFolder(root *os.Root) error {
	list, err := names(root)
	if err != nil {
		return err
	}
	removed := 0
	for _, name := range list {
		target, ok := atomicfile.Target(name)
		if !ok || !strings.HasSuffix(target, extension) || removed == sweepMost {
			continue
		}
		info, err := root.Lstat(name)
		if err != nil || !info.Mode().IsRegular() || time.Since(info.ModTime()) < sweepAfter || checkOwner(name, info) != nil {
			continue
		}
		if root.Remove(name) == nil {
			removed++
		}
	}
	return nil
}
