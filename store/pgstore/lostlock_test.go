//go:build unix

package pgstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/pgstore"
)

// cutLocks ends the connections of all locks, as a restart does.
func cutLocks(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	tag, err := pool.Exec(t.Context(), "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "+
		"WHERE state = 'idle in transaction'")
	if err != nil || tag.RowsAffected() == 0 {
		t.Fatalf("%d connections were ended, %v", tag.RowsAffected(), err)
	}
}

func mustLock(t *testing.T, s store.Store) (unlock func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
	defer cancel()
	unlock, err := s.Lock(ctx, lockedKey, store.LockRefresh)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(unlock)
	return unlock
}

// A lock that was lost before the first write under it can be taken by another. Then its former
// holder writes nothing, whatever revision it has read, and does not end the other's lock.
func TestLostLockWritesNothing(t *testing.T) {
	server := servicetest.StartPostgres(t)
	first, pool := open(t, server, pgstore.Options{})
	second, _ := open(t, server, pgstore.Options{})
	third, _ := open(t, server, pgstore.Options{})
	former, holder := storeOf(t, first, ownerOf(0)), storeOf(t, second, ownerOf(0))
	before := mustPut(t, former, lockedKey, []byte("before"))
	unlockFormer := mustLock(t, former)
	cutLocks(t, pool)
	unlockHolder := mustLock(t, holder)
	begun, err := holder.Put(t.Context(), lockedKey, []byte("begun"), before)
	if err != nil {
		t.Fatal(err)
	}
	for _, revision := range []store.Revision{before, begun} {
		_, err := former.Put(t.Context(), lockedKey, []byte("twice"), revision)
		if !errors.Is(err, store.ErrUnusable) {
			t.Errorf("a write under a lock that was lost: %v", err)
		}
	}
	unlockFormer()
	err = lockWithin(t, storeOf(t, third, ownerOf(0)), time.Second)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside the holder: %v", err)
	}
	if value, _, err := former.Get(t.Context(), lockedKey); string(value) != "begun" || err != nil {
		t.Errorf("stored is %q, %v", value, err)
	}
	unlockHolder()
	if err := lockWithin(t, former, testenv.Timeout); err != nil {
		t.Errorf("after the holder: %v", err)
	}
}

// A lock whose connection was cut after a write is still that of its holder, who gives it back.
func TestLockOutlastsItsConnection(t *testing.T) {
	server := servicetest.StartPostgres(t)
	first, pool := open(t, server, pgstore.Options{})
	second, _ := open(t, server, pgstore.Options{})
	s, other := storeOf(t, first, ownerOf(0)), storeOf(t, second, ownerOf(0))
	revision := mustPut(t, s, lockedKey, nil)
	unlock := mustLock(t, s)
	revision, err := s.Put(t.Context(), lockedKey, []byte("begun"), revision)
	if err != nil {
		t.Fatal(err)
	}
	cutLocks(t, pool)
	err = lockWithin(t, other, long(time.Second, 15*time.Second))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside the holder: %v", err)
	}
	if _, err := s.Put(t.Context(), lockedKey, []byte("done"), revision); err != nil {
		t.Errorf("a write of the holder: %v", err)
	}
	unlock()
	var leases int
	err = pool.QueryRow(t.Context(), "SELECT count(*) FROM handstamp_lease").Scan(&leases)
	if err != nil || leases != 0 {
		t.Errorf("%d leases are left (%v)", leases, err)
	}
	if err := lockWithin(t, other, testenv.Timeout); err != nil {
		t.Errorf("after the holder: %v", err)
	}
}

// A lock whose holder was killed after a write is free when it has shown no sign of life for a
// while.
func TestLockOfAKilledHolder(t *testing.T) {
	server := servicetest.StartPostgres(t)
	db, _ := open(t, server, pgstore.Options{})
	s := storeOf(t, db, ownerOf(0))
	mustPut(t, s, lockedKey, nil)
	holder := startHolder(t, writes+server.URL())
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := lockWithin(t, s, 3*time.Second); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("soon after the holder was killed: %v", err)
	}
	if err := lockWithin(t, s, testenv.Timeout); err != nil {
		t.Errorf("after the holder was killed: %v", err)
	}
}
