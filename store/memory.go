package store

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/handstamp/handstamp/store/internal/locks"
)

// Memory is a Store in the memory of the process: nothing survives it, and its
// locks hold between goroutines only. The zero Memory is empty and ready. It
// must not be copied after first use.
type Memory struct {
	locks locks.Set[memoryLock]

	mu     sync.Mutex
	values map[Key]*memoryValue // guarded by mu; pointers, which fmt does not follow
	puts   uint64               // guarded by mu; counts the Puts of all keys
}

var _ Store = (*Memory)(nil)

type memoryValue struct {
	data     []byte
	revision Revision
}

type memoryLock struct {
	key  Key
	name LockName
}

// Get implements [Store]. It does not wait, so ctx has no part in it.
func (m *Memory) Get(_ context.Context, key Key) ([]byte, Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.values[key]
	if v == nil {
		return nil, "", ErrNotFound
	}
	return bytes.Clone(v.data), v.revision, nil
}

// Put implements [Store]. It does not wait, so ctx has no part in it.
func (m *Memory) Put(_ context.Context, key Key, value []byte, revision Revision) (Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.revision(key) != revision {
		return "", ErrConflict
	}
	if m.values == nil {
		m.values = make(map[Key]*memoryValue)
	}
	m.puts++
	m.values[key] = &memoryValue{bytes.Clone(value), Revision(strconv.FormatUint(m.puts, 10))}
	return m.revision(key), nil
}

// Delete implements [Store]. It does not wait, so ctx has no part in it.
func (m *Memory) Delete(_ context.Context, key Key, revision Revision) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if current := m.revision(key); current != "" && current != revision {
		return ErrConflict
	}
	delete(m.values, key)
	return nil
}

// revision returns the revision of what is stored under key. m.mu is held.
func (m *Memory) revision(key Key) Revision {
	if v := m.values[key]; v != nil {
		return v.revision
	}
	return ""
}

// List implements [Store]. It does not wait, so ctx has no part in it.
func (m *Memory) List(context.Context) ([]Key, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Keys(m.values), Key.Compare), nil
}

// Lock implements [Store].
func (m *Memory) Lock(ctx context.Context, key Key, name LockName) (unlock func(), err error) {
	return m.locks.Lock(ctx, memoryLock{key, name})
}
