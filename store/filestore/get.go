package filestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/handstamp/handstamp/store"
)

// Get implements [store.Store]. A damaged file is set aside, and the value before takes its
// place, with a notice; [store.ErrCorrupt] is returned if there is none. It waits, until ctx
// ends, only for that.
func (s *Store) Get(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	e, err := s.get(ctx, key)
	if err != nil {
		return nil, "", err
	}
	return bytes.Clone(e.value), e.Revision, nil
}

// Peek implements [store.Peeker]: of copies of which one is damaged, it returns the other.
func (s *Store) Peek(_ context.Context, key store.Key) ([]byte, store.Revision, error) {
	e, damaged, err := s.newest(key)
	switch {
	case err != nil:
		return nil, "", err
	case e != nil:
		return bytes.Clone(e.value), e.Revision, nil
	case len(damaged) == 0:
		return nil, "", store.ErrNotFound
	}
	at := filepath.Join(damaged[0].dir, fileName(key))
	return nil, "", fmt.Errorf("%w; the file is %s", damaged[0].err, at)
}

func (s *Store) get(ctx context.Context, key store.Key) (*entry, error) {
	kept := s.keptEntry(key)
	e, damaged, err := s.newest(key)
	if err != nil {
		return nil, err
	}
	if len(damaged) == 0 && kept == nil {
		if e == nil {
			return nil, store.ErrNotFound
		}
		return e, nil
	}
	lock, err := s.lockEntry(ctx, key)
	if err != nil {
		if kept != nil && ctx.Err() == nil {
			return kept, nil
		}
		return nil, err
	}
	defer lock.unlock()
	e, err = s.current(key, lock)
	if err != nil {
		return nil, err
	}
	if e == nil {
		return nil, store.ErrNotFound
	}
	if kept = s.keptEntry(key); kept != nil {
		s.writeOut(kept, lock)
	}
	return e, nil
}

// writeOut tries again to write what is in this process only.
func (s *Store) writeOut(e *entry, lock *held) {
	w, err := newWrite(e, lock)
	if err != nil {
		return
	}
	w.quiet = true
	if s.save(w) == nil && s.keptEntry(e.Key) == nil {
		s.options.Warn(fmt.Sprintf("The login at %s could be saved now.", e.Key))
	}
}

// damagedCopy is the folder of a damaged file, and what is wrong with it.
type damagedCopy struct {
	dir string
	err error
}

// newest returns the entry of the highest generation among the copies of key, nil if there is
// none, and the copies that are damaged.
//
// An entry moves from the process to the spare folder to Dir. The copies are read in that order,
// so that none is missed while it moves; of two that claim the same generation, the one that more
// processes can see counts.
func (s *Store) newest(key store.Key) (newest *entry, damaged []damagedCopy, err error) {
	newest = s.keptEntry(key)
	for _, dir := range slices.Backward(s.dirs()) {
		e, err := readEntry(dir, fileName(key), key)
		switch {
		case errors.Is(err, store.ErrCorrupt):
			damaged = append(damaged, damagedCopy{dir, err})
		case notThere(err):
		case errors.Is(err, store.ErrUnusable):
			return nil, nil, err
		case err != nil:
			return nil, nil, unusable("cannot read the credential: %w", err)
		case newest == nil || e.Generation >= newest.Generation:
			newest = e
			s.forget(key, e.Generation)
		}
	}
	return newest, damaged, nil
}

// readEntry reads the entry of key from the file called name.
func readEntry(dir, name string, key store.Key) (*entry, error) {
	var data []byte
	err := inFolder(dir, false, func(root *os.Root) (err error) {
		data, err = readFile(root, name, checkPrivate)
		return err
	})
	if err == errTooLarge {
		return nil, fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	if err != nil {
		return nil, err
	}
	return decode(data, key)
}
