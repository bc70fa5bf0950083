//go:build unix

package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/redisstore"
)

// soonEnough is more than a write waits for replicas, and less than a refresh takes at most.
const soonEnough = 15 * time.Second

// A write that no replica has is an error in time, and so is a lock: the refresh token is not used
// whose successor could be lost. Once the replica is there again, everything goes on.
func TestReplicaThatDoesNotFollow(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(r *servicetest.Redis) (again func()){
		"is gone": func(r *servicetest.Redis) func() {
			r.Kill()
			return r.Start
		},
		"hangs": func(r *servicetest.Redis) func() {
			r.Signal(syscall.SIGSTOP)
			return func() { r.Signal(syscall.SIGCONT) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := servicetest.StartRedisGroup(t, 1)
			db := open(t, newClient(t, group(g)), redisstore.Options{Replicas: 1})
			s := storeOf(t, db, ada)
			revision := mustPut(t, s, lockedKey, "before", "")
			again := stop(g.Replicas[0])
			began := time.Now()
			if _, err := s.Put(t.Context(), lockedKey, []byte("unknown"), revision); !errors.Is(err, store.ErrUnusable) {
				t.Errorf("Put = %v", err)
			}
			if d := time.Since(began); d > soonEnough {
				t.Errorf("Put took %v", d)
			}
			if _, err := s.Lock(t.Context(), lockedKey, store.LockRefresh); !errors.Is(err, store.ErrUnusable) {
				t.Errorf("Lock = %v", err)
			}
			again()
			unlock := lockSoon(t, s) // was not left behind
			defer unlock()
			value, revision, err := s.Get(t.Context(), lockedKey)
			if text := string(value); text != "before" && text != "unknown" || err != nil {
				t.Errorf("Get = %q, %v", value, err)
			}
			mustPut(t, s, lockedKey, "after", revision)
		})
	}
}

// lockSoon takes the lock, once replicas have caught up.
func lockSoon(t *testing.T, s store.Store) (unlock func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		unlock, err := s.Lock(ctx, lockedKey, store.LockRefresh)
		if err == nil {
			return unlock
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// The primary server is killed right after a write: what all replicas have acknowledged is at the
// one that takes its place, and so is the lock. The same client goes on.
func TestFailover(t *testing.T) {
	g := servicetest.StartRedisGroup(t, 2)
	client := newClient(t, group(g))
	s := storeOf(t, open(t, client, redisstore.Options{Replicas: 2}), ada)
	afterwards := storeOf(t, open(t, client, redisstore.Options{Replicas: 1}), ada)
	const keys = 50
	kept := make(map[store.Key]store.Revision)
	for i := range keys {
		key := store.Key{Server: fmt.Sprint("https://", i, ".example"), Profile: store.DefaultProfile}
		kept[key] = mustPut(t, s, key, key.Server, "")
	}
	unlock, err := s.Lock(t.Context(), lockedKey, store.LockRefresh)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	revision := mustPut(t, s, lockedKey, "acknowledged last", "")
	killed := time.Now()
	g.Failover()
	// A write that begins now goes on until its client has found the new primary server.
	revision = mustPut(t, afterwards, lockedKey, "written after it", revision)
	t.Logf("a write succeeded %v after the primary server was killed", time.Since(killed).Round(time.Millisecond))
	for key, revision := range kept {
		if value, now, err := s.Get(t.Context(), key); string(value) != key.Server || now != revision || err != nil {
			t.Errorf("%v: %q, %v", key, value, err)
		}
	}
	if value, now, err := s.Get(t.Context(), lockedKey); string(value) != "written after it" || now != revision || err != nil {
		t.Errorf("Get = %q, %v", value, err)
	}
	other := storeOf(t, open(t, newClient(t, group(g)), redisstore.Options{Replicas: 1}), ada)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := other.Lock(ctx, lockedKey, store.LockRefresh); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the lock of the primary server that is gone: %v", err)
	}
}
