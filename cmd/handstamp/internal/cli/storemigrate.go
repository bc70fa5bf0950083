package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
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
	put     map[store.Key]store.Revision // what this run has added to the target

	replaced bool // this run has replaced something there
	report   migrateOutput
}

func (a *app) newStoreMigrate() *cobra.Command {
	m := &storeMigrate{app: a, put: make(map[store.Key]store.Revision)}
	cmd := &cobra.Command{
		Use:   "migrate keyring|encrypted|file|PATH",
		Short: "Move all credentials to another store, and use that from now on",
		Long: `Move all credentials to another store and note it in the configuration, so that later
commands use it. Whenever this is interrupted, every credential can still be used;
run it again to complete it. Of two logins at one server, the newer stays.

Restart bridges and other programs that run meanwhile: they report that the credentials
have moved, and do not use the new store until then.`,
		Example: `  handstamp store migrate keyring --dry-run
  handstamp store migrate keyring
  HANDSTAMP_STORE_KEY_FILE=~/.handstamp.key handstamp store migrate encrypted`,
		Args: exactly(1, "one store"),
		RunE: withArgs(m.run),
	}
	cmd.Flags().StringVar(&m.from, "from", "", "a store to move from, besides the one in use")
	cmd.Flags().BoolVar(&m.dryRun, "dry-run", false, "show what would be done, and change nothing")
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

func (m *storeMigrate) note(key store.Key, outcome string) {
	m.report.Credentials = append(m.report.Credentials, migrateOutcome{key, outcome})
}

// The outcomes for a credential.
const (
	outcomeMoved   = "moved"
	outcomeNewer   = "kept"    // the target has a newer one
	outcomeDamaged = "damaged" // it stays where it is
)

func (m *storeMigrate) run(ctx context.Context, args []string) error {
	do := m.listOnly
	if !m.dryRun {
		unlock, err := m.lockChoice(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		do = m.move
	}
	if err := m.plan(args[0]); err != nil {
		return err
	}
	if err := do(ctx); err != nil {
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
	from := current.word
	if m.from != "" {
		if from, err = m.storeWord(m.from); err != nil {
			return err
		}
	}
	for _, word := range []string{m.to, from} {
		switch {
		case isDatabase(word):
			f := usage("credentials move between keyring, encrypted, file and folders; a database " +
				"has those of many users")
			f.hint = "handstamp export SERVER writes one login, and " + importToDatabase
			return f
		case word == storeAuto || word == storeMemory:
			return usage("credentials move between keyring, encrypted, file and folders, not %s", word)
		}
	}
	m.report = migrateOutput{From: []string{}, To: m.to, DryRun: m.dryRun,
		Credentials: []migrateOutcome{}, ChosenBy: m.overriding()}
	words := append(m.readJournal(), from)
	if !isDatabase(current.word) && current.word != storeMemory {
		words = append(words, current.word) // which later commands do not use
	}
	if err := m.checkFolders(words); err != nil {
		return err
	}
	return m.findSources(words)
}

// checkFolders rejects a target whose folder is that of another store: what was moved there would
// be removed with what was there before, or replace what is sealed.
func (m *storeMigrate) checkFolders(words []string) error {
	to, err := m.foldersOf(m.to)
	if err != nil {
		return err
	}
	if filepath.IsAbs(m.to) {
		words = append(words, storeFile, storeKeyring, storeEncrypted)
	}
	for _, word := range words {
		folders, err := m.foldersOf(word)
		if err != nil {
			return err
		}
		if word != m.to && sameFolder(folders.Credentials, to.Credentials) {
			return usage("%s and %s have the same folder, %s, so there is nothing to move",
				word, m.to, to.Credentials)
		}
	}
	return nil
}

func sameFolder(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	if errA != nil || errB != nil {
		return filepath.Clean(a) == filepath.Clean(b)
	}
	return os.SameFile(infoA, infoB)
}

// findSources notes those stores that have credentials to move.
func (m *storeMigrate) findSources(words []string) error {
	for _, word := range words {
		folders, err := m.foldersOf(word)
		if err != nil {
			return err
		}
		if word != m.to && hasRecords(folders) && !slices.Contains(m.report.From, word) {
			m.report.From = append(m.report.From, word)
		}
	}
	return nil
}

// hasRecords reports whether a store in files has any, damaged ones and those before included.
func hasRecords(folders filestore.Folders) bool {
	return len(recordFiles(folders.Credentials))+len(recordFiles(folders.Spare)) > 0
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

// listOnly notes what would become of each credential: what there is, is copied into memory. It makes no key.
func (m *storeMigrate) listOnly(ctx context.Context) error {
	there, err := m.targetAsItIs(ctx)
	if err != nil {
		return err
	}
	m.target = &openedStore{Store: new(store.Memory), word: m.to, folders: new(filestore.Folders)}
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
			switch value, _, err := getOpen(ctx, peeking{there}, key); {
			case err == nil:
				_, _ = m.target.Put(ctx, key, value, "") // a conflict: it is there already
			case !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrCorrupt):
				return m.cannotMove(key, err)
			}
			outcome, _, err := m.copy(ctx, peeking{from.Store}, key)
			if err != nil {
				return m.cannotMove(key, err)
			}
			m.note(key, outcome)
		}
	}
	return nil
}

// targetAsItIs opens the target, or finds out whether one can be made.
func (m *storeMigrate) targetAsItIs(ctx context.Context) (store.Store, error) {
	folders, err := m.foldersOf(m.to)
	if err != nil {
		return nil, err
	}
	isNew := !hasCredentials(folders.Credentials)
	switch m.to {
	case storeKeyring:
		if err := keyringstore.Check(ctx, m.keyringOptions()); err != nil {
			return nil, keyringFailure(err, "")
		}
	case storeEncrypted:
		if _, err := os.Lstat(filepath.Join(folders.Credentials, keyNoteName)); err != nil {
			return new(store.Memory), m.tryKeySources()
		}
		isNew = false
	}
	if isNew {
		return new(store.Memory), nil // to open it would make its folders, or a key
	}
	to, err := m.open(m.to, "")
	if err != nil {
		return nil, err
	}
	return to.Store, nil
}

// tryKeySources finds out whether a new encrypted store would get a key.
func (m *storeMigrate) tryKeySources() error {
	from, err := m.keySources()
	switch {
	case err != nil, from == (keySources{}) && m.terminalIn():
		return err // the user would type a passphrase
	case from.keyFile == "":
		_, err = from.passphrase(m.app, true)
		return err
	}
	if _, err = m.keyFromFile(from.keyFile, false); errors.Is(err, fs.ErrNotExist) {
		return nil // it would be made
	}
	return err
}

// peeking is a store in which a read repairs nothing.
type peeking struct{ store.Store }

func (p peeking) Get(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	if peeker, ok := p.Store.(store.Peeker); ok {
		return peeker.Peek(ctx, key)
	}
	return p.Store.Get(ctx, key)
}

// journal is the file that names the stores of an interrupted migration.
func (a *app) journal() string {
	dirs, err := findFolders(a.env)
	if err != nil {
		return ""
	}
	return filepath.Join(dirs.Credentials, "migration.json")
}

func (a *app) readJournal() (words []string) {
	if text, err := readRegular(a.journal(), maxConfig); err == nil {
		_ = json.Unmarshal(text, &words) // a damaged one is as good as none
	}
	return words
}

// forgetCopies deletes a credential from the other stores of an interrupted migration, which takes no key: the next
// run would bring it back. The store that the configuration names is left to a run that uses it.
func (a *app) forgetCopies(ctx context.Context, key store.Key) error {
	if a.opened == nil || a.opened.folders == nil {
		return nil
	}
	words := a.readJournal()
	if len(words) == 0 {
		return nil
	}
	conf, err := (&app{env: a.env}).loadConfig() // as it is now
	if err != nil {
		return err
	}
	configured, _ := a.storeWord(conf.Store) // none if it is empty
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.lockTimeout())
	defer cancel()
	for _, word := range words {
		folders, err := a.foldersOf(word)
		if err != nil || word == a.opened.word || word == configured || !hasRecords(folders) {
			continue
		}
		files, err := folders.Open(filestore.Options{Warn: func(string) {}})
		if err == nil {
			_, revision, _ := files.Get(ctx, key) // of what is damaged, too
			err = files.Delete(ctx, key, revision)
		}
		if err != nil {
			return &failure{kind: kindStore, err: err, message: "the login at " + key.String() +
				" is deleted, but not its copy in the " + storeName(word)}
		}
	}
	return nil
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
	if from, err := m.keySources(); err == nil && from == (keySources{}) && m.to == storeEncrypted {
		m.out.warn("", "Bridges that an MCP host starts cannot type the passphrase: "+
			"HANDSTAMP_STORE_PASSPHRASE_FILE names a file with it")
	}
	for _, dir := range m.report.Leftovers {
		m.out.warn("", "%s has files of damaged or unfinished records, which may hold tokens: "+
			"look at them, and remove them", dir)
	}
}
