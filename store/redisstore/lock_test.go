//go:build unix

package redisstore_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/redisstore"
	"github.com/handstamp/handstamp/store/sealed"
)

// shortLease is the lease of tests: what is suspended longer loses its locks.
const shortLease = 700 * time.Millisecond

// lockWithin returns the error of a wait for the lock, which is given back.
func lockWithin(t *testing.T, s store.Store, d time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	unlock, err := s.Lock(ctx, lockedKey, store.LockRefresh)
	if err == nil {
		unlock()
	}
	return err
}

// sealedAt returns ada's store as a puppet has it.
func sealedAt(t *testing.T, server *servicetest.Redis) store.Store {
	t.Helper()
	o := redisstore.Options{Keys: []sealed.Key{newKey(t, 0)}}
	return storeOf(t, open(t, newClient(t, addresses(server)), o), ada)
}

// The clock of the server counts the time of a lease, which is three times what the requests of a
// refresh may take, and no value has one.
func TestWhatExpires(t *testing.T) {
	const refresh = 35 * time.Second // of the requests of a refresh, in package handstamp
	if redisstore.LeaseTime < 3*refresh {
		t.Errorf("LeaseTime is %v", redisstore.LeaseTime)
	}
	server := servicetest.StartRedis(t)
	client := newClient(t, addresses(server))
	db := open(t, client, redisstore.Options{})
	s := storeOf(t, db, ada)
	mustPut(t, s, lockedKey, "kept", "")
	unlock, err := s.Lock(t.Context(), lockedKey, store.LockRefresh)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	lock := db.LockKey(ada, lockedKey, store.LockRefresh)
	if left := client.PTTL(t.Context(), lock).Val(); left < time.Minute || left > redisstore.LeaseTime {
		t.Errorf("the lock expires in %v", left)
	}
	for _, key := range client.Keys(t.Context(), "*").Val() {
		if left := client.PTTL(t.Context(), key).Val(); key != lock && left != -1 {
			t.Errorf("%s expires in %v", key, left)
		}
	}
}

// A lock lasts longer than its lease while its holder is alive, as long as the lease when the
// holder was killed.
func TestLeaseIsExtended(t *testing.T) {
	// A process on a busy machine extends it late, and in time all the same.
	const lease = 6 * time.Second
	server := servicetest.StartRedis(t)
	client := newClient(t, addresses(server))
	db := open(t, client, redisstore.Options{Keys: []sealed.Key{newKey(t, 0)}})
	s, lock := storeOf(t, db, ada), db.LockKey(ada, lockedKey, store.LockRefresh)
	holder := startPuppet(t, puppetJob{Place: placeOf(t, addresses(server)), Lease: lease})
	holder.do("lock")
	last, extensions := lease, 0
	proctest.Wait(t, testenv.Timeout, "the lease is extended twice", func() bool {
		left := client.PTTL(t.Context(), lock).Val()
		if left > last {
			extensions++
		}
		last = left
		return extensions == 2
	})
	if err := lockWithin(t, s, lease+time.Second); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside a holder that is alive: %v", err)
	}
	holder.signal(syscall.SIGKILL)
	if err := lockWithin(t, s, testenv.Timeout); err != nil {
		t.Errorf("after the holder was killed: %v", err)
	}
}

// A holder that is suspended for less than the lease still has the lock afterwards.
func TestSuspendedForLessThanTheLease(t *testing.T) {
	const lease, less = time.Minute, time.Second
	server := servicetest.StartRedis(t)
	s := sealedAt(t, server)
	holder := startPuppet(t, puppetJob{Place: placeOf(t, addresses(server)), Lease: lease})
	holder.do("lock")
	holder.signal(syscall.SIGSTOP)
	if err := lockWithin(t, s, less); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside a suspended holder: %v", err)
	}
	holder.signal(syscall.SIGCONT)
	holder.do("put by the holder")
	if err := lockWithin(t, s, less); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside a holder that goes on: %v", err)
	}
	holder.do("unlock")
	if err := lockWithin(t, s, testenv.Timeout); err != nil {
		t.Errorf("after the holder: %v", err)
	}
	if value, _, err := s.Get(t.Context(), lockedKey); string(value) != "by the holder" || err != nil {
		t.Errorf("Get = %q, %v", value, err)
	}
}

// A holder that is suspended for longer than the lease overwrites nothing afterwards, and does not
// release the lock of whoever has it then.
func TestSuspendedForLongerThanTheLease(t *testing.T) {
	server := servicetest.StartRedis(t)
	s := sealedAt(t, server)
	revision := mustPut(t, s, lockedKey, "before", "")
	holder := startPuppet(t, puppetJob{Place: placeOf(t, addresses(server)), Lease: shortLease})
	holder.do("lock")
	holder.do("get")
	holder.signal(syscall.SIGSTOP)
	unlock, err := s.Lock(t.Context(), lockedKey, store.LockRefresh) // once the lease has expired
	if err != nil {
		t.Fatal(err)
	}
	revision = mustPut(t, s, lockedKey, "by the second holder", revision)
	holder.signal(syscall.SIGCONT)
	holder.order("put by the first holder")
	holder.want("conflict")
	holder.do("unlock")
	if err := lockWithin(t, sealedAt(t, server), shortLease); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the lock of the second holder: %v", err)
	}
	unlock()
	if value, now, err := s.Get(t.Context(), lockedKey); string(value) != "by the second holder" || now != revision {
		t.Errorf("Get = %q, %v", value, err)
	}
}

// A process that is suspended in the middle of a write, for longer than a write may take, writes
// when it goes on: the value may be the only copy of a refresh token.
func TestSuspendedInAWrite(t *testing.T) {
	server := servicetest.StartRedis(t)
	s := sealedAt(t, server)
	const write = 3 * time.Second // enough for the first value, on a busy machine too
	writer := startPuppet(t, puppetJob{Place: placeOf(t, addresses(server)), Write: write})
	writer.order("put first") // connected, and the server has the script
	writer.want("writing")
	writer.want("ok")
	server.Signal(syscall.SIGSTOP)
	writer.order("put second")
	writer.want("writing")
	writer.signal(syscall.SIGSTOP)
	time.Sleep(write + time.Second) // what is tested is that this time passes
	server.Kill()                   // with what it has not read
	server.Start()
	writer.signal(syscall.SIGCONT)
	writer.want("ok")
	if value, _, err := s.Get(t.Context(), lockedKey); string(value) != "second" || err != nil {
		t.Errorf("Get = %q, %v", value, err)
	}
}
