package filestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/handstamp/handstamp/internal/atomicfile"
	"github.com/handstamp/handstamp/store"
)

// Reserve implements store.Reserver: it allocates size bytes on the disk, in Dir
// or else in SpareDir. If neither has them it succeeds only with
// Options.Volatile, with a notice. It waits until no other process writes the record, so that
// one which hangs is noticed before anything is done that needs to be stored.
func (s *Store) Reserve(ctx context.Context, key store.Key, size int) (store.Reservation, error) {
	lock, err := s.lockEntry(ctx, key)
	if err != nil {
		return nil, err
	}
	lock.unlock()
	s.sweep()
	var first error
	for _, dir := range s.dirs() {
		r, err := s.reserveIn(dir, key, fileSize(key, size))
		if err == nil {
			return r, nil
		}
		if errors.Is(err, store.ErrUnusable) {
			return nil, err
		}
		first = errors.Join(first, err)
	}
	if s.options.Volatile {
		s.warnOnce(fmt.Sprintf("There is no space to save the login at %s (%v): it will be kept in this process only.", key, first))
		return &reservation{store: s, key: key}, nil
	}
	return nil, unusable("no space to save the credential: %w", first)
}

func (s *Store) reserveIn(dir string, key store.Key, size int64) (*reservation, error) {
	root, err := openFolder(dir, true)
	if err != nil {
		return nil, err
	}
	temp, err := atomicfile.Create(root, fileName(key), s.options.Trace)
	if err != nil {
		root.Close()
		return nil, err
	}
	if err := temp.Reserve(size); err != nil {
		temp.Discard()
		root.Close()
		return nil, err
	}
	return &reservation{store: s, key: key, dir: dir, root: root, temp: temp}, nil
}

// reservation is a temporary file that has its blocks already.
type reservation struct {
	store *Store
	key   store.Key
	dir   string

	mu   sync.Mutex
	root *os.Root         // guarded by mu; nil once released
	temp *atomicfile.Temp // guarded by mu; nil once used
}

// Put implements store.Reservation. A second Put is an ordinary one.
func (r *reservation) Put(ctx context.Context, value []byte, revision store.Revision) (store.Revision, error) {
	return r.store.put(ctx, r.key, value, revision, r)
}

// Release implements store.Reservation. It must not be called during Put.
func (r *reservation) Release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.root == nil {
		return
	}
	if r.temp != nil {
		r.temp.Discard()
	}
	r.root.Close()
	r.root, r.temp = nil, nil
}

// take returns the temporary file if it is in dir and unused. r may be nil.
func (r *reservation) take(dir string) *atomicfile.Temp {
	if r == nil || r.dir != dir {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	temp := r.temp
	if temp == nil {
		return nil
	}
	r.temp = nil
	if !samePlace(r.root, dir) {
		temp.Discard() // another folder is there now
		return nil
	}
	return temp
}

func samePlace(root *os.Root, path string) bool {
	opened, err := root.Stat(".")
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(opened, named)
}
