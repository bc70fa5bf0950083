package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/sealed"
)

func (m *storeMigrate) move(ctx context.Context) error {
	var err error
	if m.target, err = m.open(m.to, ""); err != nil {
		return err
	}
	for _, word := range m.report.From {
		from, err := m.open(word, "")
		if err != nil {
			return err
		}
		m.sources = append(m.sources, from)
	}
	if err := m.keepChoice(); err != nil {
		return err
	}
	isFirst := m.readJournal() == nil
	if err := m.writeJournal(); err != nil {
		return err
	}
	for _, from := range m.sources {
		unlock, err := m.copyAll(ctx, from)
		defer unlock()
		if err != nil {
			if m.takeBack(ctx) && isFirst {
				_ = os.Remove(m.journal()) // no store has anything of this run
			}
			return err
		}
	}
	if err := m.choose(); err != nil {
		return err
	}
	for _, from := range m.sources {
		if err := m.removeAll(ctx, from); err != nil {
			return err
		}
	}
	if m.leavesEncrypted() {
		if err := m.noteStore(storeMembers{Store: m.to}); err != nil {
			return &failure{kind: kindStore, err: err,
				message: "all is moved, but the configuration still names the key file: run this again"}
		}
	}
	_ = os.Remove(m.journal())
	m.findLeftovers()
	return nil
}

// keepChoice notes which store is in use where nothing but its credentials tells: what is copied
// must not choose another one.
func (m *storeMigrate) keepChoice() error {
	conf, err := m.loadConfig()
	if err != nil || conf.Store != "" && conf.Store != storeAuto {
		return err
	}
	inUse, err := m.storeInUse()
	if err != nil || inUse.by == "" {
		return err
	}
	members := conf.storeMembers
	members.Store = inUse.word
	return m.setChoice(members)
}

// findLeftovers notes the folders in which there are files that belong to no credential.
func (m *storeMigrate) findLeftovers() {
	for _, from := range m.sources {
		dir := from.folders.Credentials
		if len(recordFiles(dir)) > 0 && !isSealed(from.word) {
			m.report.Leftovers = append(m.report.Leftovers, dir)
		}
	}
}

// copyAll copies all credentials of a store. Until unlock is called, no process refreshes or
// replaces them.
func (m *storeMigrate) copyAll(ctx context.Context, from *openedStore) (unlock func(), err error) {
	var locks []func()
	unlock = func() {
		for _, release := range locks {
			release()
		}
	}
	keys, err := from.List(ctx)
	if err != nil {
		return unlock, &failure{kind: kindStore, err: err}
	}
	for _, key := range keys {
		for _, name := range []store.LockName{store.LockLogin, store.LockRefresh} {
			release, err := m.lock(ctx, from, key, name)
			if err != nil {
				return unlock, err
			}
			locks = append(locks, release)
		}
		outcome, _, err := m.copy(ctx, from, key)
		if err != nil {
			return unlock, m.cannotMove(key, err)
		}
		m.note(key, outcome)
	}
	return unlock, nil
}

// takeBack deletes from the target what this run has added, and reports whether nothing of it is left: a copy
// outlives a logout from the store in use. What replaced an older login stays, in place of that.
func (m *storeMigrate) takeBack(ctx context.Context) (all bool) {
	all = !m.replaced
	for key, revision := range m.put {
		if err := m.target.Delete(context.WithoutCancel(ctx), key, revision); err != nil {
			all = false
		}
	}
	return all
}

// errSpare reports that a credential is in the target's spare folder alone.
var errSpare = errors.New("there is no durable place for it")

func (m *storeMigrate) cannotMove(key store.Key, err error) error {
	f := &failure{kind: kindStore, err: err,
		message: "the login at " + key.String() + " cannot be moved"}
	if errors.Is(err, errSpare) {
		f.err = fmt.Errorf("%w in %s", err, m.target.folders.Credentials)
		f.hint = "make space there, and run this again"
	}
	return f
}

// inSpare reports whether the target has a credential in its spare folder, which is emptied when
// the user signs out of the machine.
func (m *storeMigrate) inSpare(key store.Key) bool {
	dir := m.target.folders.Spare
	if dir == "" {
		return false
	}
	_, err := os.Lstat(filepath.Join(dir, key.Name()+".json"))
	return err == nil
}

// copy copies a credential to the target, where the newer of two stays. copied is the revision of
// what was copied.
func (m *storeMigrate) copy(
	ctx context.Context, from store.Store, key store.Key,
) (outcome string, copied store.Revision, err error) {
	value, copied, err := getOpen(ctx, from, key)
	switch {
	case errors.Is(err, store.ErrCorrupt):
		return outcomeDamaged, "", nil
	case errors.Is(err, store.ErrNotFound):
		return outcomeMoved, "", nil
	case err != nil:
		return "", "", err
	}
	for hasPut := false; ; {
		outcome, revision, err := m.compare(ctx, key, value)
		switch {
		case err != nil, outcome != "":
			return outcome, copied, err
		case hasPut && m.inSpare(key):
			return "", "", errSpare
		}
		// What was put is read once more before the original is removed.
		put, err := m.target.Put(ctx, key, value, revision)
		if hasPut = err == nil; hasPut {
			if earlier, ours := m.put[key]; revision == "" || ours && earlier == revision {
				m.put[key] = put
			} else {
				m.replaced = true
			}
		} else if !errors.Is(err, store.ErrConflict) {
			return "", "", err
		}
	}
}

// getOpen gets a value that is not sealed, as one is in a folder that is named by its path.
func getOpen(
	ctx context.Context, s store.Store, key store.Key,
) (value []byte, revision store.Revision, err error) {
	value, revision, err = s.Get(ctx, key)
	if err == nil {
		err = sealed.NeedsKey(value)
	}
	return value, revision, err
}

// compare returns the outcome for a value that need not be put into the target, or otherwise the
// revision of what it is to replace there.
func (m *storeMigrate) compare(
	ctx context.Context, key store.Key, value []byte,
) (outcome string, revision store.Revision, err error) {
	there, revision, err := getOpen(ctx, m.target, key)
	same := err == nil && bytes.Equal(there, value)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrCorrupt):
		return "", revision, nil
	case err != nil:
		return "", "", err
	case same && !m.inSpare(key):
		return outcomeMoved, revision, nil
	case !same && isNewer(there, value):
		return outcomeNewer, revision, nil
	}
	return "", revision, nil
}

// isNewer compares two records by their logins, and then by the time of their last change: a login that
// was cancelled leaves a newer record without one.
func isNewer(there, value []byte) bool {
	a, err := record.Decode(there)
	if err != nil {
		return errors.Is(err, record.ErrNewer) // than this program
	}
	b, err := record.Decode(value)
	if err != nil {
		return true
	}
	if x, y := loginRank(a), loginRank(b); x != y {
		return x > y
	}
	return a.UpdatedAt.After(b.UpdatedAt)
}

// loginRank ranks a login that can be used above one that the server has ended, and that above none.
func loginRank(r *record.Record) int {
	switch {
	case r.Grant == nil:
		return 0
	case r.GrantError != nil:
		return 1
	}
	return 2
}

// leavesEncrypted reports whether credentials are moved from the encrypted store.
func (m *storeMigrate) leavesEncrypted() bool { return slices.Contains(m.report.From, storeEncrypted) }

// choose notes the new store in the configuration.
func (m *storeMigrate) choose() error {
	members := storeMembers{Store: m.to}
	switch {
	case m.leavesEncrypted():
		// The key is needed until all is removed, maybe by another run.
		members.StoreKeyFile, members.StorePassphraseFile = m.conf.StoreKeyFile, m.conf.StorePassphraseFile
	case m.to == storeEncrypted:
		from, err := m.keySources()
		if err != nil {
			return err
		}
		members.StoreKeyFile = from.keyFile
		if from.phraseFile != "-" {
			members.StorePassphraseFile = from.phraseFile
		}
	}
	for _, from := range m.sources {
		if err := m.copyBeside(from); err != nil {
			return err
		}
	}
	return m.setChoice(members)
}

func (m *storeMigrate) setChoice(members storeMembers) error {
	if err := m.noteStore(members); err != nil {
		return &failure{kind: kindStore, err: err, message: "the old store stays in use"}
	}
	return nil
}

// copyBeside copies what is kept beside credentials, if the target has it elsewhere.
func (m *storeMigrate) copyBeside(from *openedStore) error {
	old, err := m.besideFolders(from)
	if err != nil {
		return err
	}
	next, err := m.besideFolders(m.target)
	if err != nil || old.Credentials == next.Credentials {
		return err
	}
	for _, folder := range []string{settingsName, profilesName} {
		files, _ := filepath.Glob(filepath.Join(escapeGlob(old.Credentials), folder, "*.json"))
		for _, file := range files {
			text, err := readRegular(file, maxConfig)
			if err != nil {
				continue // later sessions need the flags again
			}
			to := filepath.Join(next.Credentials, folder, filepath.Base(file))
			if err := writePrivate(to, json.RawMessage(text)); err != nil {
				return &failure{kind: kindStore, err: err}
			}
		}
	}
	return nil
}

// removeAll removes from a store what the target has, with what was there before and what is
// damaged. What came meanwhile is moved, too.
func (m *storeMigrate) removeAll(ctx context.Context, from *openedStore) error {
	keys, err := from.List(ctx)
	if err != nil {
		return &failure{kind: kindStore, err: err}
	}
	for _, key := range keys {
		if err := m.remove(ctx, from, key); err != nil {
			return err
		}
	}
	if err := m.removeRest(ctx, from); err != nil {
		return err
	}
	if !hasCredentials(from.folders.Credentials) {
		// The next encrypted store may have another key. One without a note is none yet.
		_ = os.Remove(filepath.Join(from.folders.Credentials, keyNoteName))
	}
	return nil
}

// remove removes a credential from a store once the target has it as it is then.
func (m *storeMigrate) remove(ctx context.Context, from store.Store, key store.Key) error {
	for {
		outcome, copied, err := m.copy(ctx, from, key)
		if err != nil {
			return m.cannotMove(key, err)
		}
		if outcome == outcomeDamaged || copied == "" {
			return nil
		}
		err = from.Delete(ctx, key, copied)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return &failure{kind: kindStore, err: err, message: "the login at " + key.String() +
				" is moved, but cannot be removed from the old store: run this again"}
		}
		return nil
	}
}

// removeRest removes what a run that was killed left of credentials that it had begun to remove.
func (m *storeMigrate) removeRest(ctx context.Context, from *openedStore) error {
	keys, err := m.target.List(ctx)
	if err != nil {
		return &failure{kind: kindStore, err: err}
	}
	for _, key := range keys {
		// Without a revision, a credential that is there stays.
		err := from.Delete(ctx, key, "")
		if err != nil && !errors.Is(err, store.ErrConflict) {
			return &failure{kind: kindStore, err: err}
		}
	}
	return nil
}
