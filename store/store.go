// Package store is the contract between Handstamp and the place where it keeps credentials:
// opaque values under keys, each with a revision that is compared before it is replaced, and
// locks. A store knows nothing of what is in a value.
//
// [Memory] is the reference implementation and the one to read first. Package filestore keeps
// one file per credential, and package sealed encrypts the values of another store. Package
// storetest is the suite that every implementation, ours or yours, has to pass; its example is a
// whole store in a few lines:
// https://pkg.go.dev/github.com/handstamp/handstamp/store/storetest#pkg-examples
package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/handstamp/handstamp/internal/errtype"
)

// Errors that every Store returns, possibly wrapped. Test with errors.Is.
var (
	// ErrNotFound reports that nothing is stored under the key.
	ErrNotFound = errors.New("store: no such credential")

	// ErrConflict reports that the stored revision is not the one that the caller read: another
	// caller wrote in between. Nothing was changed. Read again, decide again.
	ErrConflict = errors.New("store: credential changed meanwhile")

	// ErrCorrupt reports that the stored value is not the one that was put: bytes are missing,
	// changed or of another origin. The error's text states where they are now. A store that
	// can go back to the value before does so instead.
	ErrCorrupt = errors.New("store: credential is corrupt")

	// ErrUnusable reports that the store cannot be used at present: a folder of another owner, a
	// read-only or full disk, a database that cannot be reached. Credentials are as they were.
	ErrUnusable = errors.New("store: cannot be used")
)

// Revision identifies one Put of one key. It is opaque: compare it for equality only. The empty
// Revision stands for "nothing is stored".
//
// No two successful Puts of a key return the same Revision, not even with a Delete in between or
// after a crash. A counter in the value's own row starts again after Delete and is not enough; a
// random text, or a sequence that all keys share, is.
type Revision string

// Store keeps values. All methods may be called from any number of goroutines, and those of a
// durable store from any number of processes.
//
// # Values
//
// A value is any sequence of bytes, the empty one included, and comes back byte for byte. It has
// a few kilobytes, rarely more than 64 KiB; a Store takes at least 1 MiB. It holds tokens in the
// clear: a Store keeps other users from reading it, or encrypts it, and never logs it.
//
// Neither caller nor Store changes a slice that was passed between them: Put keeps a copy, and
// Get returns one.
//
// # Cancellation
//
// ctx bounds waiting, for a lock, a connection or a busy database. When it ends, a method that
// waits returns an error that wraps ctx.Err(). One that waits for nothing may ignore ctx; Lock may
// not. A Put that has begun to write finishes: a refresh token that was used up is replaced by the
// value at hand, and lost without it. A Put that returns an error although it cannot tell whether
// its value was stored is allowed, but not one that returns nil without its value stored.
//
// # Durability
//
// When Put or Delete returns nil, every later Get from any process sees it, and in a durable store
// it survives a crash of the machine. A replica that lags behind must not serve Get: it would bring
// back a refresh token that was used, and servers end the login for that.
type Store interface {
	// Get returns the value under key with its revision, or ErrNotFound.
	//
	// If the value is damaged it returns ErrCorrupt, and the revision with which Put or Delete
	// replaces the damage: empty if the Store has set the damaged value aside, so that nothing is
	// stored now. Damage concerns its own key only.
	Get(ctx context.Context, key Key) (value []byte, revision Revision, err error)

	// Put stores value under key if the stored revision is revision (empty: nothing is stored),
	// and returns its new revision. Otherwise it returns ErrConflict. Comparing and storing are
	// one step. On failure the stored value is unchanged, or, where a connection broke, is value.
	// A value that is larger than the Store takes is ErrUnusable.
	Put(ctx context.Context, key Key, value []byte, revision Revision) (Revision, error)

	// Delete removes the value under key if its revision is revision. Otherwise it returns
	// ErrConflict. Deleting what is not there is no error, whatever the revision.
	Delete(ctx context.Context, key Key, revision Revision) error

	// List returns the keys of all values, those of damaged ones included as far as they are
	// known, sorted by [Key.Compare].
	List(ctx context.Context) ([]Key, error)

	// Lock waits until the caller alone holds the named lock of key, or until ctx ends, and
	// returns the function that releases it, which may be called twice. With a ctx that has ended
	// before, it fails although the lock is free; that ctx ends afterwards does not release the
	// lock. Where the holder is known, the error wraps a [*BusyError].
	//
	// A lock keeps two processes from using the same refresh token, or opening two browsers. It
	// does not protect values: Put's comparison does, and Get, Put and Delete work while others
	// hold any lock. It ends with its holder's process at the latest. Where it can end earlier, as
	// a lease that expires does, it must outlast a request to a slow authorization server, a
	// minute, or be extended while it is held.
	Lock(ctx context.Context, key Key, name LockName) (unlock func(), err error)
}

// LockName tells the locks of one key apart. They are independent. It is made of lower-case
// letters.
type LockName string

const (
	// LockRefresh is held while a refresh token is used and its successor stored. It is never held
	// while a user has to do something.
	LockRefresh LockName = "refresh"

	// LockLogin is the claim to be the one who signs in. It is held for as long as the user
	// needs.
	LockLogin LockName = "login"

	// LockRefreshHelper and LockLoginHelper are held by a process that waits for the helper it has
	// started to do the one or the other, so that one helper is enough. The helper holds
	// LockRefresh and LockLogin.
	LockRefreshHelper LockName = "refreshhelper"
	LockLoginHelper   LockName = "loginhelper"
)

// Reserver is an optional ability of a Store: to make sure that a value can be stored before
// something is done that cannot be repeated. A Store whose writes fail for want of space, as on a
// disk, should have it.
type Reserver interface {
	// Reserve sets space aside for a value of up to size bytes under key. It fails with
	// ErrUnusable where there is none.
	Reserve(ctx context.Context, key Key, size int) (Reservation, error)
}

// Peeker is an optional ability of a Store whose Get repairs what is damaged.
type Peeker interface {
	// Peek is [Store.Get] that leaves everything as it is: a damaged value stays where it is, and
	// the error's text describes what is wrong with it. It waits for no lock.
	Peek(ctx context.Context, key Key) (value []byte, revision Revision, err error)
}

// Reservation is space for one Put. Its owner uses it, releases it, or both.
type Reservation interface {
	// Put is [Store.Put] of the reserved key, into the reserved space. A value that is larger, and
	// a second Put, are stored if there is other space.
	Put(ctx context.Context, value []byte, revision Revision) (Revision, error)

	// Release gives unused space back. It may be called after Put, and twice.
	Release()
}

// BusyError reports that a wait for a lock ended before the lock was free. It wraps the
// context's error, so that errors.Is finds context.DeadlineExceeded.
type BusyError struct {
	Path string // the lock file; empty if the lock is no file

	// PID is the process that holds the lock, 0 where the system does not tell. Program is how
	// it is called, without its arguments, which may hold secrets of its own. Stopped reports
	// that it was suspended, as SIGSTOP does.
	PID     int
	Program string
	Stopped bool

	Err error // the context's error
}

// Error names the holder as far as it is known.
func (e *BusyError) Error() string {
	text := e.Holder() + " holds the lock"
	if e.Path != "" {
		text += " " + e.Path
	}
	if e.Stopped {
		text += " and is stopped"
	}
	return text
}

// Holder returns who holds the lock, as the subject of a sentence.
func (e *BusyError) Holder() string {
	switch {
	case e.PID == 0:
		return "another process"
	case e.Program == "":
		return fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("process %d (%s)", e.PID, e.Program)
}

// Hint describes what the user can do about the holder.
func (e *BusyError) Hint() string {
	var hints []string
	switch {
	case e.PID == 0:
		return "end the process that holds it, then try again"
	case e.Stopped:
		hints = append(hints, fmt.Sprintf("let it go on (kill -CONT %d)", e.PID))
		fallthrough
	default:
		hints = append(hints, fmt.Sprintf("end it (kill %d)", e.PID))
	}
	return strings.Join(hints, " or ") + ", then try again"
}

// Unwrap returns the context's error.
func (e *BusyError) Unwrap() error { return e.Err }

// Busy returns the BusyError in err's tree, or nil.
func Busy(err error) *BusyError {
	busy, _ := errtype.As[*BusyError](err)
	return busy
}
