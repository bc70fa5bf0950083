// Package store is the contract between Handstamp and the place where it keeps
// credentials: one Record per Key, written whole, compared before it is
// replaced.
//
// Memory is the reference implementation and the one to read first. Package
// filestore keeps one file per credential. Package storetest is the suite that
// every implementation, ours or yours, has to pass.
package store

import (
	"context"
	"errors"
)

// Errors that every Store returns, possibly wrapped. Test with errors.Is.
var (
	// ErrNotFound: there is no record under the key.
	ErrNotFound = errors.New("store: no such credential")

	// ErrConflict: the stored generation is not the one the caller read, so
	// somebody else wrote in between. Nothing was changed. Read again, decide
	// again.
	ErrConflict = errors.New("store: credential changed meanwhile")

	// ErrCorrupt: the stored bytes are no record. The store has set them aside
	// (see the error's text for where) and the key now reads as not found. A
	// store that can go back to the record before does so, and says so in
	// another way than by this error.
	ErrCorrupt = errors.New("store: credential is corrupt")

	// ErrUnusable: the store cannot be used at all: a folder of another owner,
	// a read-only disk, no room. Credentials are as they were.
	ErrUnusable = errors.New("store: cannot be used")

	// ErrNewer: the record was written by a version of Handstamp with a newer
	// schema. It can be read, but not replaced.
	ErrNewer = errors.New("store: credential was written by a newer version")
)

// Store keeps records. All methods may be called from any number of
// goroutines, and a durable store's from any number of processes.
//
// A Store returns records that the caller owns: changing one changes nothing in
// the store.
type Store interface {
	// Get returns the record under key, or ErrNotFound. A record that cannot be
	// decoded is set aside and reported as ErrCorrupt, once; it concerns this
	// key only.
	Get(ctx context.Context, key Key) (*Record, error)

	// Put stores r under r.Key, if the stored generation equals r.Generation
	// (0: nothing is stored); otherwise it returns ErrConflict. On success it
	// sets r.Generation to the new generation, which is greater and was never
	// given before under this key, with r.Version and r.UpdatedAt, and r is
	// durable: it survives a crash of the machine in any durable store. On
	// failure the stored record is unchanged, and so is r. A record of a newer
	// version is neither stored nor replaced: ErrNewer.
	//
	// A started Put is not abandoned because ctx ends: ctx bounds waiting, not
	// writing.
	Put(ctx context.Context, r *Record) error

	// Delete removes the record under key if its generation is generation;
	// otherwise it returns ErrConflict. Deleting what is not there is no error.
	Delete(ctx context.Context, key Key, generation uint64) error

	// List returns the keys of all records, ordered by server, then profile.
	List(ctx context.Context) ([]Key, error)

	// Lock waits until the caller alone holds the named lock of key, or until
	// ctx ends, and returns what releases it. Unlock is safe to call twice.
	//
	// The lock serialises the renewal of a credential; it does not protect
	// records, which Put's comparison does. It is released by the system when
	// its holder dies. A store that cannot promise that a lock stays held (a
	// lease) says so, and is the reason why generations exist.
	Lock(ctx context.Context, key Key, name LockName) (unlock func(), err error)
}

// LockName tells the locks of one credential apart. They are independent. It is
// made of lower-case letters.
type LockName string

const (
	// LockRefresh is held while a refresh token is spent and its successor
	// stored. It is never held while a person is waited for.
	LockRefresh LockName = "refresh"

	// LockLogin is the claim to be the one who signs in. It is held for as long
	// as a person needs.
	LockLogin LockName = "login"

	// LockRefreshHelper and LockLoginHelper are held by a process that waits for
	// the helper it has started to do the one or the other, so that one helper is
	// enough. The helper holds LockRefresh and LockLogin.
	LockRefreshHelper LockName = "refreshhelper"
	LockLoginHelper   LockName = "loginhelper"
)

// Reserver is an optional power of a Store: to make sure that a record can be
// written before something unrepeatable is done to get it.
type Reserver interface {
	// Reserve sets room aside for a record of up to size bytes under key. It
	// fails with ErrUnusable where there is none.
	Reserve(ctx context.Context, key Key, size int) (Reservation, error)
}

// Reservation is room for one Put. Its owner either uses or releases it.
type Reservation interface {
	// Put is Store.Put, into the reserved room.
	Put(ctx context.Context, r *Record) error

	// Release gives unused room back. It may be called after Put, and twice.
	Release()
}
