//go:build unix

package mcphost

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives a file the owner and group of another, if that is there: with sudo, a user's
// file stays the user's. A group that this user may not give away is left out.
func keepOwner(file, of string) error {
	was, err := os.Stat(of)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	now, statErr := os.Stat(file)
	if err := errors.Join(err, statErr); err != nil {
		return err
	}
	from, ok := was.Sys().(*syscall.Stat_t)
	to, ok2 := now.Sys().(*syscall.Stat_t)
	if !ok || !ok2 {
		return nil
	}
	if from.Gid != to.Gid {
		_ = os.Chown(file, -1, int(from.Gid))
	}
	if from.Uid != to.Uid {
		err = os.Chown(file, int(from.Uid), -1)
	}
	return errors.Join(err, os.Chmod(file, was.Mode().Perm())) // a new owner may reset it
}
