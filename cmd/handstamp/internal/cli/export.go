package cli

import (
	"context"
	"encoding/json"
	"errors"

	"filippo.io/age"
	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
	"github.com/spf13/cobra"
)

// exportCommand is handstamp export.
type exportCommand struct {
	*app
	phrase     passphrase
	recipients []string
}

func (a *app) newExport() *cobra.Command {
	e := &exportCommand{app: a}
	cmd := &cobra.Command{
		Use:   "export <server>",
		Short: "Write a login to take to another machine, encrypted",
		Long: `Write the login at a server to standard output, encrypted with age: with a passphrase,
or for an age recipient. handstamp import stores it on another machine, which then
needs no browser. All of the login travels: tokens, client, and the key that tokens
are bound to. A private key in a file (--jwt-key) stays where it is.

The login is then in two places. Where the server rotates refresh tokens, the first
refresh in one place ends the other: use it in one of them.`,
		Example: `  handstamp export linear > linear.age
  handstamp import linear.age
  handstamp export linear --recipient age1ql3z… |
    ssh build.example handstamp import --stdin --identity key.txt`,
		Args: exactly(1, "one server"),
		RunE: withArgs(e.run),
	}
	e.phrase.bind(cmd.Flags())
	repeatedVar(cmd.Flags(), &e.recipients, "recipient",
		"seal it for this age recipient instead of a passphrase (may be repeated)")
	return cmd
}

// exportVersion is the version of what is exported.
const exportVersion = 1

// exported is what is sealed.
type exported struct {
	Version  int             `json:"handstamp_export"`
	Record   json.RawMessage `json:"record"`
	Settings authSettings    `json:"settings,omitzero"`
	Flags    *shownFlags     `json:"profile_flags,omitempty"`
}

func (e *exportCommand) run(ctx context.Context, args []string) error {
	if len(e.recipients) > 0 && e.phrase.given() {
		return usage("a login is sealed with a passphrase or for recipients, not both")
	}
	to, err := recipients(e.recipients)
	if err != nil {
		return err
	}
	t, err := e.target(args[0])
	if err != nil {
		return err
	}
	t.local = true
	c, err := e.storedClient(ctx, t, handstamp.LoginNever)
	if err != nil {
		return err
	}
	text, err := e.read(ctx, c.Store, t)
	if err != nil {
		return err
	}
	if len(to) == 0 {
		if to, err = e.byPassphrase(); err != nil {
			return err
		}
	}
	sealed, err := seal(text, to...)
	if err != nil {
		return err
	}
	if err := e.out.data(sealed); err != nil {
		return err
	}
	e.notice("the login at " + t.name + " is in two places once it is imported: a server that rotates " +
		"refresh tokens lets only one of them refresh it. To use it there alone: " +
		t.command("logout") + " --no-revoke")
	return nil
}

// read returns the stored login as it is exported.
func (e *exportCommand) read(ctx context.Context, s store.Store, t *target) ([]byte, error) {
	rec, err := record.Get(ctx, s, t.storeKey())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, &failure{kind: kindStore, err: err}
	}
	if rec.Grant == nil {
		e := &failure{kind: kindLogin, message: "there is no login at " + t.name + " to export"}
		return nil, advise(e, t)
	}
	portable(rec)
	text, err := record.Encode(rec)
	if err != nil {
		return nil, err
	}
	return json.Marshal(exported{exportVersion, text, e.loadSettings(t), t.shownFlags()})
}

// portable takes out of a login what concerns one machine, and where the authorization server is: whoever
// wrote it could have another machine send its client secret anywhere. The first refresh discovers it.
func portable(rec *record.Record) {
	rec.Intent, rec.Retry, rec.PendingLogin, rec.LoginFailure = nil, nil, nil, nil
	rec.AutomaticLogins, rec.AuthorizationServer = nil, nil
	rec.Grant.TokenEndpoint, rec.Grant.RevocationEndpoint = "", ""
}

// byPassphrase returns the recipient for a passphrase.
func (e *exportCommand) byPassphrase() ([]age.Recipient, error) {
	phrase, err := e.phrase.read(e.app, true)
	if err != nil {
		return nil, err
	}
	if len(phrase) < minPassphrase {
		return nil, usage("the passphrase is too short: a file can be tried without end, "+
			"so take at least %d characters, such as four words", minPassphrase)
	}
	r, err := age.NewScryptRecipient(phrase.Reveal())
	return []age.Recipient{r}, err
}
