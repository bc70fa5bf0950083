package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/mcphost"
	"github.com/handstamp/handstamp/cmd/handstamp/internal/service"
)

// callerCommand is handstamp caller add, ls and remove.
type callerCommand struct {
	*app
	file        string
	uid         string
	certificate string
}

func (a *app) newCaller() *cobra.Command {
	c := &callerCommand{app: a}
	cmd := &cobra.Command{
		Use:   "caller",
		Short: "Set which programs get tokens from handstamp serve --store postgres://…",
		Long: `Set which programs, the callers, may make requests to handstamp serve --store
postgres://…, and for whom: each is confined to one tenant (--tenant) and, with --user,
to one user of it. The callers are in a file. A service that is running uses each change
of it with the next request.`,
		Args: subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&c.file, "callers", "",
		"file of the callers (default: callers.json in the folder for configuration)")
	cmd.AddCommand(c.newAdd(), c.newList(), c.newRemove())
	return cmd
}

func (c *callerCommand) newAdd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add <name>",
		Short: "Add a caller, and print its key",
		Long: `Add a caller for the tenant --tenant, and print its key to standard output. The key is
printed only now, because only a hash of it is stored. The caller sends it in the header
Authorization: Bearer KEY.

With --uid or --certificate there is no key. The caller is then any process of that user
at the Unix socket (on Linux), or any client with a certificate that has that name.`,
		Example: `  handstamp caller add indexer --tenant acme
  handstamp caller add ada-notebook --tenant acme --user ada
  handstamp caller add sidecar --tenant acme --uid 1000
  handstamp caller add web --tenant acme --certificate spiffe://acme.example/web`,
		Args: exactly(1, "a name for the caller"),
	}
	flags := cmd.Flags()
	flags.StringVar(&c.uid, "uid", "", "recognize it by the `number` of the user that it runs as")
	flags.StringVar(&c.certificate, "certificate", "",
		"recognize it by this DNS `name` or URI in its certificate (subjectAltName)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !cmd.Flags().Changed("tenant") {
			return usage("name the tenant whose logins it may use: --tenant NAME")
		}
		for _, name := range []string{"uid", "certificate"} { // of a variable that is not set, perhaps
			if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() == "" {
				return usage("--%s is empty", name)
			}
		}
		caller := service.Caller{Name: args[0], Tenant: c.global.Tenant, Certificate: c.certificate}
		if cmd.Flags().Changed("user") {
			caller.User = &c.global.User
		}
		return c.runAdd(cmd.Context(), caller)
	}
	return cmd
}

// callerAdded is what --json prints of a new caller.
type callerAdded struct {
	shownCaller
	Key string `json:"key,omitempty"` // printed this once
}

func (c *callerCommand) runAdd(ctx context.Context, caller service.Caller) error {
	if clean(caller.Name) != caller.Name || caller.Name == "" {
		return usage("the name of a caller has no control characters, and is not empty")
	}
	caller.CreatedAt = time.Now().UTC().Truncate(time.Second)
	var out callerAdded
	switch {
	case c.uid != "" && c.certificate != "":
		return usage("give --uid or --certificate, not both")
	case c.uid != "":
		uid, err := strconv.ParseUint(c.uid, 10, 32)
		if err != nil {
			return usage("--uid is the number of a user, as id -u prints it")
		}
		caller.UID = new(uint32(uid))
	case c.certificate == "":
		key, hash := service.NewKey()
		caller.KeyHash, out.Key = hash, key.Reveal()
	}
	err := c.edit(ctx, func(all []service.Caller) ([]service.Caller, error) {
		return append(all, caller), nil
	})
	if err != nil {
		return err
	}
	out.shownCaller = showCaller(&caller)
	if c.global.json {
		return c.out.json(out, true)
	}
	c.shown(c.err).ok("", "%s may use %s", caller.Name, out.scope())
	if out.Key == "" {
		return nil
	}
	return c.out.data([]byte(out.Key + "\n"))
}

// edit replaces the callers of the file by what change makes of them.
func (c *callerCommand) edit(
	ctx context.Context, change func([]service.Caller) ([]service.Caller, error),
) error {
	path, err := c.callersPath(c.file)
	if err != nil {
		return err
	}
	unlock, err := c.lockShared(ctx, "callers")
	if err != nil {
		return err
	}
	defer unlock()
	all, err := service.ReadCallers(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return callersFailure(err)
	}
	all, err = change(all)
	if err != nil {
		return err
	}
	text, err := service.EncodeCallers(all)
	if err != nil {
		return usage("%w", err)
	}
	err = os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = publish(path, text, 0o600, replaceAsItWas)
	}
	if err != nil {
		return &failure{kind: kindOther, message: "the file of callers cannot be written", err: err}
	}
	return nil
}

// replaceAsItWas has a file take the place of another, with its owner, group and mode: the service
// that reads it may be another user's.
func replaceAsItWas(temp, path string) error {
	if err := mcphost.KeepOwner(temp, path); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// callersPath returns the path of the file of callers.
func (a *app) callersPath(flag string) (string, error) {
	if flag != "" {
		return a.absolute(flag), nil
	}
	dirs, err := findFolders(a.env)
	return filepath.Join(dirs.Config, "callers.json"), err
}

func (c *callerCommand) newList() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the callers",
		Args:  exactly(0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			path, err := c.callersPath(c.file)
			if err != nil {
				return err
			}
			all, err := service.ReadCallers(path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return callersFailure(err)
			}
			list := make([]shownCaller, len(all))
			for i := range all {
				list[i] = showCaller(&all[i])
			}
			return c.print(map[string]any{"callers": list}, func() {
				for _, s := range list {
					c.out.line("%s  %s, by %s", s.Name, s.scope(), s.KnownBy)
				}
			})
		},
	}
}

func (c *callerCommand) newRemove() *cobra.Command {
	return &cobra.Command{
		Use:   "remove <name>",
		Short: "Remove a caller; its key stops working",
		Args:  exactly(1, "the name of a caller"),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := c.edit(cmd.Context(), func(all []service.Caller) ([]service.Caller, error) {
				n := len(all)
				all = slices.DeleteFunc(all, func(v service.Caller) bool { return v.Name == args[0] })
				if len(all) == n {
					return nil, usage("there is no caller %q", args[0])
				}
				return all, nil
			})
			if err != nil {
				return err
			}
			return c.print(map[string]string{"name": args[0], "outcome": "removed"}, func() {
				c.err.ok("", "Removed the caller %s", args[0])
			})
		},
	}
}

// shownCaller is a caller as it is shown: without the hash of its key.
type shownCaller struct {
	Name      string    `json:"name"`
	Tenant    string    `json:"tenant"`
	User      *string   `json:"user,omitempty"`
	KnownBy   string    `json:"known_by"` // "key", "uid N" or "certificate NAME"
	CreatedAt time.Time `json:"created_at"`
}

func showCaller(c *service.Caller) shownCaller {
	s := shownCaller{c.Name, c.Tenant, c.User, "key", c.CreatedAt}
	switch {
	case c.UID != nil:
		s.KnownBy = "uid " + strconv.FormatUint(uint64(*c.UID), 10)
	case c.Certificate != "":
		s.KnownBy = "certificate " + c.Certificate
	}
	return s
}

// scope says whose logins a caller may use.
func (s *shownCaller) scope() string {
	if s.User != nil {
		return "the logins of user " + strconv.Quote(*s.User) + " of tenant " + strconv.Quote(s.Tenant)
	}
	return "the logins of tenant " + strconv.Quote(s.Tenant)
}
