package storetest

import (
	"testing"

	"github.com/handstamp/handstamp/store"
)

func testReserve(t *testing.T, suite Suite) {
	s := suite.Open(t)
	reserver, ok := s.(store.Reserver)
	if !ok {
		return
	}
	reserve := func(key store.Key, size int) store.Reservation {
		t.Helper()
		room, err := reserver.Reserve(soon(t), key, size)
		if err != nil {
			t.Fatalf("Reserve: %v", err)
		}
		return room
	}
	key := keyOf(t, "https://a.example", "")

	unused := reserve(key, 64<<10)
	wantAbsent(t, s, key) // room is no record
	if keys, err := s.List(t.Context()); err != nil || len(keys) != 0 {
		t.Errorf("List = %v, %v with room reserved", keys, err)
	}
	unused.Release()
	unused.Release()

	r := record(key)
	room := reserve(key, 64<<10)
	if err := room.Put(t.Context(), r); err != nil {
		t.Fatalf("Put into reserved room: %v", err)
	}
	wantSame(t, mustGet(t, s, key), r)
	room.Release()
	wantSame(t, mustGet(t, s, key), r)

	// The comparison is Put's, and the room outlives other writes.
	room = reserve(key, 64<<10)
	stale := r.Clone()
	mustPut(t, s, r)
	wantError(t, "Put of the generation before", room.Put(t.Context(), stale), store.ErrConflict)
	wantSame(t, mustGet(t, s, key), r)
	if err := room.Put(t.Context(), r); err != nil {
		t.Errorf("Put after a conflict: %v", err)
	}
	wantSame(t, mustGet(t, s, key), r)
	room.Release()

	// A record that grew beyond its room is stored nevertheless, if there is some.
	room = reserve(key, 1)
	if err := room.Put(t.Context(), r); err != nil {
		t.Errorf("Put into too little room: %v", err)
	}
	room.Release()
	wantSame(t, mustGet(t, s, key), r)

	room = reserve(key, 64<<10)
	if err := s.Delete(t.Context(), key, r.Generation); err != nil {
		t.Fatal(err)
	}
	wantError(t, "Put of what was deleted", room.Put(t.Context(), r), store.ErrConflict)
	again := record(key)
	if err := room.Put(t.Context(), again); err != nil {
		t.Errorf("Put after Delete: %v", err)
	}
	wantSame(t, mustGet(t, s, key), again)
	room.Release()
}
