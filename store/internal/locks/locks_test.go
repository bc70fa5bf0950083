package locks

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

func TestLockExcludesAndOrdersMemory(t *testing.T) {
	const workers, each = 50, 20
	var s Set[string]
	count := 0 // guarded by the lock, which the race detector checks
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				unlock, err := s.Lock(t.Context(), "a")
				if err != nil {
					t.Error(err)
					return
				}
				count++
				unlock()
			}
		})
	}
	wg.Wait()
	if count != workers*each {
		t.Errorf("counted %d of %d", count, workers*each)
	}
	if len(s.held) != 0 {
		t.Errorf("%d locks are left", len(s.held))
	}
}

func TestLockWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Set[string]
		unlock, err := s.Lock(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		other, err := s.Lock(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		other()

		ctx, cancel := context.WithCancel(t.Context())
		var left, got error
		had := false
		go func() { _, left = s.Lock(ctx, "a") }()
		go func() {
			var unlock func()
			unlock, got = s.Lock(t.Context(), "a")
			had = true
			unlock()
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		if !errors.Is(left, context.Canceled) {
			t.Errorf("Lock of who left = %v", left)
		}
		if had {
			t.Error("the lock was had by two at once")
		}
		unlock()
		unlock()
		synctest.Wait()
		if !had || got != nil {
			t.Errorf("Lock of who waited: %t, %v", had, got)
		}
		if len(s.held) != 0 {
			t.Errorf("%d locks are left", len(s.held))
		}
	})
}

func TestLockWithEndedContext(t *testing.T) {
	var s Set[string]
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Lock(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("Lock = %v", err)
	}
	if len(s.held) != 0 {
		t.Errorf("%d locks are left", len(s.held))
	}
}

// A lock that several may hold is had by as many, and the next one has to wait.
func TestLockOfSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Set[string]{Holders: 2}
		var held []func()
		for range 2 {
			unlock, err := s.Lock(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, unlock)
		}
		had := false
		go func() {
			unlock, err := s.Lock(t.Context(), "a")
			if had = err == nil; had {
				unlock()
			}
		}()
		synctest.Wait()
		if had {
			t.Error("a third holds the lock")
		}
		for _, unlock := range held {
			unlock()
		}
		synctest.Wait()
		if !had || len(s.held) != 0 {
			t.Errorf("the third holds it: %t; %d locks are left", had, len(s.held))
		}
	})
}
