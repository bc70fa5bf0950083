//go:build unix

package pgstore_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/pgstore"
	"github.com/handstamp/handstamp/store/sealed"
)

// What one user of one tenant has, no other store reads, lists, changes or locks.
func TestOwnersAreSeparate(t *testing.T) {
	db, _ := open(t, servicetest.StartPostgres(t), pgstore.Options{})
	key := store.Key{Server: "https://a.example/mcp", Profile: store.DefaultProfile}
	ada := storeOf(t, db, store.Owner{Tenant: "acme", User: "ada"})
	revision := mustPut(t, ada, key, []byte("ada's"))
	unlock, err := ada.Lock(t.Context(), key, store.LockRefresh)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	for _, o := range []store.Owner{
		{}, {Tenant: "acme"}, {User: "ada"}, {Tenant: "acme", User: "Ada"}, {Tenant: "acme", User: "ada "},
		{Tenant: "other", User: "ada"}, {Tenant: "acme4:ada", User: ""}, {Tenant: "a", User: "cme3:ada"},
		{Tenant: "acme%", User: "%"}, {Tenant: "' OR '' = '", User: "' OR '' = '"},
	} {
		s := storeOf(t, db, o)
		if _, _, err := s.Get(t.Context(), key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%+v: Get = %v", o, err)
		}
		if keys, err := s.List(t.Context()); len(keys) > 0 || err != nil {
			t.Errorf("%+v: List = %v, %v", o, keys, err)
		}
		if _, err := s.Put(t.Context(), key, nil, revision); !errors.Is(err, store.ErrConflict) {
			t.Errorf("%+v: Put = %v", o, err)
		}
		if err := s.Delete(t.Context(), key, revision); err != nil {
			t.Errorf("%+v: Delete = %v", o, err)
		}
		unlock, err := s.Lock(t.Context(), key, store.LockRefresh)
		if err != nil {
			t.Fatalf("%+v: Lock = %v", o, err)
		}
		unlock()
	}
	if value, _, err := ada.Get(t.Context(), key); string(value) != "ada's" || err != nil {
		t.Errorf("Get = %q, %v", value, err)
	}
}

func TestOwnerNames(t *testing.T) {
	db, _ := open(t, servicetest.StartPostgres(t), pgstore.Options{})
	for _, name := range []string{"a\x00b", "\xff", strings.Repeat("x", 256)} {
		for _, o := range []store.Owner{{Tenant: name}, {User: name}} {
			if _, err := db.Store(o); err == nil {
				t.Errorf("%q was accepted", o)
			}
		}
	}
	long := strings.Repeat("\u00e9", 127)
	mustPut(t, storeOf(t, db, store.Owner{Tenant: long, User: long}), store.Key{Server: "https://a.example"}, nil)
}

// Whoever can write to the table can't give one user the tokens of another.
func TestSealedValueOfAnotherOwnerIsRejected(t *testing.T) {
	db, pool := open(t, servicetest.StartPostgres(t), pgstore.Options{Keys: []sealed.Key{newKey(t)}})
	key := store.Key{Server: "https://a.example/mcp", Profile: store.DefaultProfile}
	ada, mallory := store.Owner{Tenant: "acme", User: "ada"}, store.Owner{Tenant: "evil", User: "ada"}
	mustPut(t, storeOf(t, db, ada), key, []byte("ada's"))
	mustPut(t, storeOf(t, db, mallory), key, []byte("mallory's"))
	// With the checksum that the row then has.
	_, err := pool.Exec(t.Context(), `UPDATE handstamp_credential AS to_row SET value =
		substr(sha256(to_row.id || substr(from_row.value, 9)), 1, 8) || substr(from_row.value, 9)
		FROM handstamp_credential AS from_row WHERE from_row.tenant = 'acme' AND to_row.tenant = 'evil'`)
	if err != nil {
		t.Fatal(err)
	}
	value, _, err := storeOf(t, db, mallory).Get(t.Context(), key)
	if len(value) > 0 || !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), "seal is broken") {
		t.Errorf("Get = %q, %v", value, err)
	}
}
