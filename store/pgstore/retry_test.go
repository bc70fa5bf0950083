//go:build unix

package pgstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/pgstore"
)

// Whatever is done first after a restart of the server, which has broken every connection of the
// pool, is done in another one.
func TestEachOperationAfterARestart(t *testing.T) {
	server := servicetest.StartPostgres(t)
	db, pool := open(t, server, pgstore.Options{})
	_, others := open(t, server, pgstore.Options{})
	s := storeOf(t, db, ownerOf(0))
	revision := mustPut(t, s, lockedKey, []byte("value"))
	lock := func(ctx context.Context, name store.LockName) error {
		unlock, err := s.Lock(ctx, lockedKey, name)
		if err == nil {
			unlock()
		}
		return err
	}
	for _, operation := range []struct {
		name string
		do   func(ctx context.Context) error
	}{
		{"Get", func(ctx context.Context) error { _, _, err := s.Get(ctx, lockedKey); return err }},
		{"List", func(ctx context.Context) error { _, err := s.List(ctx); return err }},
		{"Scan", func(ctx context.Context) error {
			visited := 0
			rest, err := store.Scan(ctx, s, "", func(store.Key, []byte, store.Revision) { visited++ })
			if err == nil && (visited != 1 || len(rest) > 0) {
				t.Errorf("Scan has %d values and leaves %d", visited, len(rest))
			}
			return err
		}},
		{"Put", func(ctx context.Context) (err error) {
			revision, err = s.Put(ctx, lockedKey, []byte("new"), revision)
			return err
		}},
		{"Lock of a login", func(ctx context.Context) error { return lock(ctx, store.LockLogin) }},
		{"Lock of a refresh", func(ctx context.Context) error { return lock(ctx, store.LockRefresh) }},
		{"Delete", func(ctx context.Context) error { return s.Delete(ctx, lockedKey, revision) }},
	} {
		t.Run(operation.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
			defer cancel()
			pool.Reset() // one connection, which was used lately: the pool does not test it
			if err := pool.Ping(ctx); err != nil {
				t.Fatal(err)
			}
			_, err := others.Exec(ctx, "SELECT pg_terminate_backend(pid, 10000) "+
				"FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
			if err != nil {
				t.Fatal(err)
			}
			if err := operation.do(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// The error of a write to a server that is read-only, as a full one is at some providers, has that
// reason, and not that the server does not respond.
func TestReadOnlyServer(t *testing.T) {
	server := servicetest.StartPostgres(t)
	db, _ := open(t, server, pgstore.Options{})
	revision := mustPut(t, storeOf(t, db, ownerOf(0)), lockedKey, []byte("value"))
	c := config(t, server.URL())
	c.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on"
	pool, err := pgxpool.NewWithConfig(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	readOnly, err := pgstore.New(t.Context(), pool, pgstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(readOnly.Close)
	s := storeOf(t, readOnly, ownerOf(0))
	_, err = s.Put(t.Context(), lockedKey, []byte("new"), revision)
	if !errors.Is(err, store.ErrUnusable) || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("Put = %v", err)
	}
	if value, _, err := s.Get(t.Context(), lockedKey); string(value) != "value" || err != nil {
		t.Errorf("Get = %q, %v", value, err)
	}
}

// A connection whose server takes no writes any more, while another one does, as after a failover that
// names resolve to late, is left: by a claim, and by the lease of a lock.
func TestConnectionsToAReadOnlyServerAreLeft(t *testing.T) {
	server := servicetest.StartPostgres(t)
	c := config(t, server.URL())
	c.MaxConns = 1 // which the pool takes again and again
	db, pool := openConfig(t, c, pgstore.Options{})
	_, others := open(t, server, pgstore.Options{})
	s := storeOf(t, db, ownerOf(0))
	exec := func(pool *pgxpool.Pool, query string) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	expiry := func() (at time.Time) {
		t.Helper()
		if err := others.QueryRow(t.Context(), "SELECT max(expires_at) FROM handstamp_lease").Scan(&at); err != nil {
			t.Fatal(err)
		}
		return at
	}
	const readOnly = "SET default_transaction_read_only = on"

	t.Run("claim", func(t *testing.T) {
		exec(pool, readOnly)
		o := store.ClaimOptions{Max: 1, PerGroup: 1, For: time.Minute, UsedWithin: time.Hour}
		if _, err := db.Claim(t.Context(), o); !errors.Is(err, store.ErrUnusable) {
			t.Errorf("Claim = %v", err)
		}
		if _, err := db.Claim(t.Context(), o); err != nil {
			t.Errorf("the next Claim = %v", err)
		}
	})
	t.Run("extension", func(t *testing.T) {
		revision := mustPut(t, s, lockedKey, []byte("value"))
		unlock, err := s.Lock(t.Context(), lockedKey, store.LockRefresh)
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
		if _, err := s.Put(t.Context(), lockedKey, []byte("begun"), revision); err != nil {
			t.Fatal(err)
		}
		exec(pool, readOnly)
		before := expiry()
		proctest.Wait(t, testenv.Timeout, "an extension of the lease", func() bool { return expiry().After(before) })
	})
	t.Run("release", func(t *testing.T) {
		unlock, err := s.Lock(t.Context(), lockedKey, store.LockLogin)
		if err != nil {
			t.Fatal(err)
		}
		exec(pool, readOnly)
		unlock()
		var leases int
		err = others.QueryRow(t.Context(), "SELECT count(*) FROM handstamp_lease").Scan(&leases)
		if err != nil || leases != 0 {
			t.Errorf("%d leases are left, %v", leases, err)
		}
	})
}
