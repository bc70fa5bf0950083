package keyringstore

import (
	"errors"
	"fmt"

	"github.com/handstamp/handstamp/store"
)

// What can be wrong with the keyring. Test with errors.Is.
var (
	// ErrUnavailable reports that there is none: no session bus, no service on it, or a system
	// without one.
	ErrUnavailable = errors.New("there is no system keyring")

	// ErrLocked reports that the keyring is locked, and was not unlocked in time.
	ErrLocked = errors.New("the system keyring is locked")

	// ErrSilent reports that the keyring did not respond in time.
	ErrSilent = errors.New("the system keyring does not respond")

	// ErrRejected reports that the keyring, or its user, rejected the request.
	ErrRejected = errors.New("the system keyring rejected the request")

	// ErrKeyMissing reports that the keyring has no key, although there are values that were
	// sealed with one.
	ErrKeyMissing = errors.New("the system keyring has lost the key of the stored credentials")

	// ErrKeyDamaged reports that the item in the keyring is no key.
	ErrKeyDamaged = errors.New("the item in the system keyring is no key")
)

// Error is any trouble with the keyring. It wraps its Reason, its cause, and [store.ErrUnusable].
type Error struct {
	Reason error // ErrUnavailable, ErrLocked, ErrSilent, ErrRejected, ErrKeyMissing or ErrKeyDamaged
	Err    error // the cause; nil where the reason is all there is

	item string
}

// Error names the reason and the cause.
func (e *Error) Error() string {
	switch {
	case e.Reason == nil:
		return "keyring: unknown error"
	case e.Err != nil:
		return fmt.Sprintf("%v (%v)", e.Reason, e.Err)
	case e.item != "":
		return fmt.Sprintf("%v (item %q of %q)", e.Reason, e.item, Service)
	}
	return fmt.Sprint(e.Reason)
}

// Hint describes what the user can do.
func (e *Error) Hint() string {
	switch e.Reason {
	case ErrUnavailable:
		return "start a session with a keyring, such as GNOME Keyring or KWallet"
	case ErrLocked:
		return "unlock it, by signing in to the desktop or with its password manager, " +
			"then try again"
	case ErrSilent:
		return "start the keyring's service again, then try again"
	case ErrRejected:
		return "allow access to the keyring, then try again"
	}
	return "restore the item from a backup of the keyring, or remove the credentials and " +
		"sign in again"
}

// Unwrap returns what the error wraps.
func (e *Error) Unwrap() []error {
	all := []error{store.ErrUnusable, e.Reason}
	if e.Err != nil {
		all = append(all, e.Err)
	}
	return all
}
