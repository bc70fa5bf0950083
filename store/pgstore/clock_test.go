//go:build unix

package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/pgstore"
)

// shiftClock has the clock of a server be ahead, for all sessions that begin after it.
func shiftClock(t *testing.T, server *servicetest.Postgres, ahead time.Duration) {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for _, statement := range []string{
		"CREATE SCHEMA IF NOT EXISTS shifted",
		fmt.Sprintf("CREATE OR REPLACE FUNCTION shifted.now() RETURNS timestamptz STABLE LANGUAGE sql AS "+
			"'SELECT pg_catalog.now() + %d * interval ''1 second'''", int(ahead.Seconds())),
		"ALTER DATABASE postgres SET search_path = shifted, pg_catalog, public",
	} {
		if _, err := pool.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

// When something is due is a matter of the replicas' clocks, and what the database has for a clock
// neither starves it nor hands it out early. Its leases are a matter of its own.
func TestDatabaseWithAnotherClock(t *testing.T) {
	server := servicetest.StartPostgres(t)
	for i, ahead := range []time.Duration{
		time.Hour, -time.Hour, 24 * time.Hour, -24 * time.Hour,
	} {
		t.Run(ahead.String(), func(t *testing.T) {
			shiftClock(t, server, ahead)
			db, _ := open(t, server, pgstore.Options{})
			s := storeOf(t, db, ownerOf(i))
			due := func(in time.Duration) store.Schedule {
				return store.Schedule{Due: time.Now().Add(in), Group: "group"}
			}
			o := store.ClaimOptions{Max: 9, PerGroup: 9, For: time.Minute, UsedWithin: time.Minute}
			claim := func(want int) []store.Claim {
				t.Helper()
				claims, err := db.Claim(t.Context(), o)
				if err != nil || len(claims) != want {
					t.Fatalf("%d claims (%v) instead of %d", len(claims), err, want)
				}
				return claims
			}
			release := func(claims []store.Claim, at time.Duration) {
				t.Helper()
				if err := db.Release(t.Context(), claims, time.Now().Add(at)); err != nil {
					t.Fatal(err)
				}
			}
			put := func(r store.Revision, in time.Duration) store.Revision {
				t.Helper()
				r, err := store.Put(t.Context(), s, lockedKey, nil, r, due(in))
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			revision := put("", 10*time.Minute)
			claim(0)
			revision = put(revision, -time.Second)
			claims := claim(1)
			claim(0)
			release(claims, -time.Second)
			release(claim(1), 10*time.Minute)
			claim(0)
			put(revision, -time.Second)
			release(claim(1), 10*time.Minute)

			unlock, err := s.Lock(t.Context(), lockedKey, store.LockLogin)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if _, err := s.Lock(ctx, lockedKey, store.LockLogin); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the lock of a login that is held: %v", err)
			}
			unlock()
			mustLock(t, s)()
		})
	}
}
