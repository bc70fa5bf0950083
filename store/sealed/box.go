package sealed

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/handstamp/handstamp/internal/textlist"
	"github.com/handstamp/handstamp/store"
)

// KeySize is the size of a key, in bytes.
const KeySize = 32

// A sealed value is a header, a nonce and what AES-256-GCM makes of the value. Every version begins
// with the same header, so that an older program can tell a newer value, or one for another key,
// from damage:
//
//	3 bytes  "HSx"
//	1 byte   version
//	8 bytes  id of the key
//	4 bytes  the first ones of the SHA-256 of the 12 before
const (
	magic      = "HSx"
	version    = 1
	idSize     = 8
	checked    = len(magic) + 1 + idSize
	headerSize = checked + 4
	overhead   = headerSize + 12 + 16 // with the nonce and the tag
)

// Key seals values and opens them. [NewKey] makes one; the zero Key is none. It does not show its
// bytes when it is printed.
type Key struct {
	id    [idSize]byte
	aead  cipher.AEAD
	owner string // what values are bound to beside their store.Key
}

// NewKey returns the Key of [KeySize] random bytes. A password is none: derive them from it, with
// scrypt or Argon2id.
func NewKey(raw []byte) (Key, error) {
	if len(raw) != KeySize {
		return Key{}, fmt.Errorf("sealed: a key has %d bytes, not %d", KeySize, len(raw))
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return Key{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return Key{}, err
	}
	k := Key{aead: aead}
	sum := sha256.Sum256(append([]byte("handstamp sealed key id\x00"), raw...))
	copy(k.id[:], sum[:])
	return k, nil
}

// For returns the key for the values of one owner, such as a tenant and a user, in a place where
// several have theirs: a value that was sealed for another owner is corrupt. The ID is the same.
func (k Key) For(owner ...string) Key {
	bound := []byte(k.owner)
	for _, part := range owner {
		bound = textlist.Append(append(bound, 0), part)
	}
	k.owner = string(bound)
	return k
}

// ID returns what tells keys apart and reveals nothing of them. It is derived from the key, and is
// in each value that the key sealed.
func (k Key) ID() string { return hex.EncodeToString(k.id[:]) }

// Header returns what each value begins with that the key has sealed, so that a database can select
// the others. It reveals nothing of the key.
func (k Key) Header() []byte {
	header := append([]byte(magic), version)
	header = append(header, k.id[:]...)
	return append(header, headerSum(header)...)
}

// String returns the id.
func (k Key) String() string { return k.ID() }

// GoString returns the id.
func (k Key) GoString() string { return "sealed.Key(" + k.ID() + ")" }

// KeyError reports a value that was sealed with a key that is not at hand. It wraps
// [store.ErrUnusable].
type KeyError struct {
	ID string // of the key
}

// Error names the key.
func (e *KeyError) Error() string {
	return "store: the credential is sealed with a key that is not at hand (" + e.ID + ")"
}

// Unwrap returns [store.ErrUnusable].
func (e *KeyError) Unwrap() error { return store.ErrUnusable }

// ring has the key that seals first, and then those that only open.
type ring []Key

func (r ring) seal(key store.Key, value []byte) []byte {
	box := append(make([]byte, 0, len(value)+overhead), r[0].Header()...)
	return r[0].aead.Seal(box, nil, value, r[0].bound(key, box))
}

// NeedsKey returns why a reader without keys cannot use a sealed value, such as a [*KeyError], and
// nil for a value that is not sealed. To such a reader it looks like damage, and must not be
// replaced like it.
func NeedsKey(value []byte) error {
	if _, err := ring(nil).open(store.Key{}, value); !errors.Is(err, store.ErrCorrupt) {
		return err
	}
	return nil
}

func (r ring) open(key store.Key, box []byte) ([]byte, error) {
	if len(box) < headerSize || string(box[:len(magic)]) != magic {
		return nil, corrupt("it is not sealed")
	}
	header, rest := box[:headerSize], box[headerSize:]
	if !bytes.Equal(header[checked:], headerSum(header[:checked])) {
		return nil, corrupt("its seal is damaged")
	}
	if header[len(magic)] != version {
		return nil, fmt.Errorf("%w: the credential was sealed by a newer version; "+
			"upgrade this program", store.ErrUnusable)
	}
	id := [idSize]byte(header[len(magic)+1:])
	for _, k := range r {
		if k.id != id {
			continue
		}
		value, err := k.aead.Open(nil, nil, rest, k.bound(key, header))
		if err != nil { // which says no more
			return nil, corrupt("its seal is broken: it was changed or cut, or belongs to another " +
				"server, profile or owner")
		}
		return value, nil
	}
	return nil, &KeyError{hex.EncodeToString(id[:])}
}

// bound is what a value is bound to: its header, its key and its owner. A server URL has no zero
// byte.
func (k Key) bound(key store.Key, header []byte) []byte {
	return fmt.Appendf(bytes.Clone(header), "%s\x00%s%s", key.Server, key.Profile, k.owner)
}

func headerSum(header []byte) []byte {
	sum := sha256.Sum256(header)
	return sum[:headerSize-checked]
}

func corrupt(text string) error {
	return fmt.Errorf("%w: %w", store.ErrCorrupt, errors.New(text))
}
