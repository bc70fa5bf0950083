package pgstore

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp/store"
)

const (
	// schemaLock is the advisory lock under which the schema is created.
	schemaLock int64 = 0x68616e6473746d70

	// How often a lock that is held elsewhere is looked at: soon at first, and then rarely.
	firstPoll = 10 * time.Millisecond
	lastPoll  = 250 * time.Millisecond

	// leaseTime is how long a lock that is a row lasts after it was extended last.
	leaseTime   = time.Minute
	leaseExtend = leaseTime / 4

	// unlockTimeout bounds the release of a lock, which ends by itself where that fails.
	unlockTimeout = 5 * time.Second
)

// lockName names a lock of the database.
type lockName struct {
	id   string
	name store.LockName
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
		try = s.db.tryTransaction
	}
	for wait := firstPoll; ; wait = min(2*wait, lastPoll) {
		unlock, err := try(ctx, lock)
		if err != nil {
			leave()
			return nil, err
		}
		if unlock != nil {
			return sync.OnceFunc(func() {
				unlock()
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

// tryTransaction takes an advisory lock in a transaction that stays open; unlock is nil if another
// holds it.
func (db *Database) tryTransaction(ctx context.Context, lock lockName) (unlock func(), err error) {
	conn, err := db.refresh.Acquire(ctx)
	if err != nil {
		return nil, unusable(ctx, err)
	}
	// Not begun with ctx, which may end while the lock is held.
	tx, held, err := begin(ctx, conn, lock)
	if err == nil && held {
		return func() { end(conn, tx) }, nil
	}
	end(conn, tx)
	if err != nil {
		return nil, unusable(ctx, err)
	}
	return nil, nil
}

// begin begins the transaction. A server that ends idle transactions does not end this one, and
// one whose client's machine has vanished ends it within half a minute.
func begin(ctx context.Context, conn *pgxpool.Conn, lock lockName) (tx pgx.Tx, held bool, err error) {
	tx, err = conn.Begin(ctx)
	if err != nil {
		return nil, false, err
	}
	var batch pgx.Batch
	for _, setting := range []string{
		"idle_in_transaction_session_timeout = 0", "tcp_keepalives_idle = 10",
		"tcp_keepalives_interval = 5", "tcp_keepalives_count = 3",
	} {
		batch.Queue("SET LOCAL " + setting)
	}
	batch.Queue("SELECT pg_try_advisory_xact_lock($1)", number(lock)).QueryRow(
		func(row pgx.Row) error { return row.Scan(&held) })
	err = tx.SendBatch(ctx, &batch).Close()
	return tx, held, err
}

// end ends the transaction, if there is one, and gives the connection back.
func end(conn *pgxpool.Conn, tx pgx.Tx) {
	defer conn.Release() // which closes it if it is still in the transaction
	if tx == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), unlockTimeout)
	defer cancel()
	_ = tx.Rollback(ctx)
}

// number returns the advisory lock of a name. That two names have the same one is as good as
// impossible, and would make one wait for the other.
func number(lock lockName) int64 {
	return int64(binary.BigEndian.Uint64([]byte(lock.id))) // of a hash
}

// tryLease takes a lock that is a row; unlock is nil if another holds it.
func (db *Database) tryLease(ctx context.Context, lock lockName) (unlock func(), err error) {
	l := &lease{db: db, lock: lock, holder: rand.Text()}
	var taken bool
	err = db.pool.QueryRow(ctx, "INSERT INTO handstamp_lease (id, name, holder, expires_at) "+
		"VALUES ($1, $2, $3, now() + $4) ON CONFLICT (id, name) DO UPDATE "+
		"SET holder = excluded.holder, expires_at = excluded.expires_at "+
		"WHERE handstamp_lease.expires_at < now() RETURNING true",
		[]byte(lock.id), string(lock.name), l.holder, leaseTime).Scan(&taken)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		// It may be taken all the same, and would be in the way until it expires.
		l.release()
		return nil, unusable(ctx, err)
	}
	extending, stop := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() { l.extend(extending) })
	return func() {
		stop()
		ended.Wait()
		l.release()
	}, nil
}

// lease is a lock that is a row, and is held.
type lease struct {
	db     *Database
	lock   lockName
	holder string
}

// extend extends the lease until ctx ends.
func (l *lease) extend(ctx context.Context) {
	ticker := time.NewTicker(leaseExtend)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			// What fails is tried again with the next tick, of which a lease outlasts three.
			_, _ = l.db.pool.Exec(ctx, "UPDATE handstamp_lease SET expires_at = now() + $4 "+
				"WHERE id = $1 AND name = $2 AND holder = $3",
				[]byte(l.lock.id), string(l.lock.name), l.holder, leaseTime)
		}
	}
}

// release gives the lease up.
func (l *lease) release() {
	ctx, cancel := context.WithTimeout(context.Background(), unlockTimeout)
	defer cancel()
	_, _ = l.db.pool.Exec(ctx, "DELETE FROM handstamp_lease "+
		"WHERE id = $1 AND name = $2 AND holder = $3",
		[]byte(l.lock.id), string(l.lock.name), l.holder)
}
