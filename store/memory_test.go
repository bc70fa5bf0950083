package store_test

import (
	"testing"
	"testing/synctest"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return new(store.Memory) })
}

// A clock that stands still must not give a generation twice.
func TestMemoryWithoutTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m store.Memory
		key := store.Key{Server: "https://a.example", Profile: store.DefaultProfile}
		first := &store.Record{Key: key}
		if err := m.Put(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		if err := m.Delete(t.Context(), key, first.Generation); err != nil {
			t.Fatal(err)
		}
		second := &store.Record{Key: key}
		if err := m.Put(t.Context(), second); err != nil {
			t.Fatal(err)
		}
		if second.Generation <= first.Generation {
			t.Errorf("generation %d after %d", second.Generation, first.Generation)
		}
	})
}
