//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package filestore

import (
	"os"

	"github.com/gofrs/flock"
)

// lockFile is a lock file. The lock is the system's (LockFileEx, fcntl), and ends with the
// process.
type lockFile struct {
	path string
	file *flock.Flock
}

func openLockFile(path string) (*lockFile, error) {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return nil, unusable("%s is not a regular file, so it cannot be a lock; remove it", path)
	}
	return &lockFile{path, flock.New(path, flock.SetPermissions(0o600))}, nil
}

func (l *lockFile) try() (free bool, err error) { return l.file.TryLock() }

func (l *lockFile) wait() error { return l.file.Lock() }

func (l *lockFile) release() { _ = l.file.Unlock() }

// inPlace reports whether the file is still there. A file that is open cannot be replaced on
// Windows, and nothing can be learned of one whose lock is being waited for.
func (l *lockFile) inPlace() bool {
	_, err := os.Lstat(l.path)
	return err == nil
}
