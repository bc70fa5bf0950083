//go:build unix

package pgstore_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/pgstore"
	"github.com/handstamp/handstamp/store/storetest"
)

// behindPgBouncer starts a server and, before it, a PgBouncer in transaction mode.
func behindPgBouncer(t *testing.T, size int) (*servicetest.Postgres, *servicetest.PgBouncer) {
	t.Helper()
	server := servicetest.StartPostgres(t)
	return server, servicetest.StartPgBouncer(t, server, size)
}

func TestStoreBehindPgBouncer(t *testing.T) {
	_, bouncer := behindPgBouncer(t, 20)
	first, _ := openURL(t, bouncer.URL(), pgstore.Options{})
	second, _ := openURL(t, bouncer.URL(), pgstore.Options{})
	var users int
	storetest.Suite{
		Open: func(t *testing.T) store.Store {
			users++
			return storeOf(t, first, store.Owner{User: strconv.Itoa(users)})
		},
		Reopen: func(t *testing.T, _ store.Store) store.Store {
			return storeOf(t, second, store.Owner{User: strconv.Itoa(users)})
		},
	}.Run(t)
}

// The lock of a refresh is a transaction, and so are as many connections of PgBouncer's in use as
// there are refreshes, and no more.
func TestLockBehindPgBouncer(t *testing.T) {
	_, bouncer := behindPgBouncer(t, 3)
	db, _ := openURL(t, bouncer.URL(), pgstore.Options{Refreshes: 2})
	s, other := storeOf(t, db, ownerOf(0)), storeOf(t, db, ownerOf(1))
	holder := startHolder(t, bouncer.URL())
	if err := holder.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var waiters sync.WaitGroup
	for range 20 {
		waiters.Go(func() {
			if _, err := s.Lock(ctx, lockedKey, store.LockRefresh); !errors.Is(err, context.Canceled) {
				t.Errorf("beside a suspended holder: %v", err)
			}
		})
	}
	for range 20 {
		if err := lockWithin(t, other, testenv.Timeout); err != nil {
			t.Errorf("the lock of another credential: %v", err)
		}
	}
	cancel()
	waiters.Wait()
	if err := lockWithin(t, s, time.Second); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside a suspended holder: %v", err)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := lockWithin(t, s, testenv.Timeout); err != nil {
		t.Errorf("after the holder was killed: %v", err)
	}
}

// What is written through PgBouncer is announced, to those that listen at the server itself, and
// without a connection to it nothing listens.
func TestWatchBehindPgBouncer(t *testing.T) {
	server, bouncer := behindPgBouncer(t, 5)
	here, _ := openURL(t, bouncer.URL(), listening(t, server))
	there, pool := openURL(t, bouncer.URL(), pgstore.Options{})
	changes, polled := watch(t, here), watch(t, there)
	for _, c := range []<-chan store.Change{changes, polled} {
		if c := next(t, c); c != (store.Change{}) {
			t.Errorf("at the beginning %v", c)
		}
	}
	mustPut(t, storeOf(t, there, ownerOf(1)), lockedKey, nil)
	if c := next(t, changes); c.Owner != ownerOf(1).ID() {
		t.Errorf("after a write %v", c)
	}
	var listening int
	err := pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'",
		pgx.QueryExecModeSimpleProtocol).Scan(&listening) // a prepared statement may be left on another connection
	if err != nil || listening != 1 {
		t.Errorf("%d connections listen, %v", listening, err)
	}
}

// PgBouncer is restarted while a refresh waits for the authorization server, which ends its lock.
func TestPgBouncerRestartDuringARefresh(t *testing.T) {
	_, bouncer := behindPgBouncer(t, 20)
	o := newOutage(t, bouncer.URL())
	gate, results := o.Hold("token:refresh:committed")
	bouncer.Kill()
	bouncer.Start()
	waiting := o.Start(o.Second)
	ctx, cancel := context.WithTimeout(t.Context(), long(2*time.Second, 15*time.Second))
	defer cancel()
	if r, err := gate.Wait(ctx); err == nil {
		t.Errorf("another replica sent the refresh token: %v", r)
	}
	gate.Release()
	o.WantSame(<-results, <-waiting)
}

// PgBouncer takes LISTEN and passes no notification on: there everything is taken for changed now and
// then, as where nothing listens.
func TestWatchThroughPgBouncer(t *testing.T) {
	_, bouncer := behindPgBouncer(t, 5)
	db, _ := openURL(t, bouncer.URL(), pgstore.Options{
		Listen: config(t, bouncer.URL()).ConnConfig, Poll: 10 * time.Millisecond,
	})
	changes := watch(t, db)
	for range 3 {
		if c := next(t, changes); c != (store.Change{}) {
			t.Errorf("%v", c)
		}
	}
}

// A statement that a pooler has kept from its connection is carried out once, and what comes of it is
// known: two that replace the same value are one write and one conflict. Refreshes ahead work, too.
func TestWritesBehindPgBouncer(t *testing.T) {
	_, bouncer := behindPgBouncer(t, 2)
	var dbs []*pgstore.Database
	for range 2 {
		db, pool := openURL(t, bouncer.URL()+" pool_max_conns=4", pgstore.Options{})
		dbs = append(dbs, db)
		for range 2 { // what the application prepares there comes to lie beside it
			if _, err := pool.Exec(t.Context(), "SELECT $1::int", 1); err != nil && !strings.Contains(err.Error(), "prepared statement") {
				t.Error(err)
			}
		}
	}
	due := store.Schedule{Due: time.Now().Add(-time.Minute), Group: "group"}
	var writers sync.WaitGroup
	for user := range 10 {
		first := mustPut(t, storeOf(t, dbs[0], ownerOf(user)), lockedKey, nil)
		var written, conflicts atomic.Int32
		for _, db := range dbs {
			s := storeOf(t, db, ownerOf(user))
			writers.Go(func() {
				_, err := store.Put(t.Context(), s, lockedKey, []byte("value"), first, due)
				switch {
				case err == nil:
					written.Add(1)
				case errors.Is(err, store.ErrConflict):
					conflicts.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		writers.Wait()
		if written.Load() != 1 || conflicts.Load() != 1 {
			t.Errorf("%d writes and %d conflicts", written.Load(), conflicts.Load())
		}
	}
	o := store.ClaimOptions{Max: 20, PerGroup: 20, For: time.Minute, UsedWithin: time.Hour}
	claims, err := dbs[1].Claim(t.Context(), o)
	if err != nil || len(claims) != 10 {
		t.Errorf("%d claims, %v", len(claims), err)
	}
	if err := dbs[0].Release(t.Context(), claims, time.Now()); err != nil {
		t.Error(err)
	}
	if err := dbs[0].NoteUse(t.Context(), []store.Owner{ownerOf(0)}); err != nil {
		t.Error(err)
	}
	for range 2 {
		unlock, err := storeOf(t, dbs[1], ownerOf(0)).Lock(t.Context(), lockedKey, store.LockLogin)
		if err != nil {
			t.Fatal(err)
		}
		unlock() // or the next one would wait for a minute
	}
}
