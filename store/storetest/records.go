package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/handstamp/handstamp/store"
)

func testGetAbsent(t *testing.T, suite Suite) {
	wantAbsent(t, suite.Open(t), keyOf(t, "https://a.example", ""))
}

func testPutThenGet(t *testing.T, suite Suite) {
	s := suite.Open(t)
	r := record(keyOf(t, "https://a.example/mcp", ""))
	for range 3 {
		mustPut(t, s, r)
		wantSame(t, mustGet(t, s, r.Key), r)
		r.Grant.AccessToken += "."
	}
	r.Grant, r.Clients, r.Unknown = nil, nil, nil
	mustPut(t, s, r)
	wantSame(t, mustGet(t, s, r.Key), r)
}

func testPutMarks(t *testing.T, suite Suite) {
	s := suite.Open(t)
	r := record(keyOf(t, "https://a.example", ""))
	var last uint64
	for range 3 {
		before := time.Now().Add(-time.Hour) // the store's clock may be another machine's
		mustPut(t, s, r)
		if r.Generation <= last {
			t.Errorf("generation %d after %d", r.Generation, last)
		}
		last = r.Generation
		if r.Version != store.SchemaVersion {
			t.Errorf("version is %d", r.Version)
		}
		if r.UpdatedAt.Before(before) {
			t.Errorf("updated at %v", r.UpdatedAt)
		}
	}
}

func testPutConflict(t *testing.T, suite Suite) {
	s := suite.Open(t)
	key := keyOf(t, "https://a.example", "")
	refuse := func(what string, generation uint64) {
		t.Helper()
		stored, err := s.Get(t.Context(), key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		r := record(key)
		r.Generation = generation
		r.Grant.AccessToken = "of the loser"
		before := r.Clone()
		wantError(t, "Put "+what, s.Put(t.Context(), r), store.ErrConflict)
		if !reflect.DeepEqual(r, before) {
			t.Errorf("Put %s changed the record it refused", what)
		}
		if stored == nil {
			wantAbsent(t, s, key)
			return
		}
		wantSame(t, mustGet(t, s, key), stored)
	}
	refuse("of a generation where nothing is stored", 7)
	r := record(key)
	mustPut(t, s, r)
	first := r.Generation
	refuse("of no generation where one is stored", 0)
	mustPut(t, s, r)
	refuse("of the generation before", first)
	refuse("of a generation to come", r.Generation+1)
}

func testPutNewer(t *testing.T, suite Suite) {
	s := suite.Open(t)
	r := record(keyOf(t, "https://a.example", ""))
	mustPut(t, s, r)
	stored := r.Clone()
	r.Version = store.SchemaVersion + 1
	wantError(t, "Put", s.Put(t.Context(), r), store.ErrNewer)
	wantSame(t, mustGet(t, s, r.Key), stored)
}

// A Put that ended with an error because its context had must have changed
// nothing; one that did not must have stored.
func testPutCancelled(t *testing.T, suite Suite) {
	s := suite.Open(t)
	r := record(keyOf(t, "https://a.example", ""))
	mustPut(t, s, r)
	before := r.Clone()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.Grant.AccessToken = "new"
	if err := s.Put(ctx, r); err != nil {
		wantError(t, "Put", err, context.Canceled)
		wantSame(t, mustGet(t, s, r.Key), before)
		return
	}
	wantSame(t, mustGet(t, s, r.Key), r)
}

func testOwnership(t *testing.T, suite Suite) {
	s := suite.Open(t)
	r := record(keyOf(t, "https://a.example", ""))
	mustPut(t, s, r)
	want := r.Clone()
	spoil := func(r *store.Record) {
		r.Grant.AccessToken = "spoiled"
		r.Clients[0].RedirectURIs[0] = "spoiled"
		r.AuthorizationServer.Metadata[0] = ' '
		r.Unknown["later"] = json.RawMessage(`"spoiled"`)
		r.OmitResource[0] = "spoiled"
	}
	spoil(r)
	got := mustGet(t, s, r.Key)
	wantSame(t, got, want)
	spoil(got)
	wantSame(t, mustGet(t, s, r.Key), want)
}

func testOddContent(t *testing.T, suite Suite) {
	s := suite.Open(t)
	r := record(keyOf(t, "https://a.example", ""))
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	r.Grant.AccessToken = store.Secret(every)
	r.Grant.RefreshToken = store.Secret(strings.Repeat("<\\u0000'\"$1%s🔑>", 2000))
	r.Intent = &store.Intent{ID: "op", Answer: &store.Answer{Body: store.Secret(every)}}
	mustPut(t, s, r)
	wantSame(t, mustGet(t, s, r.Key), r)
}

func testDelete(t *testing.T, suite Suite) {
	s := suite.Open(t)
	key, other := keyOf(t, "https://a.example", ""), keyOf(t, "https://a.example", "other")
	wantError(t, "Delete of what is not there", s.Delete(t.Context(), key, 7), nil)
	r, stays := record(key), record(other)
	mustPut(t, s, r)
	mustPut(t, s, stays)
	first := r.Generation
	mustPut(t, s, r)
	for _, generation := range []uint64{0, first, r.Generation + 1} {
		wantError(t, "Delete of another generation", s.Delete(t.Context(), key, generation), store.ErrConflict)
		wantSame(t, mustGet(t, s, key), r)
	}
	wantError(t, "Delete", s.Delete(t.Context(), key, r.Generation), nil)
	wantAbsent(t, s, key)
	wantError(t, "second Delete", s.Delete(t.Context(), key, r.Generation), nil)
	wantSame(t, mustGet(t, s, other), stays)
}

// Who read a record before it was deleted and made anew must not pass for
// somebody who read the new one.
func testDeleteThenPut(t *testing.T, suite Suite) {
	s := suite.Open(t)
	key := keyOf(t, "https://a.example", "")
	given := make(map[uint64]bool)
	for range 5 {
		r := record(key)
		for range 2 {
			mustPut(t, s, r)
			if given[r.Generation] {
				t.Fatalf("generation %d was given twice", r.Generation)
			}
			given[r.Generation] = true
		}
		wantError(t, "Delete", s.Delete(t.Context(), key, r.Generation), nil)
	}
}

func testList(t *testing.T, suite Suite) {
	s := suite.Open(t)
	want := func(keys ...store.Key) {
		t.Helper()
		got, err := s.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, keys) {
			t.Errorf("List = %v, want %v", got, keys)
		}
	}
	want()
	a, aWork := keyOf(t, "https://a.example", ""), keyOf(t, "https://a.example", "work")
	aPath, b := keyOf(t, "https://a.example/path", ""), keyOf(t, "https://b.example", "")
	for _, key := range []store.Key{b, aWork, aPath, a} {
		mustPut(t, s, record(key))
	}
	want(a, aWork, aPath, b)
	wantError(t, "Delete", s.Delete(t.Context(), aWork, mustGet(t, s, aWork).Generation), nil)
	want(a, aPath, b)
}

// Keys that a file system, a database or a careless escape could confuse.
func testKeys(t *testing.T, suite Suite) {
	s := suite.Open(t)
	servers := []string{
		"https://a.example/Path", "https://a.example/path", "https://a.example/path%2F..", "https://a.example/path?q=%00",
		"https://a.example:8443/path", "http://a.example/path", "https://b\u00fccher.example/\u2603", "https://bu\u0308cher.example/\u2603",
		"https://[::1]:8080/x", "https://a.example/" + strings.Repeat("long/", 400), "https://a.example/" + strings.Repeat("long/", 401),
	}
	var records []*store.Record
	for _, server := range servers {
		for _, profile := range []string{"", "Default", "../default", "a:b/c\\d"} {
			r := record(keyOf(t, server, profile))
			mustPut(t, s, r)
			records = append(records, r)
		}
	}
	for _, r := range records {
		wantSame(t, mustGet(t, s, r.Key), r)
	}
	if keys, err := s.List(t.Context()); err != nil || len(keys) != len(records) {
		t.Errorf("List has %d keys (%v), want %d", len(keys), err, len(records))
	}
}

// Everybody reads, adds one and writes; whoever conflicts tries again.
func testSwapStorm(t *testing.T, suite Suite) {
	const workers, each = 8, 12
	handles := suite.handles(t)
	key := keyOf(t, "https://a.example", "")
	first := &store.Record{Key: key, Retry: &store.Retry{}}
	mustPut(t, handles[0], first)
	ctx := soon(t)
	var wg sync.WaitGroup
	for i := range workers {
		s := handles[i%len(handles)]
		wg.Go(func() {
			for range each {
				if err := increment(ctx, s, key); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := mustGet(t, handles[0], key).Retry.Failures; got != workers*each {
		t.Errorf("%d of %d increments are left", got, workers*each)
	}
}

func increment(ctx context.Context, s store.Store, key store.Key) error {
	for {
		r, err := s.Get(ctx, key)
		if err != nil {
			return err
		}
		r.Retry.Failures++
		if err := s.Put(ctx, r); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// What one handle does, the other sees at once.
func testSecondHandle(t *testing.T, suite Suite) {
	if suite.Reopen == nil {
		return
	}
	handles := suite.handles(t)
	a, b := handles[0], handles[1]
	r := record(keyOf(t, "https://a.example", ""))
	mustPut(t, a, r)
	seen := mustGet(t, b, r.Key)
	wantSame(t, seen, r)
	mustPut(t, b, seen)
	wantError(t, "Put of what the other has replaced", a.Put(t.Context(), r), store.ErrConflict)
	wantError(t, "Delete of what the other has replaced", a.Delete(t.Context(), r.Key, r.Generation), store.ErrConflict)
	wantError(t, "Delete", a.Delete(t.Context(), r.Key, seen.Generation), nil)
	wantAbsent(t, b, r.Key)
}

// A record of a newer version is read, unknown members included, but stays.
func testPlantedNewer(t *testing.T, suite Suite) {
	if suite.Plant == nil {
		return
	}
	s := suite.Open(t)
	r := record(keyOf(t, "https://a.example", ""))
	mustPut(t, s, r)
	newer := r.Clone()
	newer.Version = store.SchemaVersion + 1
	newer.Generation++
	suite.Plant(t, s, r.Key, encode(t, newer))
	got := mustGet(t, s, r.Key)
	wantSame(t, got, newer)
	got.Grant = nil
	wantError(t, "Put", s.Put(t.Context(), got), store.ErrNewer)
	got.Version = 0
	wantError(t, "Put of a record made anew", s.Put(t.Context(), got), store.ErrNewer)
	wantSame(t, mustGet(t, s, r.Key), newer)
}

// Damage concerns its own key, is told once, and does not stand in the way.
func testPlantedDamage(t *testing.T, suite Suite) {
	if suite.Plant == nil {
		return
	}
	key, other := keyOf(t, "https://a.example", ""), keyOf(t, "https://b.example", "")
	valid := encode(t, func() *store.Record { r := record(key); r.Generation = 1; return r }())
	for name, data := range map[string][]byte{
		"empty":       {},
		"cut off":     valid[:len(valid)/2],
		"zeros":       make([]byte, len(valid)),
		"other key":   encode(t, record(other)),
		"wrong types": bytes.Replace(valid, []byte(`"clients": [`), []byte(`"clients": "x", "was": [`), 1),
	} {
		t.Run(name, func(t *testing.T) {
			s := suite.Open(t)
			stays := record(other)
			mustPut(t, s, stays)
			suite.Plant(t, s, key, data)
			r, err := s.Get(t.Context(), key)
			if r != nil || !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("Get = %v, %v; want ErrCorrupt", r, err)
			}
			wantAbsent(t, s, key)
			mustPut(t, s, record(key))
			wantSame(t, mustGet(t, s, other), stays)
		})
	}
}
