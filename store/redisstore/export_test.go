package redisstore

import (
	"time"

	"github.com/handstamp/handstamp/store"
)

// SetLease makes locks last for a shorter time than [LeaseTime].
func (db *Database) SetLease(lease time.Duration) { db.lease = lease }

// ValueKey returns the key in Redis of a credential's value.
func (db *Database) ValueKey(o store.Owner, key store.Key) string {
	return (&ownedStore{db: db, slot: db.slot(o)}).valueKey(key)
}

// LockKey returns the key in Redis of a lock of a credential.
func (db *Database) LockKey(o store.Owner, key store.Key, name store.LockName) string {
	return (&ownedStore{db: db, slot: db.slot(o)}).lockKey(key, name)
}
