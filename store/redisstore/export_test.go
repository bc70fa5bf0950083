//go:build unix

package redisstore

import (
	"time"

	"github.com/handstamp/handstamp/store"
)

// SetLease makes locks last for a shorter time than [LeaseTime].
func (db *Database) SetLease(lease time.Duration) { db.lease = lease }

// SetWriteTimeout bounds a write to a shorter time than usual.
func (db *Database) SetWriteTimeout(d time.Duration) { db.writeTime = d }

// SetPoll has a watch that does not listen report more often.
func (db *Database) SetPoll(d time.Duration) { db.poll = d }

// ValueKey returns the key in Redis of a credential's value.
func (db *Database) ValueKey(o store.Owner, key store.Key) string {
	return newOwnedStore(db, o).valueKey(key)
}

// LockKey returns the key in Redis of a lock of a credential.
func (db *Database) LockKey(o store.Owner, key store.Key, name store.LockName) string {
	return newOwnedStore(db, o).lockKey(key, name)
}
