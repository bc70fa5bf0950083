package storetest_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"sync"

	"github.com/handstamp/handstamp/store"
)

// ownStore is a whole store.
type ownStore struct {
	locks  sync.Map // "key name": a channel that is full while the lock is held
	mu     sync.Mutex
	values map[store.Key]ownValue
}

type ownValue struct {
	data     []byte
	revision store.Revision
}

func (s *ownStore) Get(_ context.Context, key store.Key) ([]byte, store.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[key]
	if !ok {
		return nil, "", store.ErrNotFound
	}
	return bytes.Clone(v.data), v.revision, nil
}

func (s *ownStore) Put(_ context.Context, key store.Key, value []byte, revision store.Revision) (store.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values[key].revision != revision {
		return "", store.ErrConflict
	}
	s.values[key] = ownValue{bytes.Clone(value), store.Revision(rand.Text())}
	return s.values[key].revision, nil
}

func (s *ownStore) Delete(_ context.Context, key store.Key, revision store.Revision) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.values[key]; ok && v.revision != revision {
		return store.ErrConflict
	}
	delete(s.values, key)
	return nil
}

func (s *ownStore) List(context.Context) ([]store.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Keys(s.values), store.Key.Compare), nil
}

func (s *ownStore) Lock(ctx context.Context, key store.Key, name store.LockName) (func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	lock, _ := s.locks.LoadOrStore(key.Name()+" "+string(name), make(chan struct{}, 1))
	held := lock.(chan struct{})
	select {
	case held <- struct{}{}:
		return sync.OnceFunc(func() { <-held }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A store of your own is five methods: here they are in memory, with a random revision for each
// value. One test runs the suite with it, as the documentation of the package shows.
func Example() {
	var s store.Store = &ownStore{values: make(map[store.Key]ownValue)}
	_ = s
}
