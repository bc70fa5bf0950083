package filestore

import (
	"context"
	"errors"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/internal/atomicfile"
	"github.com/handstamp/handstamp/store"
)

// Delete implements [store.Store]. It removes every file of the key but those of its locks, so
// that no token stays behind: the value before, damaged files and unfinished ones too, also where
// no value is left.
func (s *Store) Delete(ctx context.Context, key store.Key, revision store.Revision) error {
	if !s.holds(key) {
		return nil // without a lock's file for it
	}
	lock, err := s.lockEntry(ctx, key)
	if err != nil {
		return err
	}
	defer lock.unlock()
	e, err := s.current(key, lock)
	switch {
	case err != nil && !errors.Is(err, store.ErrCorrupt):
		return err
	case e != nil && e.Revision != revision:
		return store.ErrConflict
	}
	for _, dir := range s.dirs() {
		if err := removeAll(dir, fileName(key)); err != nil && !notThere(err) {
			return unusable("cannot remove the credential: %w", err)
		}
	}
	s.forget(key, math.MaxUint64)
	return nil
}

// holds reports whether there may be anything of key's.
func (s *Store) holds(key store.Key) bool {
	if s.keptEntry(key) != nil {
		return true
	}
	itsFile := func(name string) bool { return strings.HasPrefix(name, fileName(key)) }
	return slices.ContainsFunc(s.dirs(), func(dir string) (found bool) {
		err := inFolder(dir, false, func(root *os.Root) error {
			list, err := names(root)
			found = slices.ContainsFunc(list, itsFile)
			return err
		})
		return found || err != nil && !notThere(err)
	})
}

// removeAll removes the file called name, first, and all that begin with it.
func removeAll(dir, name string) error {
	root, err := openFolder(dir, false)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.Remove(name); err != nil && !notThere(err) {
		return err
	}
	list, err := names(root)
	if err != nil {
		return err
	}
	var failed error
	for _, other := range list {
		if !strings.HasPrefix(other, name+".") {
			continue
		}
		// A folder is none of the store's, and no reason to leave a token behind.
		if info, err := root.Lstat(other); err == nil && info.IsDir() {
			continue
		}
		if err := root.Remove(other); err != nil && !notThere(err) {
			failed = errors.Join(failed, err)
		}
	}
	return errors.Join(failed, atomicfile.SyncDir(root))
}
