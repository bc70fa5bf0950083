package store

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/handstamp/handstamp/store/internal/locks"
)

// Memory is a Store in the memory of the process: nothing survives it, and its
// locks hold between goroutines only. The zero Memory is empty and ready. It
// must not be copied after first use.
type Memory struct {
	locks locks.Set[memoryLock]

	mu      sync.Mutex
	records map[Key]*Record // guarded by mu
	newest  uint64          // guarded by mu; the highest generation ever given
}

var _ Store = (*Memory)(nil)

type memoryLock struct {
	key  Key
	name LockName
}

// Get implements Store. It does not wait, so ctx has no part in it.
func (m *Memory) Get(_ context.Context, key Key) (*Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.records[key]; r != nil {
		return r.Clone(), nil
	}
	return nil, ErrNotFound
}

// Put implements Store. It does not wait, so ctx has no part in it.
func (m *Memory) Put(_ context.Context, r *Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next, err := Successor(m.records[r.Key], r)
	if err != nil {
		return err
	}
	// The clock may stand still, and does in tests.
	next.Generation = max(next.Generation, m.newest+1)
	m.newest = next.Generation
	if m.records == nil {
		m.records = make(map[Key]*Record)
	}
	m.records[r.Key] = next
	r.Stored(next)
	return nil
}

// Delete implements Store. It does not wait, so ctx has no part in it.
func (m *Memory) Delete(_ context.Context, key Key, generation uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.records[key]
	if r == nil {
		return nil
	}
	if r.Generation != generation {
		return ErrConflict
	}
	delete(m.records, key)
	return nil
}

// List implements Store. It does not wait, so ctx has no part in it.
func (m *Memory) List(context.Context) ([]Key, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Keys(m.records), Key.Compare), nil
}

// Lock implements Store.
func (m *Memory) Lock(ctx context.Context, key Key, name LockName) (unlock func(), err error) {
	return m.locks.Lock(ctx, memoryLock{key, name})
}
