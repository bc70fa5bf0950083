//go:build unix

package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/store"
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
	wantFree(t, pool, other)
}

// wantFree checks that nothing is left of a lock, and that another replica can take it.
func wantFree(t *testing.T, pool *pgxpool.Pool, other store.Store) {
	t.Helper()
	var leases int // one that is left would be waited for
	err := pool.QueryRow(t.Context(), "SELECT count(*) FROM handstamp_lease").Scan(&leases)
	if err != nil || leases != 0 {
		t.Errorf("%d leases are left (%v)", leases, err)
	}
	if err := lockWithin(t, other, testenv.Timeout); err != nil {
		t.Errorf("after the holder: %v", err)
	}
}

// Nor is it taken when the database was down meanwhile, so that the holder could not extend its lease.
func TestLockOfALivingHolderAfterAnOutage(t *testing.T) {
	if !testenv.Long() {
		t.Skip("takes ten seconds")
	}
	server := servicetest.StartPostgres(t)
	first, pool := open(t, server, pgstore.Options{})
	second, _ := open(t, server, pgstore.Options{})
	s, other := storeOf(t, first, ownerOf(0)), storeOf(t, second, ownerOf(0))
	revision := mustPut(t, s, lockedKey, nil)
	unlock := mustLock(t, s)
	if _, err := s.Put(t.Context(), lockedKey, []byte("begun"), revision); err != nil {
		t.Fatal(err)
	}
	extended := func() (at time.Time) {
		err := pool.QueryRow(t.Context(), "SELECT expires_at FROM handstamp_lease").Scan(&at)
		if err != nil {
			t.Fatalf("the lease of a living holder: %v", err) // no row: it was taken
		}
		return at
	}
	cutLocks(t, pool)
	taken, stop := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(taken)
		for {
			select {
			case <-stop:
				return
			default:
				if lockWithin(t, other, time.Second) == nil {
					taken <- errors.New("the lock of a living holder was taken")
					return
				}
			}
		}
	}()
	last := extended()
	for first := last; !last.After(first); {
		last = extended()
	}
	time.Sleep(time.Second / 2) // in which the other one finds the lease as it is now
	server.Kill()
	time.Sleep(7 * time.Second) // is longer than a holder is waited for
	server.Start()
	for began := time.Now(); !extended().After(last.Add(2 * time.Second)); {
		if time.Since(began) > testenv.Timeout {
			t.Fatal("the lease is not extended any more")
		}
	}
	close(stop)
	if err := <-taken; err != nil {
		t.Error(err)
	}
	unlock()
	if err := lockWithin(t, other, testenv.Timeout); err != nil {
		t.Errorf("after the holder: %v", err)
	}
}

// Refreshes at a server that hangs, of whomever they are, leave connections to those at others.
func TestRefreshesAtOneServerLeaveSomeToOthers(t *testing.T) {
	db, _ := open(t, servicetest.StartPostgres(t), pgstore.Options{Refreshes: 4})
	lock := func(user int, server string, d time.Duration) (unlock func(), err error) {
		key := store.Key{Server: server, Profile: store.DefaultProfile}
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		return storeOf(t, db, ownerOf(user)).Lock(ctx, key, store.LockRefresh)
	}
	var held []func()
	for i := range 4 {
		unlock, err := lock(i, fmt.Sprint("https://hangs.example/", i), testenv.Timeout)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, unlock)
	}
	if _, err := lock(4, "https://hangs.example/4", 100*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one more at the server that hangs: %v", err)
	}
	unlock, err := lock(4, "https://other.example/mcp", testenv.Timeout)
	if err != nil {
		t.Fatalf("at another server: %v", err)
	}
	unlock()
	for _, unlock := range held {
		unlock()
	}
	if unlock, err = lock(4, "https://hangs.example/4", testenv.Timeout); err != nil {
		t.Fatalf("after the others: %v", err)
	}
	unlock()
}

// In whatever mode the pool sends statements, a lock keeps others away, and leaves no lease.
func TestLockInEveryMode(t *testing.T) {
	server := servicetest.StartPostgres(t)
	for i, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			c := config(t, server.URL())
			c.ConnConfig.DefaultQueryExecMode = mode
			first, pool := openConfig(t, c, pgstore.Options{})
			second, _ := openConfig(t, c, pgstore.Options{})
			s, other := storeOf(t, first, ownerOf(i)), storeOf(t, second, ownerOf(i))
			revision := mustPut(t, s, lockedKey, nil)
			locked := func(what string) {
				if err := lockWithin(t, other, 100*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the other replica, %s: %v", what, err)
				}
			}
			unlock := mustLock(t, s)
			locked("by the lock alone")
			if _, err := s.Put(t.Context(), lockedKey, []byte("begun"), revision); err != nil {
				t.Fatal(err)
			}
			locked("with a lease")
			unlock()
			wantFree(t, pool, other)
		})
	}
}

// The connections of locks are few, and the server may be far away.
func TestLockTakesTwoRoundTrips(t *testing.T) {
	c := config(t, servicetest.StartPostgres(t).URL())
	var sent atomic.Int64
	dial := c.ConnConfig.DialFunc
	c.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return countingConn{conn, &sent}, err
	}
	db, _ := openConfig(t, c, pgstore.Options{})
	s := storeOf(t, db, ownerOf(0))
	mustLock(t, s)() // which connects
	before := sent.Load()
	mustLock(t, s)()
	if n := sent.Load() - before; n != 2 {
		t.Errorf("a lock and its end took %d round trips, want 2", n)
	}
}

// countingConn counts what is sent to a server: pgx sends once for each time that it waits.
type countingConn struct {
	net.Conn
	sent *atomic.Int64
}

func (c countingConn) Write(p []byte) (int, error) {
	c.sent.Add(1)
	return c.Conn.Write(p)
}
