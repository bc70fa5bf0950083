package storetest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/handstamp/handstamp/store"
)

var errOverlap = errors.New("two held the lock at once")

func mustLock(t *testing.T, s store.Store, key store.Key, name store.LockName) (unlock func()) {
	t.Helper()
	unlock, err := s.Lock(soon(t), key, name)
	if err != nil {
		t.Fatalf("Lock: %v", err)
	}
	return unlock
}

// wantHeld proves that the lock cannot be had now.
func wantHeld(t *testing.T, s store.Store, key store.Key, name store.LockName) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), impatience)
	defer cancel()
	unlock, err := s.Lock(ctx, key, name)
	if err == nil {
		unlock()
		t.Fatal("the lock was had by two at once")
	}
	wantError(t, "Lock", err, context.DeadlineExceeded)
}

// lockNames are all names: a store may have a lock of another kind for each.
var lockNames = []store.LockName{
	store.LockRefresh, store.LockLogin, store.LockRefreshHelper, store.LockLoginHelper,
}

func testLockExcludes(t *testing.T, suite Suite) {
	handles := suite.handles(t)
	key := keyOf(t, "https://a.example", "")
	for _, holder := range handles {
		for _, name := range lockNames {
			unlock := mustLock(t, holder, key, name)
			for _, s := range handles {
				wantHeld(t, s, key, name)
			}
			unlock()
			for _, s := range handles {
				mustLock(t, s, key, name)()
			}
		}
	}
}

// The context bounds the wait for a lock, not how long it is held: a lock that is a transaction
// must not be begun with it.
func testLockOutlivesContext(t *testing.T, suite Suite) {
	handles := suite.handles(t)
	key := keyOf(t, "https://a.example", "")
	for _, holder := range handles {
		ctx, cancel := context.WithCancel(t.Context())
		unlock, err := holder.Lock(ctx, key, store.LockRefresh)
		if err != nil {
			cancel()
			t.Fatalf("Lock: %v", err)
		}
		cancel()
		for _, s := range handles {
			wantHeld(t, s, key, store.LockRefresh)
		}
		unlock()
		mustLock(t, holder, key, store.LockRefresh)()
	}
}

func testLocksIndependent(t *testing.T, suite Suite) {
	handles := suite.handles(t)
	s := handles[0]
	a, b := keyOf(t, "https://a.example", ""), keyOf(t, "https://a.example", "work")
	for _, key := range []store.Key{a, b, keyOf(t, "https://b.example", "")} {
		for _, name := range lockNames {
			defer mustLock(t, s, key, name)()
		}
	}
	// Nor do they stand in the way of values, whoever holds them.
	for _, s := range handles {
		i := newItem(a)
		mustPut(t, s, i)
		wantStored(t, s, i)
		wantError(t, "Delete", s.Delete(soon(t), a, i.revision), nil)
	}
}

func testLockCancelled(t *testing.T, suite Suite) {
	s := suite.Open(t)
	key := keyOf(t, "https://a.example", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // a select between a free lock and an ended context takes either
		if unlock, err := s.Lock(ctx, key, store.LockRefresh); err == nil {
			unlock()
			t.Fatal("Lock succeeded though its context had ended")
		} else {
			wantError(t, "Lock", err, context.Canceled)
		}
	}

	unlock := mustLock(t, s, key, store.LockRefresh)
	ctx, cancel = context.WithCancel(t.Context())
	result := make(chan error)
	go func() {
		_, err := s.Lock(ctx, key, store.LockRefresh)
		result <- err
	}()
	wantHeld(t, s, key, store.LockRefresh) // meanwhile the other waits too
	cancel()
	wantError(t, "Lock", <-result, context.Canceled)
	unlock()
	mustLock(t, s, key, store.LockRefresh)() // those who left have left nothing
}

func testUnlockTwice(t *testing.T, suite Suite) {
	s := suite.Open(t)
	key := keyOf(t, "https://a.example", "")
	first := mustLock(t, s, key, store.LockRefresh)
	first()
	second := mustLock(t, s, key, store.LockRefresh)
	first() // must not release the second
	wantHeld(t, s, key, store.LockRefresh)
	second()
	second()
	mustLock(t, s, key, store.LockRefresh)()
}

// Under the lock there are no conflicts.
func testLockStorm(t *testing.T, suite Suite) {
	var inside atomic.Int32
	storm(t, suite, 6, func(ctx context.Context, s store.Store, key store.Key) error {
		unlock, err := s.Lock(ctx, key, store.LockRefresh)
		if err != nil {
			return err
		}
		defer unlock()
		if inside.Add(1) != 1 {
			return errOverlap
		}
		defer inside.Add(-1)
		return increment(ctx, s, key)
	})
}
