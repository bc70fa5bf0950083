package storetest

import (
	"testing"

	"github.com/handstamp/handstamp/store"
)

func testReserve(t *testing.T, suite Suite) {
	s := suite.Open(t)
	reserver, ok := s.(store.Reserver)
	if !ok {
		t.Skip("the store reserves nothing")
	}
	reserve := func(key store.Key, size int) store.Reservation {
		t.Helper()
		space, err := reserver.Reserve(soon(t), key, size)
		if err != nil {
			t.Fatalf("Reserve: %v", err)
		}
		return space
	}
	putInto := func(space store.Reservation, i *item) error {
		revision, err := space.Put(t.Context(), i.value, i.revision)
		if err == nil {
			i.revision = revision
		}
		return err
	}
	key := keyOf(t, "https://a.example", "")

	unused := reserve(key, 64<<10)
	wantAbsent(t, s, key) // space is no value
	wantList(t, s)
	unused.Release()
	unused.Release()

	i := newItem(key)
	space := reserve(key, 64<<10)
	wantError(t, "Put into reserved space", putInto(space, i), nil)
	wantStored(t, s, i)
	space.Release()
	wantStored(t, s, i)

	// The comparison is Put's, and the space outlives other writes.
	space = reserve(key, 64<<10)
	stale := *i
	mustPut(t, s, i)
	wantError(t, "Put of the revision before", putInto(space, &stale), store.ErrConflict)
	wantStored(t, s, i)
	wantError(t, "Put after a conflict", putInto(space, i), nil)
	wantStored(t, s, i)
	wantError(t, "second Put", putInto(space, i), nil)
	wantStored(t, s, i)
	space.Release()

	// A value that grew beyond its space is stored nevertheless, if there is some.
	space = reserve(key, 1)
	wantError(t, "Put into too little space", putInto(space, i), nil)
	space.Release()
	wantStored(t, s, i)

	space = reserve(key, 64<<10)
	wantError(t, "Delete", s.Delete(t.Context(), key, i.revision), nil)
	wantError(t, "Put of what was deleted", putInto(space, i), store.ErrConflict)
	again := newItem(key)
	wantError(t, "Put after Delete", putInto(space, again), nil)
	wantStored(t, s, again)
	space.Release()
}
