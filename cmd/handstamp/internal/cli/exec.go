package cli

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os/exec"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// The codes that shells give for a command that could not be started.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// ownSecrets are the variables of ours that a child has no use for.
var ownSecrets = []string{"HANDSTAMP_CLIENT_SECRET", tokenVariable, "HANDSTAMP_STORE_KEY_FILE"}

// execCommand is handstamp exec.
type execCommand struct {
	*app
	token tokenOptions
	name  string
}

func (a *app) newExec() *cobra.Command {
	e := &execCommand{app: a}
	cmd := &cobra.Command{
		Use:   "exec <server> --env NAME [flags] -- command…",
		Short: "Run a command with the token in its environment",
		Long: `Run a command with a fresh access token in an environment variable of its own.
The exit code is that of the command, or 126 or 127 if it cannot be run. The command
gets the signals, but none of Handstamp's own secrets. The token is not refreshed while
the command runs.`,
		Example: `  handstamp exec linear --env LINEAR_TOKEN -- ./agent --fast`,
		Args:    e.checkArgs,
		RunE:    withArgs(e.run),
	}
	e.token.bind(cmd)
	cmd.Flags().StringVar(&e.name, "env", "", "name of the variable that gets the token")
	return cmd
}

func (e *execCommand) checkArgs(cmd *cobra.Command, args []string) error {
	dash := cmd.ArgsLenAtDash()
	switch {
	case len(args) == 0 || dash == 0:
		return usage("handstamp exec needs a server: handstamp exec <server> --env NAME -- command…")
	case dash < 0:
		return usage("handstamp exec needs -- before the command: " +
			"handstamp exec <server> --env NAME -- command…")
	case dash > 1:
		return usage("unexpected argument %q; handstamp exec takes one server before --", args[1])
	case len(args) == 1:
		return usage("handstamp exec needs a command after --")
	case e.name == "":
		return usage("handstamp exec needs --env NAME, the variable that gets the token")
	case strings.ContainsAny(e.name, "=\x00 ") || clean(e.name) != e.name:
		return usage("--env is the name of a variable, and %q cannot be one", e.name)
	}
	return nil
}

func (e *execCommand) run(ctx context.Context, args []string) error {
	argv := args[1:]
	t, err := e.target(args[0])
	if err != nil {
		return err
	}
	// The command is looked up first: a typing error is found before a browser
	// opens.
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return notStarted(argv[0], err)
	}
	token, err := e.token.token(ctx, e.app, t)
	if err != nil {
		return err
	}
	if bound(token) {
		return boundError(t)
	}
	// A refresh that has begun has to be stored before this process becomes another.
	if err := errors.Join(e.close(ctx), ctx.Err()); err != nil {
		return err
	}
	hidden := slices.Concat(ownSecrets, e.hidden, e.storeSecret(), []string{t.config.ClientSecretEnv})
	env := e.env.without(hidden...).with(e.name, token.Value.Reveal())
	return runChild(e.app, path, argv, env)
}

// notStarted returns the error for a command that cannot be run, with the exit
// code that shells give.
func notStarted(name string, err error) error {
	k := kind{"command_not_found", exitNotFound}
	if errors.Is(err, fs.ErrPermission) {
		k = kind{"command_not_executable", exitNotExecutable}
	}
	return &failure{kind: k, message: "the command " + name + " cannot be run",
		err: cmp.Or(errors.Unwrap(err), err)}
}
