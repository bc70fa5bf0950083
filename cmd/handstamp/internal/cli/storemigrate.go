package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/keyringstore"
	"github.com/spf13/cobra"
)

// storeMigrate is handstamp store migrate. Credentials are first copied, then the configuration
// names the new store, and only then are they removed from the old one: whenever it is killed, the
// store that the configuration names has all of them.
type storeMigrate struct {
	*app
	from   string
	dryRun bool

	to      string
	sources []*openedStore
	target  *openedStore
	report  migrateOutput
}

func (a *app) newStoreMigrate() *cobra.Command {
	m := &storeMigrate{app: a}
	cmd := &cobra.Command{
		Use:   "migrate keyring|encrypted|file|PATH",
		Short: "Move all credentials to another store, and use that from now on",
		Long: `Move all credentials to another store and note it in the configuration, so that later
commands use it. Whenever this is interrupted, every credential can still be used;
run it again to complete it. Of two logins at one server, the newer stays.

End bridges and other programs that run meanwhile, and start them again: they go on
using the old store.`,
		Example: `  handstamp store migrate keyring --dry-run
  handstamp store migrate keyring
  HANDSTAMP_STORE_KEY_FILE=~/.handstamp.key handstamp store migrate encrypted`,
		Args: exactly(1, "one store"),
		RunE: withArgs(m.run),
	}
	cmd.Flags().StringVar(&m.from, "from", "", "the store to move from (default: the one in use)")
	cmd.Flags().BoolVar(&m.dryRun, "dry-run", false, "only say what would be done")
	return cmd
}

// migrateOutput is what --json prints.
type migrateOutput struct {
	From        []string         `json:"from"`
	To          string           `json:"to"`
	DryRun      bool             `json:"dry_run,omitempty"`
	Credentials []migrateOutcome `json:"credentials"`
	ChosenBy    string           `json:"overridden_by,omitempty"` // what wins over the configuration
	Leftovers   []string         `json:"leftovers,omitempty"`     // folders with what is no credential
}

type migrateOutcome struct {
	store.Key
	Outcome string `json:"outcome"`
}

func (m *storeMigrate) run(ctx context.Context, args []string) error {
	if err := m.plan(args[0]); err != nil {
		return err
	}
	var err error
	if m.dryRun {
		err = m.listOnly(ctx)
	} else {
		err = m.move(ctx)
	}
	if err != nil {
		return err
	}
	return m.print(m.report, m.show)
}

// plan finds out from where to where.
func (m *storeMigrate) plan(to string) error {
	current, err := m.chosenStore()
	if err != nil {
		return err
	}
	if m.to, err = m.storeWord(to); err != nil {
		return err
	}
	if m.from != "" {
		if current.word, err = m.storeWord(m.from); err != nil {
			return err
		}
	}
	for _, word := range []string{m.to, current.word} {
		if word == storeAuto || word == storeMemory {
			return usage("credentials move between keyring, encrypted, file and folders, not %s", word)
		}
	}
	m.report = migrateOutput{From: []string{}, To: m.to, DryRun: m.dryRun,
		Credentials: []migrateOutcome{}, ChosenBy: m.overriding()}
	return m.findSources(append(m.readJournal(), current.word))
}

// findSources notes those stores that have credentials to move.
func (m *storeMigrate) findSources(words []string) error {
	for _, word := range words {
		folders, err := m.foldersOf(word)
		if err != nil {
			return err
		}
		there := len(recordFiles(folders.Credentials))+len(recordFiles(folders.Spare)) > 0
		if word != m.to && there && !slices.Contains(m.report.From, word) {
			m.report.From = append(m.report.From, word)
		}
	}
	return nil
}

// overriding returns what names another store than the target, and wins over the configuration.
func (m *storeMigrate) overriding() string {
	for _, by := range []struct{ name, word string }{
		{byFlag, m.global.Store}, {byVariable, m.env.get(byVariable)},
	} {
		if by.word == "" || by.word == storeAuto {
			continue
		}
		if word, err := m.storeWord(by.word); err == nil && word != m.to {
			return by.name
		}
	}
	return ""
}

// listOnly notes what there is to move. It makes no key.
func (m *storeMigrate) listOnly(ctx context.Context) error {
	if m.to == storeKeyring {
		if err := keyringstore.Check(ctx, m.keyringOptions()); err != nil {
			return keyringFailure(err, "")
		}
	}
	for _, word := range m.report.From {
		from, err := m.open(word, "")
		if err != nil {
			return err
		}
		keys, err := from.List(ctx)
		if err != nil {
			return &failure{kind: kindStore, err: err}
		}
		for _, key := range keys {
			m.note(key, outcomeMoved)
		}
	}
	return nil
}

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
	if err := m.writeJournal(); err != nil {
		return err
	}
	for _, from := range m.sources {
		unlock, err := m.copyAll(ctx, from)
		defer unlock()
		if err != nil {
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
	_ = os.Remove(m.journal())
	m.findLeftovers()
	return nil
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
		outcome, err := m.copy(ctx, from, key)
		if err != nil {
			return unlock, &failure{kind: kindStore, err: err,
				message: "the login at " + key.String() + " cannot be moved"}
		}
		m.note(key, outcome)
	}
	return unlock, nil
}

func (m *storeMigrate) lock(
	ctx context.Context, from store.Store, key store.Key, name store.LockName,
) (func(), error) {
	ctx, cancel := context.WithTimeout(ctx, m.lockTimeout())
	defer cancel()
	release, err := from.Lock(ctx, key, name)
	if busy := store.Busy(err); busy != nil {
		return nil, &failure{kind: kindStore, err: err, hint: busy.Hint()}
	}
	if err != nil {
		return nil, &failure{kind: kindStore, err: err}
	}
	return release, nil
}

func (m *storeMigrate) note(key store.Key, outcome string) {
	m.report.Credentials = append(m.report.Credentials, migrateOutcome{key, outcome})
}

// The outcomes for a credential.
const (
	outcomeMoved   = "moved"
	outcomeNewer   = "kept"    // the target has a newer one
	outcomeDamaged = "damaged" // it stays where it is
)

// copy copies a credential to the target, where the newer of two stays.
func (m *storeMigrate) copy(ctx context.Context, from store.Store, key store.Key) (string, error) {
	value, _, err := from.Get(ctx, key)
	switch {
	case errors.Is(err, store.ErrCorrupt):
		return outcomeDamaged, nil
	case errors.Is(err, store.ErrNotFound):
		return outcomeMoved, nil
	case err != nil:
		return "", err
	}
	for {
		there, revision, err := m.target.Get(ctx, key)
		switch {
		case err == nil && bytes.Equal(there, value):
			return outcomeMoved, nil
		case err == nil && isNewer(there, value):
			return outcomeNewer, nil
		case err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrCorrupt):
			return "", err
		}
		// What was put is read once more before the original is removed.
		_, err = m.target.Put(ctx, key, value, revision)
		if err != nil && !errors.Is(err, store.ErrConflict) {
			return "", err
		}
	}
}

// isNewer compares two records by the time of their last change.
func isNewer(there, value []byte) bool {
	a, err := record.Decode(there)
	if err != nil {
		return false
	}
	b, err := record.Decode(value)
	return err != nil || a.UpdatedAt.After(b.UpdatedAt)
}

// choose notes the new store in the configuration.
func (m *storeMigrate) choose() error {
	members := storeMembers{Store: m.to}
	if m.to == storeEncrypted {
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
	if err := m.noteStore(members); err != nil {
		return &failure{kind: kindStore, err: err, message: "the configuration cannot be written, " +
			"so the old store stays in use"}
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
		outcome, err := m.copy(ctx, from, key)
		if err != nil {
			return &failure{kind: kindStore, err: err}
		}
		_, revision, err := from.Get(ctx, key)
		if err != nil || outcome == outcomeDamaged {
			continue
		}
		if err := from.Delete(ctx, key, revision); err != nil {
			return &failure{kind: kindStore, err: err, message: "the login at " + key.String() +
				" is moved, but cannot be removed from the old store: run this again"}
		}
	}
	return m.removeRest(ctx, from)
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

// journal is the file that names what an interrupted migration was about.
func (m *storeMigrate) journal() string {
	dirs, err := findFolders(m.env)
	if err != nil {
		return ""
	}
	return filepath.Join(dirs.Credentials, "migration.json")
}

func (m *storeMigrate) readJournal() (words []string) {
	if text, err := readRegular(m.journal(), maxConfig); err == nil {
		_ = json.Unmarshal(text, &words) // a damaged one is as good as none
	}
	return words
}

func (m *storeMigrate) writeJournal() error {
	if len(m.sources) == 0 {
		return nil
	}
	if err := writePrivate(m.journal(), append(m.report.From, m.to)); err != nil {
		return &failure{kind: kindStore, err: err}
	}
	return nil
}

func (m *storeMigrate) show() {
	verb := "Moved"
	if m.dryRun {
		verb = "Would move"
	}
	moved := 0
	for _, c := range m.report.Credentials {
		switch c.Outcome {
		case outcomeMoved:
			moved++
			m.out.note("  ", "%s", c.Key)
		case outcomeNewer:
			m.out.note("  ", "%s: a newer login was there already, and stays", c.Key)
		default:
			m.out.warn("", "%s is damaged, and stays where it is", c.Key)
		}
	}
	noun := "credentials"
	if moved == 1 {
		noun = "credential"
	}
	m.out.ok("", "%s %d %s to the %s", verb, moved, noun, storeName(m.to))
	switch {
	case m.dryRun:
		return
	case m.report.ChosenBy != "":
		m.out.warn("", "%s names another store, and wins over the configuration", m.report.ChosenBy)
	default:
		m.out.note("", "Later commands use it. Restart bridges that run")
	}
	for _, dir := range m.report.Leftovers {
		m.out.warn("", "%s has files of damaged or unfinished records, which may hold tokens: "+
			"look at them, and remove them", dir)
	}
}
