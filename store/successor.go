package store

import "time"

// Successor is what every Put does before it writes: it decides whether r may
// replace stored, which is nil if there is nothing under the key, and returns
// the record to be stored, with the Generation, Version and UpdatedAt it gets.
// It fails with ErrConflict or ErrNewer. It changes neither of its arguments:
// Put gives r its new values, with Stored, once they are stored.
//
// The first generation of a record comes from the clock, so that one that was
// deleted and made anew is not taken for the old one by somebody who read that.
func Successor(stored, r *Record) (*Record, error) {
	var generation uint64
	if stored != nil {
		generation = stored.Generation
	}
	if r.Generation != generation {
		return nil, ErrConflict
	}
	if r.Version > SchemaVersion || stored != nil && stored.Version > SchemaVersion {
		return nil, ErrNewer
	}
	now := time.Now().UTC().Round(0) // no monotonic reading: it would not come back
	next := r.Clone()
	next.Version = SchemaVersion
	next.UpdatedAt = now
	if next.Generation++; stored == nil {
		next.Generation = uint64(now.UnixMicro())
	}
	return next, nil
}

// Stored tells r that it was stored as next.
func (r *Record) Stored(next *Record) {
	r.Generation, r.Version, r.UpdatedAt = next.Generation, next.Version, next.UpdatedAt
}
