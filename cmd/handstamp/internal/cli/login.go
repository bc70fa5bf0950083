package cli

import (
	"context"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/spf13/cobra"
)

// loginCommand is handstamp login.
type loginCommand struct {
	*app
	login loginOptions
	force bool
}

func (a *app) newLogin() *cobra.Command {
	l := &loginCommand{app: a}
	cmd := &cobra.Command{
		Use:   "login <server>",
		Short: "Sign in to a server",
		Long: `Sign in to an MCP server. The browser opens once; what it brings back is stored
so that later sessions need none. A stored login is tried at the server first, and
refreshed if need be: the browser opens only where that does not help, or with
--force.

The client registers by itself where the server allows it. Where it does not,
register one by hand at the server's console and give --client-id and, if there
is a secret, --client-secret-file, -env or -stdin. A secret is never an argument:
everybody on the machine could read it. The client is stored with the login: later
commands need neither.

On a terminal the URL that the browser ended at can be pasted, for a browser on
another machine; --paste reads it from standard input that is no terminal, too.`,
		Example: `  handstamp login mcp.example.com/mcp
  handstamp login linear --scope read --scope write
  handstamp login mcp.example.com/mcp --client-id 0oa4 --client-secret-file secret.txt \
    --token-endpoint-auth-method client_secret_post`,
		Args:              exactly(1, "one server"),
		ValidArgsFunction: a.completeServers,
		RunE:              func(cmd *cobra.Command, args []string) error { return l.run(cmd.Context(), args[0]) },
	}
	l.login.bind(cmd)
	cmd.Flags().BoolVar(&l.force, "force", false, "sign in anew though the stored credential is good")
	return cmd
}

// loginOutput is what --json prints.
type loginOutput struct {
	*handstamp.Status
	Already        bool   `json:"already_signed_in"`
	NoRefreshToken string `json:"no_refresh_token,omitempty"`
}

func (l *loginCommand) run(ctx context.Context, arg string) error {
	if err := l.login.check(); err != nil {
		return err
	}
	t, err := l.targetWith(arg, &l.login, nil)
	if err != nil {
		return err
	}
	c, err := l.client(t, &l.login, handstamp.LoginAuto)
	if err != nil {
		return err
	}
	result, err := c.Login(ctx, t.url, handstamp.LoginOptions{Force: l.force})
	if err == nil {
		err = result.Rejected
	}
	if err != nil {
		return advise(err, t)
	}
	if l.global.json {
		return l.out.json(loginOutput{result.Status, result.Already, result.NoRefreshToken}, true)
	}
	l.say(t, result)
	return nil
}

// say tells how the login ended.
func (l *loginCommand) say(t *target, result *handstamp.LoginResult) {
	if l.global.quiet {
		return
	}
	verb := "Signed in to"
	if result.Already {
		verb = "Already signed in to"
	}
	l.err.ok("", "%s %s (profile %s, %s)", verb, t.name, t.profile, l.place)
	l.err.note("", "%s", accessLine(result.Status, time.Now()))
	if why := result.NoRefreshToken; why != "" {
		l.err.warn("", "It does not renew by itself: %s", why)
	}
	switch {
	case l.place == "memory":
		l.err.warn("", "The memory store forgets this login when the command ends")
	case result.Already:
		l.err.note("", "To sign in anew: %s --force", t.command("login"))
	default:
		l.err.note("", "Try: %s", t.command("token"))
	}
}
