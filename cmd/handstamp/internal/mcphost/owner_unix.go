//go:build unix

package mcphost

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// KeepOwner gives a file the owner, group and mode of another, if that is there: with sudo, a
// user's file stays the user's. Where only the content may be given, which its writer owns then,
// a group that cannot be kept is not replaced by one with the same rights.
func KeepOwner(file, of string) error {
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
	mode := was.Mode().Perm()
	if from.Gid != to.Gid && os.Chown(file, -1, int(from.Gid)) != nil {
		mode = mode&^0o070 | mode&0o007<<3
	}
	if from.Uid != to.Uid {
		if err := os.Chown(file, int(from.Uid), -1); err != nil && os.Geteuid() == 0 {
			return err // its user could not read it any more
		}
	}
	return os.Chmod(file, mode) // a new owner may reset it
}
