package pgstore_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

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
	err := pool.QueryRow(t.Context(),
		"SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'").Scan(&listening)
	if err != nil || listening != 1 {
		t.Errorf("%d connections listen, %v", listening, err)
	}
}

// PgBouncer is restarted while a refresh waits for the authorization server, which ends its lock.
func TestPgBouncerRestartDuringARefresh(t *testing.T) {
	_, bouncer := behindPgBouncer(t, 20)
	o := newOutage(t, bouncer.URL())
	gate, results := o.hold(t, "token:refresh:committed")
	bouncer.Kill()
	bouncer.Start()
	waiting := o.start(o.second)
	ctx, cancel := context.WithTimeout(t.Context(), long(2*time.Second, 15*time.Second))
	defer cancel()
	if r, err := gate.Wait(ctx); err == nil {
		t.Errorf("another replica sent the refresh token: %v", r)
	}
	gate.Release()
	o.wantSame(t, <-results, <-waiting)
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
