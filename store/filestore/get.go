package filestore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/handstamp/handstamp/internal/envelope"
	"github.com/handstamp/handstamp/store"
)

// Get implements store.Store. A damaged record is set aside, and the one before
// it takes its place, with a notice; store.ErrCorrupt is returned if there is
// none. It waits, until ctx ends, only for that.
func (s *Store) Get(ctx context.Context, key store.Key) (*store.Record, error) {
	kept := s.keptRecord(key)
	r, damaged, err := s.newest(key)
	if err != nil {
		return nil, err
	}
	if len(damaged) == 0 && kept == nil {
		if r == nil {
			return nil, store.ErrNotFound
		}
		return r, nil
	}
	lock, err := s.lockRecord(ctx, key)
	if err != nil {
		if kept != nil && ctx.Err() == nil {
			return kept, nil
		}
		return nil, err
	}
	defer lock.unlock()
	r, err = s.current(key, lock)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, store.ErrNotFound
	}
	if kept = s.keptRecord(key); kept != nil {
		s.writeOut(kept, lock)
	}
	return r, nil
}

// writeOut tries again to write what is in this process only.
func (s *Store) writeOut(r *store.Record, lock *held) {
	w, err := newWrite(r, lock)
	if err != nil {
		return
	}
	w.quiet = true
	if s.save(w) == nil && s.keptRecord(r.Key) == nil {
		s.options.Warn(fmt.Sprintf("The login at %s could be saved now.", r.Key))
	}
}

// damagedCopy is a file that is no record, and why.
type damagedCopy struct {
	dir string
	err error
}

// newest returns the record of the highest generation among the copies of key,
// nil if there is none, and the copies that are damaged.
//
// A record moves from the process to the spare folder to Dir. The copies are
// read in that order, so that none is missed while it moves; of two that claim
// the same generation, the one that more processes can see counts.
func (s *Store) newest(key store.Key) (newest *store.Record, damaged []damagedCopy, err error) {
	newest = s.keptRecord(key)
	for _, dir := range slices.Backward(s.dirs()) {
		r, err := readRecord(dir, fileName(key), key)
		switch {
		case errors.Is(err, store.ErrCorrupt):
			damaged = append(damaged, damagedCopy{dir, err})
		case notThere(err):
		case errors.Is(err, store.ErrUnusable) || errors.Is(err, store.ErrNewer):
			return nil, nil, err
		case err != nil:
			return nil, nil, unusable("cannot read the credential: %w", err)
		case newest == nil || r.Generation >= newest.Generation:
			newest = r
			s.forget(key, r.Generation)
		}
	}
	return newest, damaged, nil
}

// readRecord reads the record of key from the file called name.
func readRecord(dir, name string, key store.Key) (*store.Record, error) {
	root, err := openFolder(dir, false)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	data, err := readFile(root, name)
	if err == errTooLarge {
		return nil, fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	if err != nil {
		return nil, err
	}
	r, err := decode(data)
	if err != nil {
		return nil, err
	}
	if r.Key != key {
		// A file that was copied onto another's name would send one server's
		// tokens to another.
		return nil, fmt.Errorf("%w: it is the credential of another server or profile", store.ErrCorrupt)
	}
	return r, nil
}

// decode reads what newWrite encoded, if each byte of it is as it was written. A bare record,
// as store.Encode returns it, is read too: files had no checksum once, and one that was edited
// by hand can be given to the store that way.
func decode(data []byte) (*store.Record, error) {
	record, err := envelope.Open(data)
	switch {
	case err == nil:
		return store.Decode(record)
	case errors.Is(err, envelope.ErrNone):
		return store.Decode(data)
	case errors.Is(err, envelope.ErrNewer):
		return nil, fmt.Errorf("%w: %w", store.ErrNewer, err)
	}
	return nil, fmt.Errorf("%w: %w", store.ErrCorrupt, err)
}
