package cli

import (
	"context"
	"errors"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/store/keyringstore"
)

// The stores that --store names by a word. Any other value is a folder's path.
const (
	storeAuto      = "auto"
	storeKeyring   = "keyring"
	storeFile      = "file"
	storeEncrypted = "encrypted"
	storeMemory    = "memory"
)

var storeWords = []string{storeAuto, storeKeyring, storeFile, storeEncrypted, storeMemory}

// What names a store for one run.
const (
	byFlag     = "--store"
	byVariable = "HANDSTAMP_STORE"
)

// storeChoice is which store is used, and why.
type storeChoice struct {
	word string // one of storeWords, but not auto, or the absolute path of a folder
	by   string // what chose it; empty: nothing did yet, and there is nothing stored
}

// chosenStore returns which store to use. Flag and environment win over the configuration, in
// which auto notes its choice; without one, it is the store that has credentials.
func (a *app) chosenStore() (storeChoice, error) {
	conf, err := a.loadConfig()
	if err != nil || a.decided.word != "" {
		return a.decided, err
	}
	c := storeChoice{a.global.Store, byFlag}
	if c.word == "" {
		c = storeChoice{a.env.get(byVariable), byVariable}
	}
	if c.word == "" || c.word == storeAuto {
		c = storeChoice{conf.Store, "the configuration"}
	}
	if c.word == "" || c.word == storeAuto {
		return a.storeInUse()
	}
	c.word, err = a.storeWord(c.word)
	return c, err
}

// storeInUse returns the store that has credentials. Files come first: they stay where they are
// until they are migrated.
func (a *app) storeInUse() (storeChoice, error) {
	for _, word := range []string{storeFile, storeKeyring, storeEncrypted} {
		folders, err := a.foldersOf(word)
		if err != nil {
			return storeChoice{}, err
		}
		if hasCredentials(folders.Credentials) || hasCredentials(folders.Spare) {
			return storeChoice{word, "what is stored"}, nil
		}
	}
	return storeChoice{word: storeFile}, nil
}

func hasCredentials(dir string) bool {
	for range credentialFiles(dir) {
		return true
	}
	return false
}

// escapeGlob returns a pattern that matches a path alone.
func escapeGlob(path string) string {
	if filepath.Separator == '\\' {
		return path // in which filepath has no escapes
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// decideStore has --store auto choose, before a first login is stored: the keyring, where there is
// one, or else files. It says what it chose and notes that in the configuration, so that no later
// process chooses another store.
func (a *app) decideStore() error {
	c, err := a.chosenStore()
	if err != nil || c.by != "" {
		return err
	}
	// A keyring that hangs must not hold up those that wait for the lock.
	missing := keyringstore.Check(context.Background(), a.keyringOptions())
	if missing != nil && !errors.Is(missing, keyringstore.ErrUnavailable) {
		// It is there, and files in its place would be a surprise.
		return keyringFailure(missing, "; or choose files with --store file")
	}
	unlock, err := a.lockChoice(context.Background())
	if err != nil {
		return err
	}
	defer unlock()
	if c, err = a.chosenStore(); err != nil || c.by != "" {
		return err // another process has chosen
	}
	if missing == nil {
		c.word = storeKeyring
		a.notify("Logins are kept sealed, with the key in the system keyring; " +
			"handstamp store info says more")
	} else {
		c.word = storeFile
		a.notify("Logins are kept in files that only you can read, as there is no system keyring; " +
			"handstamp store info says more")
	}
	a.decided, a.store = storeChoice{c.word, storeAuto}, nil
	if err := a.noteStore(storeMembers{Store: c.word}); err != nil {
		a.logger(handstamp.StepStore).Debug("the choice of the store cannot be noted", "err", err)
	}
	return nil
}

// lockChoice has this process alone choose a store or change the choice, and look at the
// configuration again.
func (a *app) lockChoice(ctx context.Context) (unlock func(), err error) {
	unlock, err = a.lockShared(ctx, "choice")
	a.conf = nil
	return unlock, err
}

// storeWord checks a value of --store, and makes a path absolute.
func (a *app) storeWord(word string) (string, error) {
	if slices.Contains(storeWords, word) {
		return word, nil
	}
	if isDatabase(word) {
		return databaseWord(word), nil
	}
	if scheme, _, ok := strings.Cut(word, ":"); ok && isPostgres(scheme) {
		return "", usage("the URL of a database begins with postgres://")
	}
	if u, err := url.Parse(word); err == nil && u.Scheme == "file" {
		if u.Host != "" && u.Host != "localhost" || u.Path == "" {
			return "", usage("the store %q names no folder of this machine: write file:///path",
				beginning(word))
		}
		return filepath.FromSlash(u.Path), nil
	}
	if strings.Contains(word, "://") || !strings.ContainsAny(word, `/\.`) {
		return "", usage("there is no store %q: it is %s, the path of a folder or "+
			"postgres://…%s", beginning(word), strings.Join(storeWords, ", "),
			didYouMean(word, storeWords))
	}
	dir, err := filepath.Abs(a.inHome(word))
	if err != nil {
		return "", &failure{kind: kindStore, message: "the store's path cannot be made absolute",
			err: err}
	}
	return dir, nil
}

// beginning returns what may be shown of a word that names no store, and may be the address of a
// database with a password.
func beginning(word string) string {
	if i := strings.IndexAny(word, ":=@"); i >= 0 {
		return word[:i+1] + "…"
	}
	return word
}

// keyringFailure is the failure of a command that needs the keyring. more follows what to do.
func keyringFailure(err error, more string) error {
	f := &failure{kind: kindStore, err: err}
	if e, ok := errors.AsType[*keyringstore.Error](err); ok {
		f.hint = e.Hint() + more
	}
	return f
}

// notify shows what is good to know and no error.
func (a *app) notify(message string) { a.shown(a.err).note("", "%s", message) }

// storeName is how messages call a store.
func storeName(word string) string {
	switch word {
	case storeKeyring:
		return "system keyring"
	case storeMemory:
		return "memory"
	case storeFile, storeEncrypted:
		return word + " store"
	}
	if isDatabase(word) {
		return "PostgreSQL"
	}
	return "file store " + word
}

// isSealed reports whether a store encrypts.
func isSealed(word string) bool { return word == storeKeyring || word == storeEncrypted }

// recordFiles returns the files in a folder of files that are of credentials, with damaged records
// and those before.
func recordFiles(dir string) []string {
	if dir == "" {
		return nil
	}
	found, _ := filepath.Glob(filepath.Join(escapeGlob(dir), "*-*.json*")) // no bad pattern
	return found
}

// countFiles counts the credentials in a folder of files.
func countFiles(dir string) (count int) {
	for range credentialFiles(dir) {
		count++
	}
	return count
}

// credentialFiles yields the names of the credentials in a folder of files, in any order.
func credentialFiles(dir string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return // to open a pipe would block
		}
		folder, err := os.Open(dir)
		if err != nil {
			return
		}
		defer folder.Close()
		for err == nil {
			var names []string
			names, err = folder.Readdirnames(100)
			for _, name := range names {
				host, ok := strings.CutSuffix(name, ".json")
				if ok && strings.Contains(host, "-") && !yield(name) {
					return
				}
			}
		}
	}
}
