//go:build unix

package pgstore

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp/internal/checksum"
	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/store"
)

// A put that has found the lock of a refresh, and comes to it when that was just released, leaves no
// lease behind that is extended for as long as the process lives.
func TestPutMeetsTheReleaseOfTheLock(t *testing.T) {
	ctx := t.Context()
	pool, err := pgxpool.New(ctx, servicetest.StartPostgres(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	db, err := New(ctx, pool, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.CreateSchema(ctx); err != nil {
		t.Fatal(err)
	}
	s, err := db.Store(store.Owner{Tenant: "acme", User: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	key, err := store.NewKey("https://mcp.example.com/mcp", "")
	if err != nil {
		t.Fatal(err)
	}
	revision, err := s.Put(ctx, key, []byte("one"), "")
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := s.Lock(ctx, key, store.LockRefresh)
	if err != nil {
		t.Fatal(err)
	}
	id := s.(*ownedStore).id(key)
	lock := db.holds(id)
	unlock()
	w := &put{id: id, value: []byte("two"), from: string(revision), to: "next"}
	if err := lock.put(ctx, w, checksum.Add(id, w.value)); err != nil {
		t.Fatal(err)
	}
	var leases int
	if err := pool.QueryRow(ctx, "SELECT count(*) FROM handstamp_lease").Scan(&leases); err != nil || leases != 0 {
		t.Errorf("%d leases are left (%v)", leases, err)
	}
	if value, _, err := s.Get(ctx, key); err != nil || string(value) != "two" {
		t.Errorf("the value is %q (%v)", value, err)
	}
}
