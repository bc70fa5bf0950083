package pgstore

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp/store"
)

// The lock of a refresh is an advisory lock of a transaction: it ends with its holder, and not
// before. But it also ends with the connection, as when the server is restarted, fails over, or the
// network is cut; and then its holder may still be waiting for the new refresh token, or for the
// server to store it, while another replica would send the old one. So the first write under the
// lock, which is that a refresh begins, adds a lease, which outlasts the server. Whoever finds the
// advisory lock free and a lease there waits until it is given up, or is not extended any more.
const (
	holderExtend = time.Second     // is when a holder extends its lease, if the refresh takes so long
	orphanTime   = 6 * time.Second // without an extension, after which the holder is taken for dead
	holderLease  = 2 * time.Minute // after which it is dead, whoever has not looked before
)

// errLockLost is what a write under a lock returns that was lost, and taken by another.
var errLockLost error = unusableError("the lock of the refresh was lost with its connection, " +
	"and another replica has taken it; try again")

// refreshLock is the lock of a refresh, and is held.
type refreshLock struct {
	lease
	conn     *pgxpool.Conn
	leave    func() // has another refresh at the server have a connection
	replaces string // the holder whose lease was found without extension

	mu     sync.Mutex
	leased bool   // guarded by mu; there may be a lease
	stop   func() // guarded by mu; ends the extension of the lease; nil: it is not extended
	ended  bool   // guarded by mu; the lock was released
}

// refreshWait is the wait for the lock of a refresh.
type refreshWait struct {
	db     *Database
	server string
	failed int // connections that were broken
}

// orphan is a lease beside a free lock: its holder may be dead.
type orphan struct {
	holder  string
	expires time.Time
	looked  time.Time     // when this process has found it last
	watched time.Duration // without an extension, and without long pauses between two looks
}

// try takes an advisory lock in a transaction that stays open; unlock is nil if another holds it.
func (w *refreshWait) try(ctx context.Context, lock lockName) (unlock func(), err error) {
	leave, err := w.db.refreshes.Lock(ctx, w.server)
	if err != nil {
		return nil, unusable(ctx, err)
	}
	conn, err := w.db.refresh.Acquire(ctx)
	if err != nil {
		leave()
		w.db.lookFailed(ctx, lock)
		return nil, unusable(ctx, err)
	}
	l := &refreshLock{conn: conn, leave: leave, lease: lease{
		db: w.db, lock: lock, holder: rand.Text(), lasts: holderLease, each: holderExtend,
	}}
	held, found, err := l.begin(ctx)
	if err != nil {
		w.db.lookFailed(ctx, lock)
	}
	switch {
	case err == nil && held && w.db.isFree(lock, found):
		l.replaces = found.holder
		w.db.keepLock(l)
		return l.unlock, nil
	case err != nil && ctx.Err() == nil && broken(err) && w.failed < maxBroken:
		w.failed++ // as all connections are after a restart
		err = nil
	}
	l.end(false)
	if err != nil {
		return nil, unusable(ctx, err)
	}
	return nil, nil
}

// maxBroken is how many broken connections a wait for a lock puts up with.
const maxBroken = 10

// isFree reports whether the lease that was found is none, or was not extended for long enough. That
// may be longer than one caller waits, so that it counts from the first who has found it. A pause
// between two looks counts little: the database may have been down, for the holder, too.
func (db *Database) isFree(lock lockName, found orphan) bool {
	if found.holder == "" {
		return true
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	now := time.Now()
	seen := db.orphans[lock]
	if seen.holder != found.holder || !seen.expires.Equal(found.expires) {
		// Those that nothing waits for any more are not kept: they have ended by now.
		maps.DeleteFunc(db.orphans, func(_ lockName, o orphan) bool { return now.Sub(o.looked) > holderLease })
		seen = orphan{holder: found.holder, expires: found.expires, looked: now}
	}
	seen.watched += min(now.Sub(seen.looked), holderExtend)
	seen.looked = now
	db.orphans[lock] = seen
	return seen.watched >= orphanTime
}

// lookFailed has the watch of an orphan start again, unless it was the caller who did not wait: the
// holder needs the database, too.
func (db *Database) lookFailed(ctx context.Context, lock lockName) {
	if ctx.Err() != nil {
		return
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	delete(db.orphans, lock)
}

// begin begins the transaction, and reports whether it has the lock, and which lease there is: all in
// one round trip, since the connection is one of a few. A server that ends idle transactions does not
// end this one, and one whose client's machine has vanished ends it within half a minute.
func (l *refreshLock) begin(ctx context.Context) (held bool, found orphan, err error) {
	var batch pgx.Batch
	batch.Queue("BEGIN ISOLATION LEVEL READ COMMITTED")
	batch.Queue("SELECT pg_try_advisory_xact_lock($1)", number(l.lock)).QueryRow(
		func(row pgx.Row) error { return row.Scan(&held) })
	// After the lock was taken, so that it sees what the holder before has left.
	batch.Queue("SELECT holder, expires_at FROM handstamp_lease "+
		"WHERE id = $1 AND name = $2 AND expires_at > now()", []byte(l.lock.id), string(l.lock.name)).
		QueryRow(func(row pgx.Row) error {
			err := row.Scan(&found.holder, &found.expires)
			if errors.Is(err, pgx.ErrNoRows) {
				return nil
			}
			return err
		})
	batch.Queue("SELECT set_config('tcp_keepalives_idle', '10', true), " +
		"set_config('tcp_keepalives_interval', '5', true), set_config('tcp_keepalives_count', '3', true), " +
		"set_config('synchronous_commit', 'off', true)")
	// Last and no query, which would keep its snapshot until the next statement: VACUUM removes nothing
	// newer.
	batch.Queue("SET LOCAL idle_in_transaction_session_timeout = 0")
	err = l.conn.SendBatch(ctx, &batch).Close()
	return held, found, err
}

// number returns the advisory lock of a name. That two names have the same one is as good as
// impossible, and would make one wait for the other.
func number(lock lockName) int64 {
	return int64(binary.BigEndian.Uint64([]byte(lock.id))) // of a hash
}

// keepLock notes a lock that is held, for writes under it.
func (db *Database) keepLock(l *refreshLock) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.held[l.lock.id] = l
	delete(db.orphans, l.lock)
}

// holds returns the lock of the refresh of a credential, if this process holds it.
func (db *Database) holds(id []byte) *refreshLock {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.held[string(id)]
}

// put is the write of a value under the lock. The first one adds the lease.
func (l *refreshLock) put(ctx context.Context, w *put, row []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stop != nil || l.ended {
		return l.db.update(ctx, w, row)
	}
	l.leased = true // whatever comes of it
	query, args := w.scheduled(`
			UPDATE handstamp_credential SET value = $2, revision = $3, written_at = now()
			WHERE id = $1 AND revision IN ($3, $4) AND NOT EXISTS (
				SELECT FROM handstamp_lease WHERE id = $1 AND name = $7
				AND holder NOT IN ($5, $6) AND expires_at > now())`,
		w.id, row, w.to, w.from, l.holder, l.replaces, string(l.lock.name), l.lasts)
	rows, err := l.db.write(ctx, query+`
		INSERT INTO handstamp_lease (id, name, holder, expires_at)
		SELECT id, $7, $5, now() + $8 FROM written
		ON CONFLICT (id, name) DO UPDATE
		SET holder = excluded.holder, expires_at = excluded.expires_at`, args...)
	switch {
	case err != nil:
		return err
	case rows > 0:
		l.stop = l.keep()
		return nil
	}
	return l.lostOr(ctx, store.ErrConflict)
}

// lostOr returns errLockLost if another replica has the lock now, and else the given error.
func (l *refreshLock) lostOr(ctx context.Context, otherwise error) error {
	var lost bool
	err := l.db.read(ctx, func(conn session) error {
		return conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM handstamp_lease WHERE id = $1 "+
			"AND name = $2 AND holder NOT IN ($3, $4) AND expires_at > now())",
			[]byte(l.lock.id), string(l.lock.name), l.holder, l.replaces).Scan(&lost)
	})
	switch {
	case err != nil:
		return err
	case lost:
		return errLockLost
	}
	return otherwise
}

// unlock gives the lock up.
func (l *refreshLock) unlock() {
	l.db.mu.Lock()
	if l.db.held[l.lock.id] == l {
		delete(l.db.held, l.lock.id)
	}
	l.db.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true // for a put that has looked for the lock before
	if l.stop != nil {
		l.stop()
	}
	if !l.end(l.leased || l.replaces != "") && l.leased {
		l.release() // the transaction was lost
	}
}

// end ends the transaction, if there is one, with the lease, and gives the connection back. It
// reports whether the lease is gone.
func (l *refreshLock) end(leased bool) (done bool) {
	defer l.leave()
	defer l.conn.Release()                        // which closes it if it is still in the transaction
	if l.conn.Conn().PgConn().TxStatus() == 'I' { // idle: there is none
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), unlockTimeout)
	defer cancel()
	if !leased {
		_, err := l.conn.Exec(ctx, "ROLLBACK")
		return err == nil
	}
	var batch pgx.Batch
	batch.Queue("DELETE FROM handstamp_lease WHERE id = $1 AND name = $2 AND holder IN ($3, $4)",
		[]byte(l.lock.id), string(l.lock.name), l.holder, l.replaces)
	batch.Queue("COMMIT")
	return l.conn.SendBatch(ctx, &batch).Close() == nil
}
