package pgstore

import (
	"context"
	"math/rand/v2"
	"net/url"
	"sync"
	"time"

	"github.com/handstamp/handstamp/store"
)

const (
	// schemaLock is the advisory lock under which the schema is created.
	schemaLock int64 = 0x68616e6473746d70

	// How often a lock that is held elsewhere is looked at: soon at first, and then rarely.
	firstPoll = 10 * time.Millisecond
	lastPoll  = 250 * time.Millisecond

	// unlockTimeout bounds the release of a lock, which ends by itself where that fails.
	unlockTimeout = 5 * time.Second
)

// lockName names a lock of the database.
type lockName struct {
	id   string
	name store.LockName
}

// hostOf returns the host of a key's server: its authorization server is mostly that of all its paths.
func hostOf(key store.Key) string {
	u, err := url.Parse(key.Server)
	if err != nil {
		return ""
	}
	return u.Host
}

// Lock implements [store.Store].
func (s *ownedStore) Lock(
	ctx context.Context, key store.Key, name store.LockName,
) (unlock func(), err error) {
	lock := lockName{string(s.id(key)), name}
	// Of the goroutines of this process, one at a time polls the database.
	leave, err := s.db.waits.Lock(ctx, lock)
	if err != nil {
		return nil, err
	}
	try := s.db.tryLease
	if name == store.LockRefresh {
		try = (&refreshWait{db: s.db, server: hostOf(key)}).try
	}
	for wait := firstPoll; ; wait = min(2*wait, lastPoll) {
		unlock, err := try(ctx, lock)
		if err == nil && unlock != nil {
			return sync.OnceFunc(func() {
				unlock()
				leave()
			}), nil
		}
		if err == nil {
			err = pause(ctx, wait/2+rand.N(wait))
		}
		if err != nil {
			leave()
			return nil, err
		}
	}
}
