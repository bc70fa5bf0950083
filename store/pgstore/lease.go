package pgstore

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// leaseTime is how long a lock that is a row lasts after it was extended last.
	leaseTime   = time.Minute
	leaseExtend = leaseTime / 4
)

// tryLease takes a lock that is a row; unlock is nil if another holds it.
func (db *Database) tryLease(ctx context.Context, lock lockName) (unlock func(), err error) {
	l := &lease{db: db, lock: lock, holder: rand.Text(), lasts: leaseTime, each: leaseExtend}
	taken, err := db.write(ctx, "INSERT INTO handstamp_lease (id, name, holder, expires_at) "+
		"VALUES ($1, $2, $3, now() + $4) ON CONFLICT (id, name) DO UPDATE "+
		"SET holder = excluded.holder, expires_at = excluded.expires_at "+
		"WHERE handstamp_lease.expires_at < now() OR handstamp_lease.holder = $3",
		[]byte(lock.id), string(lock.name), l.holder, l.lasts)
	switch {
	case err == nil && taken == 0, errors.Is(err, errUnclear): // another's: its own it would find
		return nil, nil
	case err != nil:
		// It may be taken all the same, and would be in the way until it expires.
		l.release()
		return nil, err
	}
	stop := l.keep()
	return func() {
		stop()
		l.release()
	}, nil
}

// lease is a lock that is a row, and is held.
type lease struct {
	db     *Database
	lock   lockName
	holder string
	lasts  time.Duration // after it was extended
	each   time.Duration // is when it is extended
}

// keep extends the lease until stop is called, which waits for the last one.
func (l *lease) keep() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		ticker := time.NewTicker(l.each)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				l.extend(ctx)
			}
		}
	})
	return func() {
		cancel()
		ended.Wait()
	}
}

// extend extends the lease. Where that fails it is tried again soon: a lease lasts longer. It does not
// wait for the pool, whose connections may all be of a server that has vanished, and has closed none, or
// of one that no longer takes writes.
func (l *lease) extend(ctx context.Context) {
	soon, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	if l.extendOver(soon, l.db.pool) == nil || ctx.Err() != nil {
		return
	}
	config := l.db.pool.Config()
	config.MaxConns, config.MinConns, config.MinIdleConns = 1, 0, 0
	config.ConnConfig.ConnectTimeout = pingTimeout // of each host
	fresh, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return
	}
	defer func() { go fresh.Close() }() // which may take its time
	later, cancel := context.WithTimeout(ctx, max(l.each, unlockTimeout))
	defer cancel()
	_ = l.extendOver(later, fresh)
}

func (l *lease) extendOver(ctx context.Context, pool *pgxpool.Pool) error {
	_, err := pool.Exec(ctx, "UPDATE handstamp_lease SET expires_at = now() + $4 "+
		"WHERE id = $1 AND name = $2 AND holder = $3", l.db.unprepared,
		[]byte(l.lock.id), string(l.lock.name), l.holder, l.lasts)
	return err
}

// release gives the lease up.
func (l *lease) release() {
	ctx, cancel := context.WithTimeout(context.Background(), unlockTimeout)
	defer cancel()
	_, _ = l.db.write(ctx, "DELETE FROM handstamp_lease "+
		"WHERE id = $1 AND name = $2 AND holder = $3",
		[]byte(l.lock.id), string(l.lock.name), l.holder)
}
