//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package filestore

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// lockFile is an open lock file. The lock is the system's (flock), and ends with the process.
type lockFile struct {
	path string
	file *os.File
}

// openLockFile opens a lock file and makes it if it is not there. What else is in its place is
// an error at once: to open a pipe or a device may block, or do something.
func openLockFile(path string) (*lockFile, error) {
	info, err := os.Lstat(path)
	if err == nil {
		if err := checkLockFile(path, info); err != nil {
			return nil, err
		}
	}
	// Reading is enough to lock, and possible on a full or read-only disk once the file is there.
	file, err := openNoWait(path, os.O_CREATE|os.O_RDONLY)
	switch {
	case errors.Is(err, syscall.ELOOP):
		return nil, unusable("%s is a symbolic link; remove it", path)
	case errors.Is(err, fs.ErrPermission):
		if info, statErr := os.Lstat(path); statErr == nil {
			err = cmp.Or(checkOwner(path, info), err)
		}
		return nil, err
	case err != nil:
		return nil, err
	}
	if info, err = file.Stat(); err == nil {
		err = checkLockFile(path, info) // it may have been replaced since we looked
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return &lockFile{path, file}, nil
}

func openNoWait(path string, flags int) (*os.File, error) {
	return os.OpenFile(path, flags|noFollow|syscall.O_NONBLOCK, 0o600)
}

func checkLockFile(path string, info fs.FileInfo) error {
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return unusable("%s is a symbolic link; remove it", path)
	case !info.Mode().IsRegular():
		return unusable("%s is not a regular file, so it cannot be a lock; remove it", path)
	}
	return nil
}

// try locks the file if it is free.
func (l *lockFile) try() (free bool, err error) {
	err = l.flock(syscall.LOCK_EX | syscall.LOCK_NB)
	if errors.Is(err, syscall.EBADF) || errors.Is(err, syscall.EIO) {
		// NFS locks only what is open for writing.
		if writable, openErr := openNoWait(l.path, os.O_RDWR); openErr == nil {
			l.file.Close()
			l.file = writable
			err = l.flock(syscall.LOCK_EX | syscall.LOCK_NB)
		}
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// wait blocks until the file is locked.
func (l *lockFile) wait() error { return l.flock(syscall.LOCK_EX) }

func (l *lockFile) flock(how int) error {
	for {
		err := syscall.Flock(int(l.file.Fd()), how)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.EOPNOTSUPP):
			return unusable("the file system of %s has no locks; keep credentials on a local disk: %w", l.path, err)
		}
		return err
	}
}

// release unlocks and closes the file.
func (l *lockFile) release() { l.file.Close() }

// inPlace reports whether the file is still the one at its path.
func (l *lockFile) inPlace() bool {
	opened, err := l.file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(l.path)
	return err == nil && os.SameFile(opened, named)
}
