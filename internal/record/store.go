package record

import (
	"context"
	"errors"
	"time"

	"github.com/handstamp/handstamp/store"
)

// ErrNewer reports that a record was written by a version of Handstamp with a newer schema. It
// may be readable, but must not be replaced.
var ErrNewer = errors.New("credential was written by a newer version")

// Get reads the record of key from a store. It fails with [ErrNewer] and with the errors of
// [store.Store]. With [store.ErrNotFound] and [store.ErrCorrupt], which also reports a value that
// is no record of key, it returns an empty record, for Put to replace what is there.
func Get(ctx context.Context, s store.Store, key store.Key) (*Record, error) {
	return read(ctx, s.Get, key)
}

// Peek is [Get] that leaves a damaged value as it is, where the store is a [store.Peeker].
func Peek(ctx context.Context, s store.Store, key store.Key) (*Record, error) {
	if p, ok := s.(store.Peeker); ok {
		return read(ctx, p.Peek, key)
	}
	return read(ctx, s.Get, key)
}

type getValue func(ctx context.Context, key store.Key) ([]byte, store.Revision, error)

func read(ctx context.Context, get getValue, key store.Key) (*Record, error) {
	value, revision, err := get(ctx, key)
	if err == nil {
		return Of(key, value, revision)
	}
	return opened(key, nil, revision, err)
}

// Of is [Get] of a value that was read.
func Of(key store.Key, value []byte, revision store.Revision) (*Record, error) {
	r, err := Decode(value)
	if err == nil && r.Key != key {
		// A value that was copied to another key would send one server's tokens to another.
		err = r.unreadable(errors.New("it is of another server or profile"))
	}
	return opened(key, r, revision, err)
}

// opened returns the record of key that was read, or an empty one if there is none.
func opened(key store.Key, r *Record, revision store.Revision, err error) (*Record, error) {
	switch {
	case err == nil:
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrCorrupt):
		r = &Record{Version: SchemaVersion, Key: key}
	default:
		return nil, err
	}
	r.Revision = revision
	return r, err
}

// Put writes r to a store, in place of the revision that r was read with, and sets r's Version,
// UpdatedAt and Revision. It fails with [ErrNewer] and with the errors of [store.Store.Put], and
// then leaves r as it is.
func Put(ctx context.Context, s store.Store, r *Record) error {
	return r.put(func(value []byte) (store.Revision, error) { return s.Put(ctx, r.Key, value, r.Revision) })
}

// PutScheduled is [Put] with a schedule, where the store takes one.
func PutScheduled(ctx context.Context, s store.Store, r *Record, schedule store.Schedule) error {
	return r.put(func(value []byte) (store.Revision, error) {
		return store.Put(ctx, s, r.Key, value, r.Revision, schedule)
	})
}

// PutReserved is [Put] into reserved space.
func PutReserved(ctx context.Context, space store.Reservation, r *Record) error {
	return r.put(func(value []byte) (store.Revision, error) { return space.Put(ctx, value, r.Revision) })
}

func (r *Record) put(put func(value []byte) (store.Revision, error)) error {
	if r.Version > SchemaVersion {
		return ErrNewer
	}
	next := *r
	next.Version = SchemaVersion
	next.UpdatedAt = time.Now().UTC().Round(0) // no monotonic reading: it would not come back
	if !next.UpdatedAt.After(r.UpdatedAt) {
		next.UpdatedAt = r.UpdatedAt.Add(1) // the clock was set back
	}
	value, err := Encode(&next)
	if err != nil {
		return err
	}
	if next.Revision, err = put(value); err != nil {
		return err
	}
	*r = next
	return nil
}

// Delete removes r from a store, in the revision that r was read with.
func Delete(ctx context.Context, s store.Store, r *Record) error {
	return s.Delete(ctx, r.Key, r.Revision)
}
