//go:build unix

package redisstore_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/internal/checksum"
	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/redisstore"
	"github.com/handstamp/handstamp/store/sealed"
)

// What one user of one tenant has, no other store reads, lists, changes or locks.
func TestOwnersAreSeparate(t *testing.T) {
	db := open(t, newClient(t, addresses(servicetest.StartRedis(t))), redisstore.Options{})
	s := storeOf(t, db, ada)
	revision := mustPut(t, s, lockedKey, "ada's", "")
	unlock, err := s.Lock(t.Context(), lockedKey, store.LockRefresh)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	for _, o := range []store.Owner{
		{}, {Tenant: "acme"}, {User: "ada"}, {Tenant: "acme", User: "Ada"}, {Tenant: "acme", User: "ada "},
		{Tenant: "other", User: "ada"}, {Tenant: "acme3:ada"}, {Tenant: "a", User: "cme3:ada"},
		{Tenant: "acme}", User: "{ada"}, {Tenant: "*", User: "*"},
	} {
		other := storeOf(t, db, o)
		if _, _, err := other.Get(t.Context(), lockedKey); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%+v: Get = %v", o, err)
		}
		if keys, err := other.List(t.Context()); len(keys) > 0 || err != nil {
			t.Errorf("%+v: List = %v, %v", o, keys, err)
		}
		if _, err := other.Put(t.Context(), lockedKey, nil, revision); !errors.Is(err, store.ErrConflict) {
			t.Errorf("%+v: Put = %v", o, err)
		}
		if err := other.Delete(t.Context(), lockedKey, revision); err != nil {
			t.Errorf("%+v: Delete = %v", o, err)
		}
		unlock, err := other.Lock(t.Context(), lockedKey, store.LockRefresh)
		if err != nil {
			t.Fatalf("%+v: Lock = %v", o, err)
		}
		unlock()
	}
	if value, _, err := s.Get(t.Context(), lockedKey); string(value) != "ada's" || err != nil {
		t.Errorf("Get = %q, %v", value, err)
	}
}

func TestOwnerNames(t *testing.T) {
	db := open(t, newClient(t, addresses(servicetest.StartRedis(t))), redisstore.Options{})
	for _, name := range []string{"a\x00b", "\xff", strings.Repeat("x", 256)} {
		for _, o := range []store.Owner{{Tenant: name}, {User: name}} {
			if _, err := db.Store(o); err == nil {
				t.Errorf("%q was accepted", o)
			}
		}
	}
}

// Whoever can write to Redis can't give one user or one server the tokens of another, although the
// checksum, which has no key, can be made right.
func TestMovedValueIsRejected(t *testing.T) {
	client := newClient(t, addresses(servicetest.StartRedis(t)))
	db := open(t, client, redisstore.Options{Keys: []sealed.Key{newKey(t, 0)}})
	mustPut(t, storeOf(t, db, ada), lockedKey, "ada's", "")
	from := db.ValueKey(ada, lockedKey)
	value, ok := checksum.Cut(from, readRaw(t, client, from))
	if !ok {
		t.Fatal("the value has no checksum")
	}
	elsewhere := store.Key{Server: "https://evil.example", Profile: store.DefaultProfile}
	for _, to := range []struct {
		owner store.Owner
		key   store.Key
	}{
		{store.Owner{Tenant: "evil", User: "ada"}, lockedKey},
		{store.Owner{Tenant: "acme", User: "mallory"}, lockedKey},
		{ada, elsewhere},
	} {
		s := storeOf(t, db, to.owner)
		mustPut(t, s, to.key, "mallory's", "")
		name := db.ValueKey(to.owner, to.key)
		for what, moved := range map[string][]byte{
			"moved":           value,
			"moved and cut":   value[:len(value)-1],
			"with a checksum": checksum.Add(from, value),
		} {
			writeRaw(t, client, name, checksum.Add(name, moved))
			got, _, err := s.Get(t.Context(), to.key)
			if len(got) > 0 || !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("%s to %+v: Get = %q, %v", what, to, got, err)
			}
		}
	}
}

// The sealing key changes without a moment in which a process cannot read.
func TestKeyRotation(t *testing.T) {
	client := newClient(t, addresses(servicetest.StartRedis(t)))
	older, newer := newKey(t, 1), newKey(t, 2)
	with := func(keys ...sealed.Key) store.Store {
		return storeOf(t, open(t, client, redisstore.Options{Keys: keys}), ada)
	}
	revision := mustPut(t, with(older), lockedKey, "sealed with the old key", "")
	for _, s := range []store.Store{with(older, newer), with(newer, older)} {
		value, now, err := s.Get(t.Context(), lockedKey)
		if string(value) != "sealed with the old key" || now != revision || err != nil {
			t.Errorf("Get = %q, %v", value, err)
		}
	}
	mustPut(t, with(newer, older), lockedKey, "sealed with the new key", revision)
	for _, s := range []store.Store{with(older, newer), with(newer)} {
		if value, _, err := s.Get(t.Context(), lockedKey); string(value) != "sealed with the new key" || err != nil {
			t.Errorf("Get = %q, %v", value, err)
		}
	}
	if _, _, err := with(older).Get(t.Context(), lockedKey); !errors.Is(err, store.ErrUnusable) {
		t.Errorf("without the key: %v", err)
	}
}
