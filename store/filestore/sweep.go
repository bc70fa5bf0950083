package filestore

import (
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/atomicfile"
)

const (
	// sweepAfter is the age from which a temporary file is taken for a killed
	// process's: no write lasts that long.
	sweepAfter = time.Hour

	// sweepMost bounds how many files one Open removes.
	sweepMost = 1000
)

// sweep removes temporary files that no process will finish. Only a folder that is
// not safe is an error: anything else shows when the folder is used.
func sweep(dir string) error {
	root, err := openFolder(dir, false)
	if err != nil {
		return err
	}
	defer root.Close()
	list, err := names(root)
	if err != nil {
		return nil
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
