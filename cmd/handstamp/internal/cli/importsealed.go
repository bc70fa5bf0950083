package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	"filippo.io/age"
	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/cmd/handstamp/internal/mcphost"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
	"github.com/spf13/cobra"
)

// importSealed is handstamp import FILE: a login that handstamp export wrote.
type importSealed struct {
	*app
	phrase   passphrase
	identity string
	stdin    bool
	force    bool
	dryRun   bool // of a host's servers, see importServers
}

func (m *importSealed) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&m.stdin, "stdin", false, "read the exported login from standard input")
	flags.BoolVar(&m.force, "force", false, "replace a stored login that is still valid")
	flags.StringVar(&m.identity, "identity", "", "file with the age identity that opens it")
	m.phrase.bind(flags)
}

func (m *importSealed) checkArgs(_ *cobra.Command, args []string) error {
	switch {
	case len(args) > 1:
		return usage("unexpected argument %q; handstamp import takes one file or MCP host", args[1])
	case m.stdin && len(args) > 0:
		return usage("the login is in %s or on standard input, not in both", args[0])
	case m.stdin:
		return nil
	case len(args) == 0:
		return usage("handstamp import needs a source: mcp-remote, an MCP host, a file, or --stdin")
	}
	if _, err := os.Stat(args[0]); errors.Is(err, fs.ErrNotExist) && mcphost.Find(args[0]) == nil {
		return usage("there is nothing to import from %q%s", args[0],
			didYouMean(args[0], importSources()))
	}
	return nil
}

func (m *importSealed) run(ctx context.Context, args []string) error {
	if m.dryRun {
		return usage("--dry-run is for the servers of an MCP host, not for a login")
	}
	where := "standard input"
	var sealed []byte
	var err error
	if m.stdin {
		sealed, err = m.readInput(maxSealed)
	} else {
		where = args[0]
		sealed, err = readFile(args[0], maxSealed)
	}
	if err != nil {
		return usage("%s cannot be read: %w", where, err)
	}
	text, err := unseal(sealed, m.open)
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if err != nil {
		return usage("%s cannot be imported: %w", where, err)
	}
	var x exported
	rec, err := x.parse(text)
	if err != nil {
		return usage("%s cannot be imported: %w", where, err)
	}
	return m.store(ctx, &x, rec)
}

// open returns the identities to open a login with.
func (m *importSealed) open(byPassphrase bool) ([]age.Identity, error) {
	switch {
	case !byPassphrase && m.identity == "":
		return nil, usage("the login is sealed for an age recipient: " +
			"name the file of its identity with --identity")
	case !byPassphrase:
		return identities(m.identity)
	}
	phrase, err := m.phrase.read(m.app, false)
	if err != nil {
		return nil, err
	}
	i, err := age.NewScryptIdentity(phrase.Reveal())
	return []age.Identity{i}, err
}

// parse reads an exported login. A record whose parts name different servers would send the
// tokens of one to the other.
func (x *exported) parse(text []byte) (*record.Record, error) {
	if err := json.Unmarshal(text, x); err != nil || x.Version == 0 {
		return nil, errors.New("it is no login that handstamp export has written")
	}
	if x.Version > exportVersion {
		return nil, errors.New("it is from a newer version of Handstamp")
	}
	rec, err := record.Decode(x.Record)
	if err != nil {
		return nil, err
	}
	key, err := store.NewKey(rec.ServerURL, rec.Key.Profile)
	if err != nil || key != rec.Key || rec.Grant == nil {
		return nil, errors.New("it is a login for no server")
	}
	portable(rec)
	return rec, checkProfile(rec.Key.Profile)
}

// store puts the login into the store.
func (m *importSealed) store(ctx context.Context, x *exported, rec *record.Record) error {
	if _, err := m.loadConfig(); err != nil {
		return err
	}
	rec.Key.Profile = cmp.Or(m.global.profile, m.env.get("HANDSTAMP_PROFILE"), rec.Key.Profile)
	if err := m.decideStore(); err != nil {
		return err
	}
	credentials, err := m.openStore()
	if err != nil {
		return err
	}
	t := m.storedTarget(rec.Key)
	t.key = rec.Key
	before, err := record.Get(ctx, credentials, rec.Key)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrCorrupt) {
		return &failure{kind: kindStore, err: err}
	}
	c := &handstamp.Client{Store: credentials, Profile: rec.Key.Profile,
		LoginPolicy: handstamp.LoginNever}
	m.listen(c)
	m.clients = append(m.clients, c)
	if s, err := c.Status(ctx, rec.ServerURL); err == nil && s.Usable() && !m.force {
		return usage("there is already a valid login at %s (profile %s): --force replaces it, "+
			"--profile keeps both", t.name, t.profile)
	}
	rec.Revision = before.Revision
	if err := record.Put(ctx, credentials, rec); err != nil {
		return &failure{kind: kindStore, err: err}
	}
	complete := m.takeSettings(x.Settings, t)
	if sum := derivedSum(rec.Key.Profile, m.baseProfile()); sum != "" && x.Flags != nil && m.dirs != nil {
		t.stored = x.Flags
		_ = writePrivate(m.flagsFile(sum), x.Flags) // for status alone
	}
	return m.show(ctx, c, t, complete)
}

// takeSettings saves the settings of the login that this machine can have, and reports the others.
func (m *importSealed) takeSettings(s authSettings, t *target) (complete bool) {
	var left []leftSetting
	t.keep, left = s.withoutSources()
	m.saveSettings(t)
	if len(left) == 0 {
		return true
	}
	var names []string
	command := t.command("login")
	for _, l := range left {
		names = append(names, short(l.what))
		command += " " + l.flags
	}
	m.warn("not imported, because it is the other machine's: " + list(names, "and") +
		"; if the login needs it here, run: " + command)
	return false
}

// show reports the login. One that is not complete is not to be tried: a refresh without the certificate
// that its tokens are bound to may end it.
func (m *importSealed) show(ctx context.Context, c *handstamp.Client, t *target, complete bool) error {
	s, err := c.Status(ctx, t.url)
	if err != nil {
		return advise(err, t)
	}
	return m.print(m.newEntry(t, s, m.loadSettings(t)), func() {
		m.err.ok("", "Imported the login at %s (profile %s, %s)", t.name, t.profile, m.place)
		m.err.note("", "Use it in one place: on the other machine, "+
			"handstamp logout --no-revoke forgets it")
		if complete {
			m.err.note("", "Try: %s", t.command("token"))
		}
	})
}
