// Package locks has mutual exclusion by name between the goroutines of a
// process.
package locks

import (
	"context"
	"sync"
)

// Set is a set of locks, one for each value of K. The zero Set is ready. It may
// be used by any number of goroutines.
type Set[K comparable] struct {
	// Holders is how many may hold the same lock at once. Zero is one.
	Holders int

	mu   sync.Mutex
	held map[K]*lock // guarded by mu; only what a user holds or waits for
}

type lock struct {
	token chan struct{} // full while no other may hold it
	users int           // guarded by Set.mu; holders and waiters
}

// Lock waits until the caller holds the lock of name, or until ctx ends.
// The unlock it returns may be called more than once.
func (s *Set[K]) Lock(ctx context.Context, name K) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	l := s.held[name]
	if l == nil {
		if s.held == nil {
			s.held = make(map[K]*lock)
		}
		l = &lock{token: make(chan struct{}, max(s.Holders, 1))}
		s.held[name] = l
	}
	l.users++
	s.mu.Unlock()

	select {
	case l.token <- struct{}{}:
		return sync.OnceFunc(func() {
			<-l.token
			s.leave(name, l)
		}), nil
	case <-ctx.Done():
		s.leave(name, l)
		return nil, ctx.Err()
	}
}

func (s *Set[K]) leave(name K, l *lock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(s.held, name)
	}
}
