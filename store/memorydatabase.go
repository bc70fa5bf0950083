package store

import "sync"

// MemoryDatabase is a Database in the memory of the process, for tests. The zero MemoryDatabase is
// empty and ready. It must not be copied after first use.
type MemoryDatabase struct {
	mu     sync.Mutex
	stores map[Owner]*Memory // guarded by mu
}

var _ Database = (*MemoryDatabase)(nil)

// Store implements [Database].
func (d *MemoryDatabase) Store(o Owner) (Store, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stores == nil {
		d.stores = make(map[Owner]*Memory)
	}
	if d.stores[o] == nil {
		d.stores[o] = new(Memory)
	}
	return d.stores[o], nil
}
