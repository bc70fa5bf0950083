package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/handstamp/handstamp/store"
)

func (a *app) newStoreReseal() *cobra.Command {
	return &cobra.Command{
		Use:   "reseal",
		Short: "Seal all logins in a database with the first key of the key file",
		Long: `Seal all logins in a PostgreSQL database, of all tenants and users, with the first key of
the key file that HANDSTAMP_STORE_KEY_FILE names. The others can be removed from it then.
Services and replicas go on meanwhile. Before, give all of them the new key, and then put
it first in all of them; each reads its keys when it starts. Whenever this is interrupted,
every login can still be used; run it again to complete it.`,
		Example: `  handstamp store reseal --store postgres:///handstamp`,
		Args:    exactly(0, "no arguments"),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runReseal(cmd.Context()) },
	}
}

// resealOutput is what --json prints.
type resealOutput struct {
	Store    string `json:"store"`
	Resealed int    `json:"resealed"`
}

func (a *app) runReseal(ctx context.Context) error {
	choice, err := a.chosenStore()
	switch {
	case err != nil:
		return err
	case !isDatabase(choice.word):
		return usage("this is for the logins in a database: name it with --store postgres://…")
	case a.global.Tenant+a.global.User != "":
		return usage("the logins of all tenants and users are sealed: " +
			"leave --tenant and --user out")
	}
	if keys, err := a.databaseKeys(); err == nil && len(keys) == 0 {
		return usage("nothing is sealed without a key: HANDSTAMP_STORE_KEY_FILE is " + keysNone)
	}
	db, err := a.openDatabase(ctx, choice.word)
	if err != nil {
		return err
	}
	defer db.close()
	resealed, err := db.Reseal(ctx)
	if err != nil {
		hint := "keep the older keys in the key file, and run this again"
		if errors.Is(err, store.ErrCorrupt) {
			hint += " when each damaged login is replaced (handstamp login) or removed (handstamp logout): " +
				"the row with its id in handstamp_credential has tenant, user and server"
		}
		return &failure{kind: kindStore, err: err,
			message: "not all logins could be sealed with the first key", hint: hint}
	}
	return a.print(resealOutput{withoutPassword(choice.word), resealed}, func() {
		if resealed == 0 {
			a.out.ok("", "All logins were sealed with the first key of the key file already. "+
				"To change the key, put the new one first")
			return
		}
		a.out.ok("", "All logins are sealed with the first key (sealed again: %d)", resealed)
	})
}
