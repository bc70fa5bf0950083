package storetest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp/store"
)

func testGetAbsent(t *testing.T, suite Suite) {
	wantAbsent(t, suite.Open(t), keyOf(t, "https://a.example", ""))
}

func testPutThenGet(t *testing.T, suite Suite) {
	s := suite.Open(t)
	i := newItem(keyOf(t, "https://a.example/mcp", ""))
	for range 3 {
		mustPut(t, s, i)
		wantStored(t, s, i)
		i.value = append(i.value, ' ')
	}
	i.value = []byte("{}")
	mustPut(t, s, i)
	wantStored(t, s, i)
}

// A value is any bytes, and comes back byte for byte.
func testPutAnyBytes(t *testing.T, suite Suite) {
	s := suite.Open(t)
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	i := newItem(keyOf(t, "https://a.example", ""))
	for _, value := range [][]byte{
		every, {}, []byte(" \n"), []byte("null"), []byte("{\r\n\t\"a\" : 1e400 }\n\n"), []byte("{\n  \"cut off\": \""),
		[]byte(strings.Repeat("<\\u0000'\"$1%s\U0001f511>", 2000)), bytes.Repeat(every, 4096),
	} {
		i.value = value
		mustPut(t, s, i)
		wantStored(t, s, i)
	}
}

// A value that a store does not take changes nothing, and none is cut.
func testPutLarge(t *testing.T, suite Suite) {
	s := suite.Open(t)
	i := newItem(keyOf(t, "https://a.example", ""))
	mustPut(t, s, i)
	for _, size := range []int{5 << 20, 17 << 20} {
		large := &item{i.key, bytes.Repeat([]byte("large"), size/5), i.revision}
		if err := large.put(soon(t), s); err != nil {
			wantError(t, "Put", err, store.ErrUnusable)
			large = i
		}
		wantStored(t, s, large)
		i = large
	}
}

func testPutConflict(t *testing.T, suite Suite) { wantConflicts(t, suite.Open(t)) }

// A Put with a schedule is a Put.
func testPutScheduled(t *testing.T, suite Suite) {
	s := suite.Open(t)
	if _, ok := s.(store.SchedulePutter); !ok {
		t.Skip("the store takes no schedule")
	}
	wantConflicts(t, &schedulingStore{s})
}

// schedulingStore has a schedule for each value.
type schedulingStore struct{ store.Store }

func (s *schedulingStore) Put(
	ctx context.Context, key store.Key, value []byte, revision store.Revision,
) (store.Revision, error) {
	schedule := store.Schedule{Due: time.Now().Add(time.Hour), Group: key.Server}
	return store.Put(ctx, s.Store, key, value, revision, schedule)
}

func wantConflicts(t *testing.T, s store.Store) {
	key := keyOf(t, "https://a.example", "")
	wantConflict := func(what string, revision store.Revision) {
		t.Helper()
		loser := &item{key, []byte("of the loser"), revision}
		wantError(t, "Put "+what, loser.put(t.Context(), s), store.ErrConflict)
	}
	wantConflict("of a revision where nothing is stored", "7")
	wantAbsent(t, s, key)
	i := newItem(key)
	mustPut(t, s, i)
	first := i.revision
	mustPut(t, s, i)
	wantConflict("of what is not there yet", "")
	wantConflict("of the revision before", first)
	wantConflict("of another revision", i.revision+"0")
	wantStored(t, s, i)
}

// A Put whose context has ended does all or nothing.
func testPutCancelled(t *testing.T, suite Suite) {
	s := suite.Open(t)
	i := newItem(keyOf(t, "https://a.example", ""))
	mustPut(t, s, i)
	next := &item{i.key, []byte("new"), i.revision}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := next.put(ctx, s); err != nil {
		wantError(t, "Put", err, context.Canceled)
		wantStored(t, s, i)
		return
	}
	wantStored(t, s, next)
}

// Bytes that were put or read belong to the caller.
func testOwnership(t *testing.T, suite Suite) {
	s := suite.Open(t)
	i := newItem(keyOf(t, "https://a.example", ""))
	mustPut(t, s, i)
	want := &item{i.key, bytes.Clone(i.value), i.revision}
	i.value[0] = '?'
	wantStored(t, s, want)
	mustGet(t, s, i.key).value[0] = '?'
	wantStored(t, s, want)
}

// A revision read before a Delete must not match the value stored afterwards, though both values are
// equal.
func testRevisions(t *testing.T, suite Suite) {
	handles := suite.handles(t)
	given := make(map[store.Revision]bool)
	for round := range 5 {
		s := handles[round%len(handles)]
		i := newItem(keyOf(t, "https://a.example", ""))
		for range 2 {
			mustPut(t, s, i)
			if given[i.revision] {
				t.Fatalf("revision %q was given twice", i.revision)
			}
			given[i.revision] = true
		}
		for old := range given {
			if old == i.revision {
				continue
			}
			stale := &item{i.key, []byte("stale"), old}
			wantError(t, "Put of a revision before", stale.put(t.Context(), s), store.ErrConflict)
		}
		wantStored(t, s, i)
		wantError(t, "Delete", s.Delete(t.Context(), i.key, i.revision), nil)
		wantError(t, "Put of what was deleted", i.put(t.Context(), s), store.ErrConflict)
	}
}

func testDelete(t *testing.T, suite Suite) {
	s := suite.Open(t)
	key, other := keyOf(t, "https://a.example", ""), keyOf(t, "https://a.example", "other")
	wantError(t, "Delete of what is not there", s.Delete(t.Context(), key, "7"), nil)
	i, stays := newItem(key), newItem(other)
	mustPut(t, s, i)
	mustPut(t, s, stays)
	first := i.revision
	mustPut(t, s, i)
	for _, revision := range []store.Revision{"", first, i.revision + "0", stays.revision} {
		wantError(t, "Delete of another revision", s.Delete(t.Context(), key, revision), store.ErrConflict)
		wantStored(t, s, i)
	}
	wantError(t, "Delete", s.Delete(t.Context(), key, i.revision), nil)
	wantAbsent(t, s, key)
	wantError(t, "second Delete", s.Delete(t.Context(), key, i.revision), nil)
	wantStored(t, s, stays)
}

func wantList(t *testing.T, s store.Store, keys ...store.Key) {
	t.Helper()
	got, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, keys) {
		t.Errorf("List = %v, want %v", got, keys)
	}
}

func testList(t *testing.T, suite Suite) {
	s := suite.Open(t)
	wantList(t, s)
	a, aWork := keyOf(t, "https://a.example", ""), keyOf(t, "https://a.example", "work")
	aPath, b := keyOf(t, "https://a.example/path", ""), keyOf(t, "https://b.example", "")
	for _, key := range []store.Key{b, aWork, aPath, a} {
		mustPut(t, s, newItem(key))
	}
	wantList(t, s, a, aWork, aPath, b)
	wantError(t, "Delete", s.Delete(t.Context(), aWork, mustGet(t, s, aWork).revision), nil)
	wantList(t, s, a, aPath, b)
}

// Keys that a file system, a database or a careless escape could confuse.
func testKeys(t *testing.T, suite Suite) {
	s := suite.Open(t)
	servers := []string{
		"https://a.example/Path", "https://a.example/path", "https://a.example/path%2F..", "https://a.example/path?q=%00",
		"https://a.example:8443/path", "http://a.example/path", "https://b\u00fccher.example/\u2603", "https://bu\u0308cher.example/\u2603",
		"https://[::1]:8080/x", "https://a.example/" + strings.Repeat("long/", 400), "https://a.example/" + strings.Repeat("long/", 401),
	}
	var items []*item
	for _, server := range servers {
		for _, profile := range []string{"", "Default", "../default", "a:b/c\\d", "'; --"} {
			i := newItem(keyOf(t, server, profile))
			i.value = append(i.value, server+profile...)
			mustPut(t, s, i)
			items = append(items, i)
		}
	}
	var keys []store.Key
	for _, i := range items {
		wantStored(t, s, i)
		keys = append(keys, i.key)
	}
	slices.SortFunc(keys, store.Key.Compare)
	wantList(t, s, keys...)
	wantScan(t, s, "", items...)
	for at := 0; at < len(items); at += 5 {
		wantScan(t, s, items[at].key.Server, items[at:at+5]...)
	}
	wantScan(t, s, "https://c.example")
}

// Of many who make a value at once, one does.
func testCreateStorm(t *testing.T, suite Suite) {
	const workers, rounds = 8, 5
	handles := suite.handles(t)
	ctx := soon(t)
	for round := range rounds {
		key := keyOf(t, "https://a.example/"+strconv.Itoa(round), "")
		var won atomic.Pointer[item]
		var wg sync.WaitGroup
		for worker := range workers {
			wg.Go(func() {
				i := &item{key: key, value: []byte(strconv.Itoa(worker))}
				switch err := i.put(ctx, handles[worker%len(handles)]); {
				case err == nil && !won.CompareAndSwap(nil, i):
					t.Error("two made the same value")
				case err != nil && !errors.Is(err, store.ErrConflict):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() == nil {
			t.Fatal("all conflicted")
		}
		wantStored(t, handles[0], won.Load())
	}
}

// Each worker reads, adds one and writes, and tries again after a conflict.
func testSwapStorm(t *testing.T, suite Suite) {
	storm(t, suite, 12, func(ctx context.Context, s store.Store, key store.Key) error {
		for {
			if err := increment(ctx, s, key); !errors.Is(err, store.ErrConflict) || ctx.Err() != nil {
				return err
			}
		}
	})
}

// Of a Put and a Delete of one revision at once, one succeeds.
func testDeleteStorm(t *testing.T, suite Suite) {
	const rounds = 25
	handles := suite.handles(t)
	ctx := soon(t)
	for round := range rounds {
		key := keyOf(t, "https://a.example/"+strconv.Itoa(round), "")
		first := newItem(key)
		mustPut(t, handles[0], first)
		put := &item{key, []byte("new"), first.revision}
		var putErr, deleteErr error
		begin := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			<-begin
			putErr = put.put(ctx, handles[len(handles)-1])
		})
		wg.Go(func() {
			<-begin
			deleteErr = handles[0].Delete(ctx, key, first.revision)
		})
		close(begin)
		wg.Wait()
		switch {
		case putErr == nil:
			wantError(t, "Delete beside a Put", deleteErr, store.ErrConflict)
			wantStored(t, handles[0], put)
		case deleteErr == nil:
			wantError(t, "Put beside a Delete", putErr, store.ErrConflict)
			wantAbsent(t, handles[0], key)
		default:
			t.Fatalf("both failed: Put %v, Delete %v", putErr, deleteErr)
		}
	}
}

// storm has workers increment a number, and checks that none of the increments is lost.
func storm(t *testing.T, suite Suite, each int, increment func(context.Context, store.Store, store.Key) error) {
	t.Helper()
	const workers = 8
	handles := suite.handles(t)
	first := &item{key: keyOf(t, "https://a.example", ""), value: []byte("0")}
	mustPut(t, handles[0], first)
	ctx := soon(t)
	var wg sync.WaitGroup
	for worker := range workers {
		s := handles[worker%len(handles)]
		wg.Go(func() {
			for range each {
				if err := increment(ctx, s, first.key); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := string(mustGet(t, handles[0], first.key).value); got != strconv.Itoa(workers*each) {
		t.Errorf("%s of %d increments are left", got, workers*each)
	}
}

func increment(ctx context.Context, s store.Store, key store.Key) error {
	value, revision, err := s.Get(ctx, key)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(string(value))
	if err != nil {
		return err
	}
	_, err = s.Put(ctx, key, []byte(strconv.Itoa(n+1)), revision)
	return err
}

// What one handle does, the other sees at once.
func testSecondHandle(t *testing.T, suite Suite) {
	if suite.Reopen == nil {
		t.Skip("there is no second handle")
	}
	handles := suite.handles(t)
	a, b := handles[0], handles[1]
	i := newItem(keyOf(t, "https://a.example", ""))
	mustPut(t, a, i)
	wantStored(t, b, i)
	seen := mustGet(t, b, i.key)
	mustPut(t, b, seen)
	wantError(t, "Put of what the other has replaced", i.put(t.Context(), a), store.ErrConflict)
	wantError(t, "Delete of what the other has replaced", a.Delete(t.Context(), i.key, i.revision), store.ErrConflict)
	wantError(t, "Delete", a.Delete(t.Context(), i.key, seen.revision), nil)
	wantAbsent(t, b, i.key)
}
