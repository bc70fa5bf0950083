package filestore

import (
	"context"
	"errors"
	"strings"

	"github.com/handstamp/handstamp/internal/atomicfile"
	"github.com/handstamp/handstamp/store"
)

// Delete implements store.Store. It removes every file of the key but those of
// its locks, so that no token stays behind: the record before, damaged files and
// unfinished ones too.
func (s *Store) Delete(ctx context.Context, key store.Key, generation uint64) error {
	lock, err := s.lockRecord(ctx, key)
	if err != nil {
		return err
	}
	defer lock.unlock()
	r, err := s.current(key, lock)
	if errors.Is(err, store.ErrCorrupt) {
		return nil // it has been set aside
	}
	if err != nil || r == nil {
		return err
	}
	if r.Generation != generation {
		return store.ErrConflict
	}
	for _, dir := range s.dirs() {
		if err := removeAll(dir, fileName(key)); err != nil && !notThere(err) {
			return unusable("cannot remove the credential: %w", err)
		}
	}
	s.forget(key, generation)
	return nil
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
	for _, other := range list {
		if strings.HasPrefix(other, name+".") {
			if err := root.Remove(other); err != nil && !notThere(err) {
				return err
			}
		}
	}
	return atomicfile.SyncDir(root)
}
