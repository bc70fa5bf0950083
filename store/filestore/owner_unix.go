//go:build unix

package filestore

import (
	"io/fs"
	"os"
	"syscall"
)

// hasModes says whether a file's mode tells who may read it.
const hasModes = true

// noFollow makes opening a symbolic link fail.
const noFollow = syscall.O_NOFOLLOW

// checkOwner rejects what is not ours, typically after one run with sudo.
func checkOwner(path string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return unusable("%s: its owner is unknown", path)
	}
	us := os.Geteuid()
	if int(stat.Uid) == us {
		return nil
	}
	if us == 0 {
		return unusable("%s belongs to user %d, not to root; run this as that user, without sudo", path, stat.Uid)
	}
	return unusable("%s belongs to user %d, not to you (%d); to make it yours, run: sudo chown -hR %[3]d %[1]q", path, stat.Uid, us)
}
