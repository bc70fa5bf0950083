// Package storetest proves that a [store.Store] keeps every sentence of its contract. A store of
// your own has one test:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) store.Store { return newStore(t) })
//	}
//
// A whole store that passes is the example:
// https://pkg.go.dev/github.com/handstamp/handstamp/store/storetest#pkg-examples
package storetest

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/handstamp/handstamp/store"
)

// Suite describes how to reach the store under test.
type Suite struct {
	// Open returns a store with nothing in it, which lasts until the test ends.
	// It is called for each test. It must be set.
	Open func(t *testing.T) store.Store

	// Reopen returns a second handle on what s, which came from Open, stores, as
	// another process has it. Nil for a store that lives in its process.
	Reopen func(t *testing.T, s store.Store) store.Store

	// ReadRaw and WriteRaw read and replace, behind the store's back, the bytes that s keeps for
	// key: a file, a row's column, the value in the store that s encrypts for. With them the suite
	// damages values. Both are nil for a store that relies on its medium to detect damage.
	ReadRaw  func(t *testing.T, s store.Store, key store.Key) []byte
	WriteRaw func(t *testing.T, s store.Store, key store.Key, data []byte)
}

// Run tests the stores that open returns, without a second handle.
func Run(t *testing.T, open func(t *testing.T) store.Store) { Suite{Open: open}.Run(t) }

// Run tests the store. What the suite has no means for is not tested, and neither is Reserve of a
// store that is no [store.Reserver].
func (s Suite) Run(t *testing.T) {
	tests := []struct {
		name string
		run  func(*testing.T, Suite)
	}{
		{"GetAbsent", testGetAbsent},
		{"PutThenGet", testPutThenGet},
		{"PutAnyBytes", testPutAnyBytes},
		{"PutLarge", testPutLarge},
		{"PutConflict", testPutConflict},
		{"PutCancelled", testPutCancelled},
		{"PutScheduled", testPutScheduled},
		{"Ownership", testOwnership},
		{"Revisions", testRevisions},
		{"Delete", testDelete},
		{"List", testList},
		{"Keys", testKeys},
		{"CreateStorm", testCreateStorm},
		{"CompareAndSwapStorm", testSwapStorm},
		{"DeleteStorm", testDeleteStorm},
		{"LockExcludes", testLockExcludes},
		{"LockOutlivesItsContext", testLockOutlivesContext},
		{"LocksAreIndependent", testLocksIndependent},
		{"LockCancelled", testLockCancelled},
		{"UnlockTwice", testUnlockTwice},
		{"LockStorm", testLockStorm},
		{"Reserve", testReserve},
		{"SecondHandle", testSecondHandle},
		{"Damage", testDamage},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, s) })
	}
}

// timeout bounds what must happen soon, on a machine that is busy.
const timeout = time.Minute

// impatience is how long it is watched that something does not happen.
const impatience = 60 * time.Millisecond

func keyOf(t *testing.T, server, profile string) store.Key {
	t.Helper()
	key, err := store.NewKey(server, profile)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// item is a value as it was put or read.
type item struct {
	key      store.Key
	value    []byte
	revision store.Revision
}

// text is a value like those that Handstamp stores.
const text = "{\n  \"version\": 1,\n  \"grant\": {\n    \"refresh_token\": \"<&>\\u00e9\"\n  }\n}"

// newItem returns an item that is not stored.
func newItem(key store.Key) *item { return &item{key: key, value: []byte(text)} }

func (i *item) put(ctx context.Context, s store.Store) error {
	revision, err := s.Put(ctx, i.key, i.value, i.revision)
	if err == nil {
		i.revision = revision
	}
	return err
}

func mustPut(t *testing.T, s store.Store, i *item) {
	t.Helper()
	before := i.revision
	if err := i.put(soon(t), s); err != nil {
		t.Fatalf("Put: %v", err)
	}
	if i.revision == "" || i.revision == before {
		t.Fatalf("Put returned the revision %q after %q", i.revision, before)
	}
}

func mustGet(t *testing.T, s store.Store, key store.Key) *item {
	t.Helper()
	value, revision, err := s.Get(soon(t), key)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	return &item{key, value, revision}
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s = %v, want %v", what, err, want)
	}
}

func wantAbsent(t *testing.T, s store.Store, key store.Key) {
	t.Helper()
	value, revision, err := s.Get(t.Context(), key)
	if len(value) > 0 || revision != "" || !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get = %q, %q, %v; want ErrNotFound", value, revision, err)
	}
}

// wantStored checks that the item is what is stored.
func wantStored(t *testing.T, s store.Store, want *item) {
	t.Helper()
	wantItem(t, "stored", mustGet(t, s, want.key), want)
	if p, ok := s.(store.Peeker); ok {
		value, revision, err := p.Peek(soon(t), want.key)
		if err != nil {
			t.Fatalf("Peek: %v", err)
		}
		wantItem(t, "what Peek finds", &item{want.key, value, revision}, want)
	}
}

func wantItem(t *testing.T, what string, got, want *item) {
	t.Helper()
	if !bytes.Equal(got.value, want.value) || got.revision != want.revision {
		t.Errorf("%s is %q as %q, want %q as %q", what, shown(got.value), got.revision,
			shown(want.value), want.revision)
	}
}

func shown(value []byte) []byte { return value[:min(len(value), 200)] }

// handles returns the store and, if there can be one, a second handle on it.
func (s Suite) handles(t *testing.T) []store.Store {
	first := s.Open(t)
	if s.Reopen == nil {
		return []store.Store{first}
	}
	return []store.Store{first, s.Reopen(t, first)}
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	return ctx
}
