package cli

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
	"github.com/handstamp/handstamp/store/keyringstore"
	"github.com/handstamp/handstamp/store/sealed"
)

// openedStore is a store of credentials.
type openedStore struct {
	store.Store
	word    string
	folders *filestore.Folders // nil: it has none
	key     secret.String      // what seals its values, as base64; empty: nothing does
	keyID   string             // of key
}

// openStore opens the credential store once. The choice is the flag's, the
// environment's or the configuration's.
func (a *app) openStore() (store.Store, error) {
	if a.store != nil {
		return a.store, nil
	}
	choice, err := a.chosenStore()
	if err != nil {
		return nil, err
	}
	if err := a.checkOwner(choice); err != nil {
		return nil, err
	}
	o, err := a.open(choice.word, a.givenKey)
	if err != nil {
		return nil, err
	}
	a.store, a.place, a.opened, a.dirs = a.guard(o, choice), storeName(o.word), o, nil
	a.decided = choice
	if o.folders != nil {
		a.dirs, err = a.besideFolders(o)
	}
	return a.store, err
}

// checkOwner rejects flags that name whose logins are meant, where a store has those of one user.
func (a *app) checkOwner(choice storeChoice) error {
	if !isDatabase(choice.word) && a.global.Tenant+a.global.User != "" {
		return usage("--tenant and --user are for the logins in a database: " +
			"name it with --store postgres://…")
	}
	return nil
}

// besideFolders returns the folders that have what is kept beside credentials. It is no secret,
// and the same for all stores that are named by a word.
func (a *app) besideFolders(o *openedStore) (*filestore.Folders, error) {
	if !isSealed(o.word) {
		return o.folders, nil
	}
	dirs, err := findFolders(a.env)
	return &dirs, err
}

// foldersOf returns the folders of a store but for the one in memory.
func (a *app) foldersOf(word string) (filestore.Folders, error) {
	dirs, err := findFolders(a.env)
	switch {
	case filepath.IsAbs(word):
		// The folder for configuration is not needed.
		return filestore.Folders{Config: dirs.Config, Credentials: filepath.Clean(word)}, nil
	case err != nil:
		return dirs, err
	case isSealed(word):
		dirs.Credentials = filepath.Join(dirs.Credentials, word)
		if dirs.Spare != "" {
			dirs.Spare = filepath.Join(dirs.Spare, word)
		}
	}
	return dirs, nil
}

// open opens a store. key is what seals it, where that is known already.
func (a *app) open(word string, key secret.String) (*openedStore, error) {
	if word == storeMemory {
		return &openedStore{Store: &store.Memory{}, word: word}, nil
	}
	if isDatabase(word) {
		return a.openOwned(word)
	}
	folders, err := a.foldersOf(word)
	if err != nil {
		return nil, err
	}
	files, err := folders.Open(filestore.Options{Warn: a.warn})
	if err != nil {
		return nil, &failure{kind: kindStore, err: err}
	}
	o := &openedStore{Store: files, word: word, folders: &folders, key: key}
	if !isSealed(word) {
		o.key = ""
		return o, nil
	}
	if key == "" {
		if o.key, err = a.storeKey(o); err != nil {
			return nil, err
		}
	}
	raw, _ := base64.StdEncoding.DecodeString(o.key.Reveal())
	k, err := sealed.NewKey(raw)
	if err != nil {
		return nil, &failure{kind: kindStore, err: err}
	}
	o.Store, o.keyID = sealed.New(files, k), k.ID()
	return o, nil
}

// storeKey gets the key of a sealed store from where it is, as base64.
func (a *app) storeKey(o *openedStore) (secret.String, error) {
	if o.word == storeEncrypted {
		return a.encryptedKey(o)
	}
	ctx, cancel := context.WithTimeout(context.Background(), a.lockTimeout())
	defer cancel()
	raw, err := keyringstore.Key(ctx, o.Store, a.keyringOptions())
	if _, ok := errors.AsType[*keyringstore.Error](err); ok {
		return "", keyringFailure(err, a.withoutKeyring(o.folders.Credentials))
	}
	if err != nil {
		return "", storeTrouble(err)
	}
	return encodeKey([]byte(raw.Reveal())), nil
}

// withoutKeyring says what becomes of the logins in a folder, as the end of a sentence.
func (a *app) withoutKeyring(folder string) string {
	if n := countFiles(folder); n > 0 {
		return fmt.Sprintf("; until then the %d sealed logins stay in %s", n, folder)
	}
	return "; or choose another store with --store or handstamp store migrate"
}

func encodeKey(raw []byte) secret.String {
	return secret.String(base64.StdEncoding.EncodeToString(raw))
}

// keyringOptions returns where the key is. Each folder for credentials has a key of its own.
func (a *app) keyringOptions() keyringstore.Options {
	options := keyringstore.Options{Getenv: a.env.get}
	if dirs, err := findFolders(a.env); err == nil {
		dir := dirs.Credentials
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dir = real
		}
		options.Item = "store key for " + dir
	}
	return options
}

// lock takes a lock of a store, for which it does not wait for ever.
func (a *app) lock(
	ctx context.Context, in store.Store, key store.Key, name store.LockName,
) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, a.lockTimeout())
	defer cancel()
	if unlock, err = in.Lock(ctx, key, name); err != nil {
		return nil, storeTrouble(err)
	}
	return unlock, nil
}

// lockShared takes a lock that all processes of a user share, whichever store they use. What there
// is to notice about the folder is reported where the store is opened.
func (a *app) lockShared(ctx context.Context, what string) (unlock func(), err error) {
	dirs, err := findFolders(a.env)
	if err != nil {
		return nil, err
	}
	locks, err := dirs.Open(filestore.Options{Warn: func(string) {}})
	if err != nil {
		return nil, &failure{kind: kindStore, err: err}
	}
	return a.lock(ctx, locks, store.Key{Server: what}, "shared")
}

// storeTrouble is the failure of a command whose store, or another process, is in the way.
func storeTrouble(err error) error {
	f := &failure{kind: kindStore, err: err}
	if busy := store.Busy(err); busy != nil {
		f.hint = busy.Hint()
	}
	return f
}

// storedKeys opens the store and returns the keys of what it has.
func (a *app) storedKeys(ctx context.Context) ([]store.Key, error) {
	credentials, err := a.openStore()
	if err != nil {
		return nil, err
	}
	keys, err := credentials.List(ctx)
	if err != nil {
		return nil, &failure{kind: kindStore, err: err}
	}
	return keys, nil
}

// statuses opens the store and returns the status of each login in it.
func (a *app) statuses(ctx context.Context) ([]*handstamp.Status, error) {
	credentials, err := a.openStore()
	if err != nil {
		return nil, err
	}
	c := &handstamp.Client{Store: credentials, LoginPolicy: handstamp.LoginNever}
	a.listen(c)
	a.clients = append(a.clients, c)
	return c.List(ctx)
}
