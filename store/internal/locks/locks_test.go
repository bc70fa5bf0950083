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
