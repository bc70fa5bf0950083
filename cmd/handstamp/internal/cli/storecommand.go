package cli

import (
	"context"

	"github.com/spf13/cobra"
)

func (a *app) newStore() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Show where credentials are kept, move them, and change their key",
		Args:  subcommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.newStoreInfo(), a.newStoreMigrate(), a.newStoreReseal())
	return cmd
}

func (a *app) newStoreInfo() *cobra.Command {
	return &cobra.Command{
		Use:   "info",
		Short: "Show where credentials are kept, and how they are protected",
		Long: `Show which store is used and what chose it, where it is, and how it is protected. The
stores are

  keyring    sealed files; the key is in the system's keyring
  encrypted  sealed files; the key is in a file that HANDSTAMP_STORE_KEY_FILE names, or
             derived from a passphrase that you type, or that is in a file that
             HANDSTAMP_STORE_PASSPHRASE_FILE names (- is standard input)
  file       files that only you can read, with tokens in the clear
  memory     nothing is kept
  PATH       as file, in another folder
  postgres:  the tables of a PostgreSQL database, for the user --user of the tenant --tenant;
             sealed with the key in the file that HANDSTAMP_STORE_KEY_FILE names (none: in
             the clear)

Without a choice (auto), the first login takes the keyring, where there is one, or else
files, and notes that in the configuration. Files from before stay until you move them.`,
		Example: `  handstamp store info
  handstamp store info --json`,
		Args: exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runStoreInfo(cmd.Context()) },
	}
}

// storeInfo is what store info prints.
type storeInfo struct {
	Store       string      `json:"store"`
	ChosenBy    string      `json:"chosen_by"`
	Folder      string      `json:"folder,omitempty"`
	Protection  string      `json:"protection"`
	Key         string      `json:"key,omitempty"` // where it is
	Credentials int         `json:"credentials"`
	Others      []storeInfo `json:"others,omitempty"` // further stores that have credentials
	Error       *report     `json:"error,omitempty"`  // why the store cannot be opened
}

func (a *app) runStoreInfo(ctx context.Context) error {
	choice, err := a.chosenStore()
	if err != nil {
		return err
	}
	info := a.describeStore(choice.word)
	info.ChosenBy = choice.by
	if choice.by == "" {
		info.ChosenBy = "nothing yet: the first login does"
	}
	var problem error
	if info.Credentials > 0 || choice.by != "" {
		problem = a.countCredentials(ctx, &info)
	}
	for _, word := range []string{storeFile, storeKeyring, storeEncrypted} {
		if other := a.describeStore(word); word != choice.word && other.Credentials > 0 {
			info.Others = append(info.Others, other)
		}
	}
	if problem != nil {
		info.Error = explain(ctx, problem)
	}
	if err := a.print(info, func() { a.showStoreInfo(&info) }); err != nil || problem == nil {
		return err
	}
	return ended(info.Error.Exit)
}

// countCredentials opens the store.
func (a *app) countCredentials(ctx context.Context, info *storeInfo) error {
	keys, err := a.storedKeys(ctx)
	if err == nil {
		info.Credentials = len(keys)
	}
	return err
}

// describeStore describes a store as far as that needs no key.
func (a *app) describeStore(word string) storeInfo {
	if isDatabase(word) {
		return a.describeDatabase(word)
	}
	info := storeInfo{Store: word, Protection: "files that only you can read, in the clear"}
	if folders, err := a.foldersOf(word); err == nil && word != storeMemory {
		info.Folder = folders.Credentials
		info.Credentials = countFiles(folders.Credentials)
	}
	switch word {
	case storeMemory:
		info.Protection = "nothing is kept"
	case storeKeyring:
		info.Protection = "sealed with AES-256-GCM"
		info.Key = "system keyring, item " + a.keyringOptions().Item
	case storeEncrypted:
		from, _ := a.keySources()
		info.Protection, info.Key = "sealed with AES-256-GCM", from.String()
	}
	return info
}

func (a *app) showStoreInfo(info *storeInfo) {
	mark := a.out.ok
	if info.Error != nil {
		mark = a.out.bad
	}
	mark("", "Store: %s (chosen by %s)", info.Store, info.ChosenBy)
	if info.Folder != "" {
		a.out.note("  ", "Credentials: %d in %s", info.Credentials, info.Folder)
	}
	a.out.note("  ", "Protection: %s", info.Protection)
	if info.Key != "" {
		a.out.note("  ", "Key: %s", info.Key)
	}
	if info.Error != nil {
		a.out.note("  ", "%s", capital(info.Error.Message))
		if info.Error.Hint != "" {
			a.out.note("  ", "%s", capital(info.Error.Hint))
		}
	}
	for _, other := range info.Others {
		a.out.warn("", "Credentials in the %s, which is not used: %d (%s)",
			storeName(other.Store), other.Credentials, other.Folder)
		switch {
		case info.Store == storeMemory || info.Error != nil:
		case isDatabase(info.Store): // no migration leads there
			a.out.note("  ", "Take one along: handstamp export SERVER --store %s writes it, and %s",
				other.Store, importToDatabase)
		default:
			a.out.note("  ", "Move them here: handstamp store migrate %s --from %s", info.Store,
				other.Store)
		}
	}
}
