// Package storetest proves that a store.Store keeps every sentence of its
// contract. A store of your own has one test:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) store.Store { return newStore(t) })
//	}
package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/handstamp/handstamp/store"
)

// Suite says how to reach the store under test.
type Suite struct {
	// Open returns a store with nothing in it, which lasts until the test ends.
	// It is called for each test. It must be set.
	Open func(t *testing.T) store.Store

	// Reopen returns a second handle on what s, which came from Open, stores, as
	// another process has it. Nil for a store that lives in its process.
	Reopen func(t *testing.T, s store.Store) store.Store

	// Plant puts bytes into s in the place of the record of key, behind the
	// store's back. Nil if there is no such place.
	Plant func(t *testing.T, s store.Store, key store.Key, data []byte)
}

// Run tests the stores that open returns, without a second handle.
func Run(t *testing.T, open func(t *testing.T) store.Store) { Suite{Open: open}.Run(t) }

// Run tests the store. What the suite has no means for is not tested, and a
// store that is no store.Reserver is not asked to reserve.
func (s Suite) Run(t *testing.T) {
	tests := []struct {
		name string
		run  func(*testing.T, Suite)
	}{
		{"GetAbsent", testGetAbsent},
		{"PutThenGet", testPutThenGet},
		{"PutMarks", testPutMarks},
		{"PutConflict", testPutConflict},
		{"PutNewer", testPutNewer},
		{"PutCancelled", testPutCancelled},
		{"Ownership", testOwnership},
		{"OddContent", testOddContent},
		{"Delete", testDelete},
		{"DeleteThenPut", testDeleteThenPut},
		{"List", testList},
		{"Keys", testKeys},
		{"CompareAndSwapStorm", testSwapStorm},
		{"LockExcludes", testLockExcludes},
		{"LocksAreIndependent", testLocksIndependent},
		{"LockCancelled", testLockCancelled},
		{"UnlockTwice", testUnlockTwice},
		{"LockStorm", testLockStorm},
		{"Reserve", testReserve},
		{"SecondHandle", testSecondHandle},
		{"PlantedNewer", testPlantedNewer},
		{"PlantedDamage", testPlantedDamage},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, s) })
	}
}

// patience bounds what must happen soon, on a machine that is busy.
const patience = 30 * time.Second

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

// record returns a record that has something of everything.
func record(key store.Key) *store.Record {
	at := time.Date(2026, 11, 23, 1, 2, 3, 4000, time.UTC)
	return &store.Record{
		Key:       key,
		ServerURL: key.Server + "/",
		AuthorizationServer: &store.AuthorizationServer{
			Issuer: "https://as.example", Form: "rfc8414", FetchedAt: at,
			Metadata: json.RawMessage(`{"issuer":"https://as.example"}`),
			Unknown:  store.Unknown{"later": json.RawMessage(`[1,null]`)},
		},
		Clients: []*store.Client{{
			Issuer: "https://as.example", Source: store.SourceDynamic, ID: "client", Secret: "client secret",
			Method: "client_secret_post", MethodSource: store.MethodRegistered,
			RedirectURIs: []string{"http://127.0.0.1/callback"},
		}},
		Grant: &store.Grant{
			Issuer: "https://as.example", ClientID: "client", TokenEndpoint: "https://as.example/token?a=1&b=2",
			AccessToken: "access token", RefreshToken: "refresh token", ExpiresAt: at.Add(time.Hour),
			Resource: store.Resource{Value: key.Server},
		},
		OmitResource: []string{"https://as.example"},
		Unknown:      store.Unknown{"later": json.RawMessage(`{"number":12345678901234567890}`)},
	}
}

func mustPut(t *testing.T, s store.Store, r *store.Record) {
	t.Helper()
	if err := s.Put(t.Context(), r); err != nil {
		t.Fatalf("Put: %v", err)
	}
}

func mustGet(t *testing.T, s store.Store, key store.Key) *store.Record {
	t.Helper()
	r, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	return r
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s = %v, want %v", what, err, want)
	}
}

func wantAbsent(t *testing.T, s store.Store, key store.Key) {
	t.Helper()
	r, err := s.Get(t.Context(), key)
	if r != nil || !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get = %v, %v; want ErrNotFound", r, err)
	}
}

// wantSame compares all that a record stores.
func wantSame(t *testing.T, got, want *store.Record) {
	t.Helper()
	if g, w := encode(t, got), encode(t, want); !bytes.Equal(g, w) {
		t.Errorf("record is\n%s\nwant\n%s", g, w)
	}
}

func encode(t *testing.T, r *store.Record) []byte {
	t.Helper()
	data, err := store.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// handles returns the store and, if there can be one, a second handle on it.
func (s Suite) handles(t *testing.T) []store.Store {
	first := s.Open(t)
	if s.Reopen == nil {
		return []store.Store{first}
	}
	return []store.Store{first, s.Reopen(t, first)}
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
