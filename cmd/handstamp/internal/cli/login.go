package cli

import (
	"context"
	"errors"
	"strings"
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
		Long: `Sign in to an MCP server. The browser opens once; the login is stored, so that later
sessions need no browser. A stored login is tried at the server first, and refreshed
if needed: the browser opens only where that does not help, or with --force.

The client registers itself where the server allows it. Where the server does not,
register a client by hand at the server's console and give --client-id and, if it
has a secret, --client-secret-file, -env or -stdin. A secret is never an argument:
every user of the machine could read it. The client is stored with the login: later
commands need neither.

A client can have a key (--jwt-key) or a certificate (--client-cert) in place of a
secret. Without a user, tokens come with --client-credentials, --workload or, after
one login at the company's identity provider, --enterprise. --device shows a code to
enter on another device. Where a server offers to bind tokens to a key (DPoP), they
are; --dpop changes that. The flags of a login are stored with it (paths of files,
never their contents), so that later commands and bridges need none of them. To go back
to signing in with a browser, use --client-credentials=false or --device=false.

On a terminal the browser opens when you press Enter, or after ten seconds. You can
paste the URL that it ended at, for a browser on another machine; --paste reads it from
standard input that is not a terminal.`,
		Example: `  handstamp login mcp.example.com/mcp
  handstamp login linear --scope read --scope write
  handstamp login mcp.example.com/mcp --client-id 0oa4 \
    --client-secret-file secret.txt
  handstamp login mcp.example.com/mcp --client-credentials \
    --client-id 0oa4 --jwt-key key.pem
  handstamp login mcp.example.com/mcp --workload file:/var/run/secrets/mcp/token
  handstamp login mcp.example.com/mcp --enterprise https://idp.example.com \
    --enterprise-client-id 0oa5 --client-id 0oa4`,
		Args: exactly(1, "one server"),
		RunE: withArgs(l.run),
	}
	l.login.bind(cmd)
	cmd.Flags().BoolVar(&l.force, "force", false,
		"sign in again even if the stored login is still valid")
	return cmd
}

// loginOutput is what --json prints.
type loginOutput struct {
	*entry
	Already        bool   `json:"already_signed_in"`
	NoRefreshToken string `json:"no_refresh_token,omitempty"`
}

func (l *loginCommand) run(ctx context.Context, args []string) error {
	t, err := l.targetWith(args[0], &l.login, &headerOptions{})
	if err != nil {
		return err
	}
	c, err := l.client(t, &l.login, handstamp.LoginAuto)
	if err != nil {
		return err
	}
	before := l.loadSettings(t)
	result, err := c.Login(ctx, t.url, handstamp.LoginOptions{Force: l.force})
	l.waiting.end()
	if err == nil && result.Kept {
		t.keep = before
		l.saveSettings(t)
		l.notice("the login that was there before is kept")
	}
	if err == nil {
		err = result.Rejected
	}
	if err != nil {
		return l.adviseLogin(err, t)
	}
	l.saveSettings(t)
	return l.print(loginOutput{l.newEntry(t, result.Status, l.loadSettings(t)), result.Already, result.NoRefreshToken},
		func() { l.show(t, result) })
}

// dpopHints name the words of --dpop that a server may not go along with.
var dpopHints = map[string]string{
	"always": "--dpop always requests tokens that are bound to a key, which this server may not take",
	"never": "--dpop never requests tokens that are not bound to a key, " +
		"which this server may not take",
}

// adviseLogin adds to the error of a login the flag that it may be due to.
func (l *loginCommand) adviseLogin(err error, t *target) error {
	e, ok := errors.AsType[*handstamp.Error](err)
	advice := advise(err, t)
	a, advisable := errors.AsType[*advised](advice)
	if !ok || !advisable {
		return advice
	}
	registration, flag := l.login.auth.registrationAdvice(e.Code)
	switch {
	case e.Kind == handstamp.ErrRegistrationRequired && registration != "":
		a.hint, a.command = registration, t.command("login")+" "+flag+" FILE"
	case e.Kind == handstamp.ErrProtocol && dpopHints[t.auth.DPoP] != "":
		a.hint = dpopHints[t.auth.DPoP]
		a.command = t.command("login") + " --dpop auto"
	}
	return advice
}

// show writes the result of the login.
func (l *loginCommand) show(t *target, result *handstamp.LoginResult) {
	verb := "Signed in to"
	if result.Already {
		verb = "Already signed in to"
	}
	l.err.ok("", "%s %s (profile %s, %s)", verb, t.name, t.profile, l.place)
	l.err.note("", "%s", accessLine(result.Status, time.Now()))
	if names := l.login.auth.forUser(result.Status.Account); result.Already && len(names) > 0 {
		l.err.warn("", "No login was made, so %s had no effect", strings.Join(names, " and "))
	}
	if reason := result.NoRefreshToken; reason != "" {
		l.err.warn("", "It cannot be refreshed: %s", reason)
	}
	switch {
	case l.place == "memory":
		l.err.warn("", "The memory store forgets this login when the command ends")
	case result.Already:
		l.err.note("", "To sign in again: %s --force", t.command("login"))
	case result.Status.DPoP: // of which no bare token is of use
		l.err.note("", "Try: %s", t.command("tools"))
	default:
		l.err.note("", "Try: %s", t.command("token"))
	}
}
