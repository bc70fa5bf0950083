package redisstore

import (
	"context"
	"crypto/rand"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/handstamp/handstamp/store"
)

const (
	// LeaseTime is how long a lock lasts after its holder has extended it last, and how long
	// others wait after a holder's process was killed. It is three times what the requests of one
	// refresh may take.
	LeaseTime = 105 * time.Second

	// extensions is how many times a lease is extended in its time.
	extensions = 7

	// How often a lock that is held elsewhere is looked at: soon at first, and then rarely.
	firstPoll = 10 * time.Millisecond
	lastPoll  = 250 * time.Millisecond

	// unlockTimeout bounds the release of a lock, which expires where that fails.
	unlockTimeout = 5 * time.Second
)

var (
	// takeScript takes a lock that is free, or that it took before a connection broke.
	takeScript = redis.NewScript(`
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`)

	// extendScript extends a lock, if it is still the holder's.
	extendScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`)

	// releaseScript releases a lock, if it is still the holder's.
	releaseScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`)
)

func (s *ownedStore) lockKey(key store.Key, name store.LockName) string {
	return s.slot + ":lock:" + string(name) + ":" + key.ID()
}

// Lock implements [store.Store].
func (s *ownedStore) Lock(
	ctx context.Context, key store.Key, name store.LockName,
) (unlock func(), err error) {
	lock := s.lockKey(key, name)
	// Of the goroutines of this process, one at a time polls the database.
	leave, err := s.db.waits.Lock(ctx, lock)
	if err != nil {
		return nil, err
	}
	l := &lease{db: s.db, name: lock, holder: rand.Text()}
	for wait := firstPoll; ; wait = min(2*wait, lastPoll) {
		taken, err := l.take(ctx)
		if err != nil {
			leave()
			return nil, err
		}
		if taken {
			return sync.OnceFunc(func() {
				l.end()
				leave()
			}), nil
		}
		select {
		case <-time.After(wait/2 + mathrand.N(wait)):
		case <-ctx.Done():
			leave()
			return nil, ctx.Err()
		}
	}
}

// lease is a lock that expires unless it is extended.
type lease struct {
	db     *Database
	name   string
	holder string

	stop  context.CancelFunc
	ended sync.WaitGroup
}

// take takes the lock if it is free, and begins to extend it.
func (l *lease) take(ctx context.Context) (taken bool, err error) {
	taken, err = l.db.run(ctx, often, takeScript, []string{l.name}, l.holder, l.db.lease.Milliseconds())
	if err != nil {
		l.release() // it may be taken all the same
		return false, unusable(ctx, err)
	}
	if !taken {
		return false, nil
	}
	extending, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.ended.Go(func() { l.extend(extending) })
	return true, nil
}

// extend extends the lock until ctx ends.
func (l *lease) extend(ctx context.Context) {
	ticker := time.NewTicker(l.db.lease / extensions)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			// What fails is tried again with the next tick, of which a lease outlasts several.
			lease := l.db.lease.Milliseconds()
			_ = extendScript.Run(ctx, l.db.client, []string{l.name}, l.holder, lease).Err()
		}
	}
}

// end gives the lock up.
func (l *lease) end() {
	l.stop()
	l.ended.Wait()
	l.release()
}

func (l *lease) release() {
	ctx, cancel := context.WithTimeout(context.Background(), unlockTimeout)
	defer cancel()
	_ = releaseScript.Run(ctx, l.db.client, []string{l.name}, l.holder).Err()
}
