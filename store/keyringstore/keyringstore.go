// Package keyringstore keeps one key in the system's keyring and seals with it the values of
// another store: the Secret Service of Linux (GNOME Keyring, KWallet, KeePassXC), the Keychain of
// macOS, the Credential Manager of Windows.
//
//	files, err := filestore.Open(filestore.Options{Dir: dir}) // a folder of the program's own
//	s, err := keyringstore.Open(ctx, files, keyringstore.Options{})
//
// Keyrings limit the size of an item, ask users for each, and are slow. So there is one item, of
// 32 bytes, which is read once: [Open] makes it where there is none. Everything else is in the
// store within, sealed as package sealed describes.
//
// A keyring may be missing, locked, or hang. Each call of it takes at most [Timeout], and every
// trouble is an [*Error], which says what it is and what to do about it. No trouble is taken for a
// missing key, and no other place is used instead.
package keyringstore

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"time"

	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/sealed"
	"github.com/zalando/go-keyring"
)

// Timeout bounds each call of the keyring.
const Timeout = 3 * time.Second

// Service is what the item is filed under in the keyring, together with its name.
const Service = "handstamp"

// lockName is the lock that is held while a key is made.
const lockName store.LockName = "keyring"

// Options set where the key is.
type Options struct {
	// Item is the name of the item in the keyring, as users see it there. Stores whose values
	// are in different places should have different ones. Empty: "store key".
	Item string

	// Getenv finds the session bus on Linux and other systems with a Secret Service. Nil:
	// os.Getenv.
	Getenv func(name string) string
}

func (o Options) item() string {
	if o.Item == "" {
		return "store key"
	}
	return o.Item
}

// Open returns a store that keeps its values in inner, sealed with the key of [Key].
func Open(ctx context.Context, inner store.Store, options Options) (store.Store, error) {
	text, err := Key(ctx, inner, options)
	if err != nil {
		return nil, err
	}
	key, err := sealed.NewKey([]byte(text.Reveal()))
	if err != nil {
		return nil, err
	}
	return sealed.New(inner, key), nil
}

// Key returns the key for the values of inner, 32 bytes, from the keyring. Where the keyring has
// none, Key makes one, unless inner has values, which no new key could open: that is
// [ErrKeyMissing]. Of several processes that do so at once, one makes the key. All errors but those
// of inner are [*Error]s.
func Key(ctx context.Context, inner store.Store, options Options) (secret.String, error) {
	bus, err := openBus(options.Getenv)
	if err != nil {
		return "", err
	}
	key, err := read(ctx, bus, options.item())
	if !errors.Is(err, keyring.ErrNotFound) {
		return key, err
	}
	at := store.Key{Server: "keyring", Profile: options.item()}
	unlock, err := inner.Lock(ctx, at, lockName)
	if err != nil {
		return "", err
	}
	defer unlock()
	if key, err = read(ctx, bus, options.item()); !errors.Is(err, keyring.ErrNotFound) {
		return key, err
	}
	values, err := inner.List(ctx)
	if err != nil {
		return "", err
	}
	if len(values) > 0 {
		return "", &Error{Reason: ErrKeyMissing, item: options.item()}
	}
	return create(ctx, bus, options.item())
}

// Check reports whether the keyring can be used, by looking for a key. It makes none.
func Check(ctx context.Context, options Options) error {
	bus, err := openBus(options.Getenv)
	if err != nil {
		return err
	}
	_, err = read(ctx, bus, options.item())
	if errors.Is(err, keyring.ErrNotFound) || errors.Is(err, ErrKeyDamaged) {
		return nil
	}
	return err
}

// read returns the key that the keyring has, or [keyring.ErrNotFound].
func read(ctx context.Context, bus bus, item string) (secret.String, error) {
	var text string
	err := bus.call(ctx, func() (err error) {
		text, err = keyring.Get(Service, item)
		return err
	})
	if err != nil {
		return "", err
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != sealed.KeySize {
		return "", &Error{Reason: ErrKeyDamaged, item: item}
	}
	return secret.String(raw), nil
}

// create makes a key, and returns what the keyring has of it.
func create(ctx context.Context, bus bus, item string) (secret.String, error) {
	raw := make([]byte, sealed.KeySize)
	rand.Read(raw)
	err := bus.call(ctx, func() error {
		return keyring.Set(Service, item, base64.StdEncoding.EncodeToString(raw))
	})
	if err != nil {
		return "", err
	}
	key, err := read(ctx, bus, item)
	if errors.Is(err, keyring.ErrNotFound) {
		err = &Error{Reason: ErrRejected, Err: errors.New("it took the key and does not have it")}
	}
	return key, err
}
