// Package sealed encrypts the values of another store, so that whoever reads its files, its
// backups or its database finds no token in them.
//
//	key, err := sealed.NewKey(raw) // 32 bytes, from a keyring, a KMS or a file
//	client := &handstamp.Client{Store: sealed.New(inner, key)}
//
// A value is sealed with AES-256-GCM and bound to its [store.Key]: one that was changed, cut, or
// moved to another server or profile fails with [store.ErrCorrupt] and is not used. Keys, and how
// many values there are, stay readable. An old value that is put back in its own place is not
// recognised.
//
// One key seals; any number of further ones open what was sealed before the key was changed. A
// value whose key is not at hand fails with a [*KeyError], which is [store.ErrUnusable]: it is as
// good as before, and nothing overwrites it.
package sealed

import (
	"context"

	"github.com/handstamp/handstamp/store"
)

// New returns a store that keeps its values in inner, sealed with key. Values that one of the
// older keys sealed are read, too; the next Put seals them with key. Revisions, locks and lists are
// those of inner. The store is a [store.Reserver] if inner is one.
func New(inner store.Store, key Key, older ...Key) store.Store {
	s := &sealedStore{inner, append(ring{key}, older...)}
	if reserver, ok := inner.(store.Reserver); ok {
		return &reservingStore{s, reserver}
	}
	return s
}

// sealedStore has the lists and the locks of the store within.
type sealedStore struct {
	store.Store
	keys ring
}

// Get implements [store.Store].
func (s *sealedStore) Get(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	return s.read(ctx, key, s.Store.Get)
}

// Peek implements [store.Peeker], as far as the inner store does.
func (s *sealedStore) Peek(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	if p, ok := s.Store.(store.Peeker); ok {
		return s.read(ctx, key, p.Peek)
	}
	return s.Get(ctx, key)
}

func (s *sealedStore) read(
	ctx context.Context, key store.Key,
	get func(context.Context, store.Key) ([]byte, store.Revision, error),
) ([]byte, store.Revision, error) {
	box, revision, err := get(ctx, key)
	if err != nil {
		return nil, revision, err
	}
	value, err := s.keys.open(key, box)
	if err != nil {
		return nil, revision, err
	}
	return value, revision, nil
}

// Scan implements [store.Scanner], as far as the inner store does.
func (s *sealedStore) Scan(
	ctx context.Context, server string,
	visit func(key store.Key, value []byte, revision store.Revision),
) (rest []store.Key, err error) {
	var sealed []store.Key // whose Get reports why they cannot be opened
	rest, err = store.Scan(ctx, s.Store, server, func(key store.Key, box []byte, revision store.Revision) {
		value, err := s.keys.open(key, box)
		if err != nil {
			sealed = append(sealed, key)
			return
		}
		visit(key, value, revision)
	})
	return append(rest, sealed...), err
}

// Put implements [store.Store].
func (s *sealedStore) Put(
	ctx context.Context, key store.Key, value []byte, revision store.Revision,
) (store.Revision, error) {
	return s.Store.Put(ctx, key, s.keys.seal(key, value), revision)
}

// PutScheduled implements [store.SchedulePutter], as far as the inner store does.
func (s *sealedStore) PutScheduled(
	ctx context.Context, key store.Key, value []byte, revision store.Revision,
	schedule store.Schedule,
) (store.Revision, error) {
	return store.Put(ctx, s.Store, key, s.keys.seal(key, value), revision, schedule)
}

var (
	_ store.Peeker         = (*sealedStore)(nil)
	_ store.Scanner        = (*sealedStore)(nil)
	_ store.SchedulePutter = (*sealedStore)(nil)
)

// reservingStore is a sealedStore around a store that reserves.
type reservingStore struct {
	*sealedStore
	reserver store.Reserver
}

// Reserve implements [store.Reserver].
func (s *reservingStore) Reserve(
	ctx context.Context, key store.Key, size int,
) (store.Reservation, error) {
	space, err := s.reserver.Reserve(ctx, key, size+overhead)
	if err != nil {
		return nil, err
	}
	return &reservation{space, key, s.keys}, nil
}

type reservation struct {
	store.Reservation
	key  store.Key
	keys ring
}

// Put implements [store.Reservation].
func (r *reservation) Put(
	ctx context.Context, value []byte, revision store.Revision,
) (store.Revision, error) {
	return r.Reservation.Put(ctx, r.keys.seal(r.key, value), revision)
}
