package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/sealed"
)

// guardedStore is the store of a process that goes on while another one may migrate it, or choose
// another one. What is not found then is not taken for a missing login, and no login is stored
// where no later process looks for it.
type guardedStore struct {
	store.Store
	store.Reserver
	moved func() error // why the store, or its key, is not the one in use any more, or nil
}

// guard returns a store that notices when the configuration comes to name another one, unless this
// run has a flag or a variable that names one, and when an encrypted one gets another key.
func (a *app) guard(o *openedStore, choice storeChoice) store.Store {
	reserver, ok := o.Store.(store.Reserver)
	named := choice.by == byFlag || choice.by == byVariable
	if !ok || named && o.word != storeEncrypted {
		return o.Store
	}
	return &guardedStore{o.Store, reserver, func() error {
		if !named {
			if err := a.storeMoved(o.word); err != nil {
				return err
			}
		}
		return o.keyChanged()
	}}
}

// keyChanged reads the note of an encrypted store's key again.
func (o *openedStore) keyChanged() error {
	if o.word != storeEncrypted {
		return nil
	}
	note, err := readKeyNote(filepath.Join(o.folders.Credentials, keyNoteName))
	if err != nil || note != nil && note.KeyID == o.keyID {
		return nil // a damaged note does not change the key
	}
	return fmt.Errorf("%w: the encrypted store has another key since: start this program again",
		store.ErrUnusable)
}

// storeMoved reads the configuration again.
func (a *app) storeMoved(word string) error {
	now := &app{env: a.env}
	conf, err := now.loadConfig()
	if err != nil || conf.Store == "" || conf.Store == storeAuto {
		return nil
	}
	next, err := a.storeWord(conf.Store)
	if err != nil || next == word {
		return nil
	}
	return fmt.Errorf("%w: credentials are kept in the %s since: start this program again",
		store.ErrUnusable, storeName(next))
}

// Get implements [store.Store].
func (g *guardedStore) Get(
	ctx context.Context, key store.Key,
) ([]byte, store.Revision, error) {
	value, revision, err := g.Store.Get(ctx, key)
	if _, otherKey := errors.AsType[*sealed.KeyError](err); otherKey || errors.Is(err, store.ErrNotFound) {
		if moved := g.moved(); moved != nil {
			return nil, "", moved
		}
	}
	return value, revision, err
}

// Lock implements [store.Store]. Where the login is in both stores still, a refresh would use up
// the refresh token of the other one.
func (g *guardedStore) Lock(
	ctx context.Context, key store.Key, name store.LockName,
) (func(), error) {
	unlock, err := g.Store.Lock(ctx, key, name)
	if err != nil {
		return nil, err
	}
	if moved := g.moved(); moved != nil {
		unlock()
		return nil, moved
	}
	return unlock, nil
}

// Peek implements [store.Peeker], as far as the store does.
func (g *guardedStore) Peek(
	ctx context.Context, key store.Key,
) ([]byte, store.Revision, error) {
	if p, ok := g.Store.(store.Peeker); ok {
		return p.Peek(ctx, key)
	}
	return g.Get(ctx, key)
}

// Scan implements [store.Scanner], as far as the store does.
func (g *guardedStore) Scan(
	ctx context.Context, server string,
	visit func(key store.Key, value []byte, revision store.Revision),
) ([]store.Key, error) {
	return store.Scan(ctx, g.Store, server, visit)
}

// Put implements [store.Store].
func (g *guardedStore) Put(
	ctx context.Context, key store.Key, value []byte, revision store.Revision,
) (store.Revision, error) {
	if revision == "" {
		if moved := g.moved(); moved != nil {
			return "", moved
		}
	}
	return g.Store.Put(ctx, key, value, revision)
}
