package pgstore_test

import (
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/store/pgstore"
)

// A lock whose holder was killed after a write is free when it has shown no sign of life for a
// while, also for callers of whom none waits that long.
func TestLockOfAKilledHolderAndImpatientCallers(t *testing.T) {
	server := servicetest.StartPostgres(t)
	db, _ := open(t, server, pgstore.Options{})
	s := storeOf(t, db, ownerOf(0))
	mustPut(t, s, lockedKey, nil)
	holder := startHolder(t, writes+server.URL())
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for killed := time.Now(); lockWithin(t, s, time.Second) != nil; {
		if time.Since(killed) > testenv.Timeout {
			t.Fatal("the lock is not free")
		}
	}
}

// A holder that extends its lease keeps others away however often they look, also when the
// connection of its lock was cut.
func TestLockOfALivingHolderAndImpatientCallers(t *testing.T) {
	server := servicetest.StartPostgres(t)
	first, pool := open(t, server, pgstore.Options{})
	second, _ := open(t, server, pgstore.Options{})
	s, other := storeOf(t, first, ownerOf(0)), storeOf(t, second, ownerOf(0))
	revision := mustPut(t, s, lockedKey, nil)
	unlock := mustLock(t, s)
	if _, err := s.Put(t.Context(), lockedKey, []byte("begun"), revision); err != nil {
		t.Fatal(err)
	}
	cutLocks(t, pool)
	for began := time.Now(); time.Since(began) < long(2*time.Second, 10*time.Second); {
		if err := lockWithin(t, other, time.Second); err == nil {
			t.Fatal("the lock of a living holder was taken")
		}
	}
	unlock()
	if err := lockWithin(t, other, 3*time.Second); err != nil {
		t.Errorf("after the holder: %v", err)
	}
}
