package storetest

import (
	"bytes"
	"slices"
	"testing"

	"github.com/handstamp/handstamp/store"
)

// wantScan checks that a store that scans has these values of a server, or of all. Any may be left
// to Get.
func wantScan(t *testing.T, s store.Store, server string, items ...*item) {
	t.Helper()
	missing := make(map[store.Key]*item)
	for _, i := range items {
		missing[i.key] = i
	}
	var got []*item
	rest, err := store.Scan(soon(t), s, server, func(key store.Key, value []byte, revision store.Revision) {
		got = append(got, &item{key, value, revision})
	})
	if err != nil {
		t.Fatalf("Scan: %v", err)
	}
	for _, i := range got {
		want := missing[i.key]
		if want == nil {
			t.Errorf("Scan of %q has %v, or twice", server, i.key)
			continue
		}
		if !bytes.Equal(i.value, want.value) || i.revision != want.revision {
			t.Errorf("Scan of %q: %v is %q, %q; want %q, %q", server, i.key, shown(i.value), i.revision,
				shown(want.value), want.revision)
		}
		delete(missing, i.key)
	}
	for _, key := range rest {
		if missing[key] == nil {
			t.Errorf("Scan of %q leaves %v to Get, or twice", server, key)
		}
		delete(missing, key)
	}
	for key := range missing {
		t.Errorf("Scan of %q misses %v", server, key)
	}
}

// wantDamageLeftOut checks that Scan does not take a damaged value for one, and has the others.
func wantDamageLeftOut(t *testing.T, s store.Store, damaged store.Key) {
	t.Helper()
	visited := 0
	rest, err := store.Scan(soon(t), s, "", func(key store.Key, _ []byte, _ store.Revision) {
		if visited++; key == damaged {
			t.Errorf("Scan has a value of %v, which is damaged", key)
		}
	})
	if err != nil {
		t.Fatalf("Scan: %v", err)
	}
	if others := slices.DeleteFunc(rest, func(k store.Key) bool { return k == damaged }); visited+len(others) == 0 {
		t.Error("Scan misses what is not damaged")
	}
}
