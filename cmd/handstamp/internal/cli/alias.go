package cli

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// addCommand is handstamp add.
type addCommand struct {
	*app
	login   loginOptions
	headers []string
	force   bool
}

// once are the flags of a login that are for that login alone.
var once = []string{
	"client-secret-stdin", "no-browser", "paste", "login-hint", "prompt", "max-age", "acr-values",
	"authorization-details", "initial-access-token-file", "initial-access-token-env",
	"software-statement-file",
}

func (a *app) newAdd() *cobra.Command {
	d := &addCommand{app: a}
	cmd := &cobra.Command{
		Use:   "add <name> <url>",
		Short: "Give a server a short name",
		Long: `Give a server a short name, with what each login and session there needs to know: the
flags of handstamp login, --profile, --allow-http, and headers. Everywhere a server is
named, the name will do. It is kept in the configuration (handstamp help
configuration), of which nothing else changes.

A secret does not belong there: name a file or a variable of the environment.`,
		Example: `  handstamp add linear https://mcp.linear.app/mcp
  handstamp add jira https://mcp.atlassian.com/v1/mcp --scope read:jira-work
  handstamp add internal mcp.example.com/mcp --client-id 0oa4 \
    --client-secret-env INTERNAL_SECRET --header 'X-Tenant=${TENANT}'`,
		Args: exactly(2, "a name and the URL of a server"),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range once {
				if cmd.Flags().Changed(name) {
					return usage("--%s is for one login: give it to handstamp login", name)
				}
			}
			for _, name := range []string{"ca-file", "proxy", "timeout"} {
				if cmd.Flags().Changed(name) {
					return usage("--%s is not kept for a server: give it to each command", name)
				}
			}
			return d.run(cmd.Context(), args[0], args[1])
		},
	}
	d.login.bind(cmd)
	flags := cmd.Flags()
	for _, name := range once {
		_ = flags.MarkHidden(name)
	}
	repeatedVar(flags, &d.headers, "header",
		"send `NAME=VALUE` with each request; ${VAR} is taken from the environment (may be repeated)")
	flags.BoolVar(&d.force, "force", false, "replace what the name stands for")
	return cmd
}

func (d *addCommand) run(ctx context.Context, alias, url string) error {
	if err := d.login.check(); err != nil {
		return err
	}
	conf, err := d.loadConfig()
	if err != nil {
		return err
	}
	s, err := d.config(url)
	if err != nil {
		return err
	}
	if strings.HasPrefix(alias, "-") || strings.Trim(alias, ".") == "" {
		return usage("%q cannot be the alias of a server: use a word that begins with a letter", alias)
	}
	before := conf.Servers[alias]
	outcome := "added"
	switch {
	case before != nil && sameConfig(before, s):
		outcome = outcomeUnchanged
	case before != nil && !d.force:
		return usage("%s is %s already, with other settings perhaps: --force replaces it", alias, shownURL(before.URL))
	case before != nil:
		outcome = "replaced"
	}
	if outcome != outcomeUnchanged {
		if err := d.putAlias(ctx, alias, s); err != nil {
			return err
		}
	}
	return d.print(map[string]any{"name": alias, "outcome": outcome, "config": s}, func() {
		d.err.ok("", "%s is %s", alias, shownURL(s.URL))
		d.err.note("", "Sign in: handstamp login %s", shellWord(alias))
		d.err.note("", "Use it in an MCP host: handstamp client connect <host> %s", shellWord(alias))
	})
}

// config returns the configuration that the flags make.
func (d *addCommand) config(url string) (*serverConfig, error) {
	u, err := parseURL(url)
	if err != nil {
		return nil, usage("%w", err)
	}
	if err := checkHTTP(u, d.global.allowHTTP); err != nil {
		return nil, err
	}
	o := &d.login
	s := &serverConfig{
		URL: withScheme(url), Profile: d.global.profile,
		ClientID: o.clientID, ClientSecretFile: absolutePath(o.secret.file), ClientSecretEnv: o.secret.env,
		ClientMetadataURL: o.metadataURL, AuthMethod: o.method,
		authSettings: o.auth.set.or(d.global.certificate()).absolute(),

		Scopes:   strings.Fields(strings.Join(o.scopes, " ")),
		Resource: o.resource, NoResource: o.noResource, CallbackPort: o.callbackPort,
		AllowHTTP: d.global.allowHTTP,
	}
	params, err := o.parameters()
	if err != nil {
		return nil, err
	}
	for name, values := range params {
		if s.Params == nil {
			s.Params = make(map[string]string)
		}
		if len(values) > 1 {
			return nil, usage("--param %s can be given once here", name)
		}
		s.Params[name] = values[0]
	}
	s.Headers, err = configHeaders(d.headers)
	return s, err
}

func sameConfig(a, b *serverConfig) bool {
	textA, errA := json.Marshal(a)
	textB, errB := json.Marshal(b)
	return errA == nil && errB == nil && string(textA) == string(textB)
}

func (a *app) newRemove() *cobra.Command {
	return &cobra.Command{
		Use:     "remove <name>",
		Aliases: []string{"rm"},
		Short:   "Take a server's short name away",
		Long: `Take the short name of a server away, and its settings in the configuration. A login
there stays; handstamp logout removes it.`,
		Example:           `  handstamp remove linear`,
		Args:              exactly(1, "the name of a server"),
		ValidArgsFunction: a.completeAliases,
		RunE:              withArgs(a.removeAlias),
	}
}

func (a *app) removeAlias(ctx context.Context, args []string) error {
	conf, err := a.loadConfig()
	if err != nil {
		return err
	}
	alias := args[0]
	s := conf.Servers[alias]
	if s == nil {
		return usage("there is no server %q in the configuration%s", alias,
			didYouMean(alias, slices.Sorted(maps.Keys(conf.Servers))))
	}
	users, stored := a.usersOf(alias, s), false
	if t, err := a.target(alias); err == nil {
		e, err := a.entry(ctx, t)
		stored = err == nil && e.Usable()
	}
	if err := a.deleteAlias(ctx, alias); err != nil {
		return err
	}
	return a.print(map[string]any{"name": alias, "outcome": "removed", "server": withScheme(s.URL), "used_by": users}, func() {
		a.err.ok("", "%s is no longer %s", alias, shownURL(s.URL))
		for _, u := range users {
			a.err.warn("", "%s still starts the bridge for it, as %s, now without what was configured: run %s",
				u.name, u.Entry, u.command())
		}
		if stored {
			a.err.note("", "The login there stays. To sign out: handstamp logout %s", shellWord(withScheme(s.URL)))
		}
	})
}

func (a *app) newShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show <server>",
		Short: "Show what is configured for a server",
		Long: `Show what is configured for a server. handstamp status shows its login. With --json it is what
the configuration has for it.`,
		Example: `  handstamp show linear
  handstamp show linear --json`,
		Args: exactly(1, "one server"),
		RunE: withArgs(a.showAlias),
	}
}

func (a *app) showAlias(_ context.Context, args []string) error {
	t, err := a.target(args[0])
	if err != nil {
		return err
	}
	alias, s := a.alias(t.key.Server)
	if a.conf.Servers[args[0]] != nil {
		alias, s = args[0], t.config
	}
	if s == nil {
		s = &serverConfig{URL: t.url}
	}
	out := map[string]any{"name": alias, "server": t.url, "profile": t.profile, "config": s}
	return a.print(out, func() {
		a.out.raw(a.out.styled(styleBold, t.name) + "  " + shownURL(t.url))
		if alias == "" {
			a.out.note(indent, "It has no name: handstamp add <name> %s", shellWord(t.url))
		}
		a.out.note(indent, "Profile: %s", t.profile)
		for _, m := range configObject(s) {
			if m.Name != "url" && m.Name != "profile" {
				a.out.note(indent, "%s: %s", m.Name, m.Value)
			}
		}
		a.out.note(indent, "Its login: %s", t.command("status"))
	})
}

// completeAliases completes the aliases of the configuration.
func (a *app) completeAliases(
	_ *cobra.Command, args []string, _ string,
) ([]string, cobra.ShellCompDirective) {
	conf, err := a.loadConfig()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return proposals(slices.Collect(maps.Keys(conf.Servers))), cobra.ShellCompDirectiveNoFileComp
}
