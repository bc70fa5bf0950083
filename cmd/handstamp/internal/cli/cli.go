package cli

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
	"github.com/spf13/cobra"
)

// closeTimeout bounds how long a command that is over, or was interrupted, waits
// for a refresh to be stored. A rotated refresh token that does not reach the
// store is a login lost, unless a helper process carries on. MCP hosts kill what
// still runs 5 seconds after they have signalled it to end.
const closeTimeout = 4 * time.Second

// Process is what a command runs in.
type Process struct {
	Stdin   io.Reader // nil: empty
	Stdout  io.Writer // nil: discarded
	Stderr  io.Writer // nil: discarded
	Environ []string  // as os.Environ

	// Executable is the path of this program, which starts itself again: for
	// refreshes that survive it, and for the demo. Empty: refreshes are done in
	// this process, and os.Executable finds the program for the demo.
	Executable string

	// Ready is closed when the process catches its signals: nothing that a signal must not
	// end begins before. Nil: it does already.
	Ready <-chan struct{}
}

// Run runs the command line args, without the program's name, and returns the
// exit code. When ctx ends, the command stops, stores what must not be lost, and
// returns 130, or 0 if it serves: that is how a server ends.
func Run(ctx context.Context, args []string, p Process) int {
	a := newApp(p)
	a.interrupted = ctx.Done()
	root := a.rootFor(args)
	root.SetArgs(args)
	if completes(args) {
		a.registerCompletions(root)
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		a.global.json = a.global.json || jsonAmong(args) // it may follow the flag that is wrong
		return flagError(cmd, err)
	})
	if p.Ready != nil {
		<-p.Ready
	}
	err := cmp.Or(root.ExecuteContext(ctx), a.helpErr)
	if closeErr := a.close(ctx); err == nil && closeErr != nil {
		return a.fail(context.WithoutCancel(ctx), closeErr) // it is the reason, and not the interrupt before it
	}
	if err == nil {
		return exitOK
	}
	return a.fail(ctx, err)
}

// app is one run of the command: its input and output, the flags that all
// commands have, and what was opened during the run.
type app struct {
	in  io.Reader
	out *printer // data
	err *printer // messages
	env environment
	exe string

	interrupted <-chan struct{} // closed when the run has to end; nil: never

	global   globalOptions
	conf     *config            // read on first use
	store    store.Store        // opened on first use
	place    string             // the store's name in messages
	opened   *openedStore       // what store is
	database *database          // where store is in one; nil otherwise
	decided  storeChoice        // by this run; empty: nothing was
	dirs     *filestore.Folders // has what is kept beside credentials; nil if nothing is
	givenKey secret.String      // the key of a sealed store, from the process that started this one
	hidden   []string           // variables that hold secrets
	clients  []*handstamp.Client
	helpErr  error                     // of a page of the help
	waiting  countdown                 // of the login that waits for the user
	narrated atomic.Pointer[string]    // the server of the last event that -v showed
	endBy    atomic.Pointer[time.Time] // when the process has to have ended, once it was signalled
}

func newApp(p Process) *app {
	env := environment(p.Environ)
	return &app{
		in:  cmp.Or[io.Reader](p.Stdin, strings.NewReader("")),
		out: newPrinter(cmp.Or(p.Stdout, io.Discard), env),
		err: newPrinter(cmp.Or(p.Stderr, io.Discard), env),
		env: env,
		exe: p.Executable,
	}
}

// startedByPrograms are the commands that hosts and scripts start all the time. Alone they are made
// in a quarter of the time of the whole tree, which is a twentieth of a start.
var startedByPrograms = map[string]func(*app) *cobra.Command{
	"bridge": (*app).newBridge, "token": (*app).newToken, "exec": (*app).newExec, helperVerb: (*app).newHelper,
}

// rootFor returns the command tree as far as the arguments need it.
func (a *app) rootFor(args []string) *cobra.Command {
	if len(args) > 0 && startedByPrograms[args[0]] != nil {
		return a.newRootWith(startedByPrograms[args[0]](a))
	}
	return a.newRoot()
}

// newRoot returns the whole command tree.
func (a *app) newRoot() *cobra.Command {
	root := a.newRootWith(
		a.newDemo(), a.newLogin(), a.newLogout(), a.newStatus(), a.newDoctor(), a.newToken(), a.newExec(),
		a.newBridge(), a.newTools(), a.newCall(), a.newHelper(), a.newLab(), a.newImport(),
		a.newExport(), a.newClientDocument(), a.newStore(), a.newServe(), a.newCaller(), a.newCompletion(), a.newMan(), a.newVersion(), a.newHosts(), a.newAdd(), a.newRemove(), a.newShow(),
		newTopic("environment", "The environment variables and folders that Handstamp knows",
			environmentPage),
		newTopic(globalTopic, "The flags that all commands take", globalPage),
		newTopic("configuration", "The configuration file", configurationPage),
	)
	for _, cmd := range root.Commands() {
		if strings.Contains(cmd.Use, "server") {
			cmd.ValidArgsFunction = a.completeServers
		}
	}
	return root
}

// newRootWith returns the command with some of its subcommands.
func (a *app) newRootWith(commands ...*cobra.Command) *cobra.Command {
	showVersion := false
	root := &cobra.Command{
		Use:   "handstamp",
		Short: "Log in to MCP servers once; every later session just walks back in",
		Long: `Handstamp is OAuth for MCP clients: log in once, and every later session just
walks back in.

A server is an alias from the configuration file or a URL. https:// may be left
out, and so may the http:// of a server on this machine (127.0.0.1, localhost).
Data goes to standard output, messages and errors to standard error.

Exit codes: 0 success, 1 other, 2 usage, 3 unreachable (the credential is kept),
4 login required, 5 denied or timed out, 6 protocol or security, 7 store,
130 interrupted, 141 the reader of standard output has ended. handstamp exec returns
that of its command, or 126 or 127 if it cannot be run.`,
		Example: `  handstamp demo                       # see it work, on this machine alone
  handstamp login mcp.example.com/mcp
  handstamp token mcp.example.com/mcp
  handstamp exec mcp.example.com/mcp --env TOKEN -- ./agent`,
		Args:              subcommand,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Name() == cobra.ShellCompRequestCmd { // shells do not show its errors
				return a.global.check()
			}
			return cmp.Or(a.global.check(), a.checkLog())
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if showVersion {
				return a.printVersion()
			}
			return a.runOverview(cmd.Context())
		},
	}
	root.Flags().BoolVar(&showVersion, "version", false, "print the version")
	root.SetIn(a.in)
	root.SetOut(a.out.w)
	root.SetErr(a.err.w)
	root.SetHelpCommand(a.newHelp())
	root.SetHelpFunc(a.helpPage)
	a.global.bind(root.PersistentFlags())
	root.AddCommand(commands...)
	return root
}

// close waits for what the clients still have to store.
func (a *app) close(ctx context.Context) error {
	end := cmp.Or(a.endBy.Load(), new(time.Now().Add(closeTimeout)))
	a.waiting.end()
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), *end)
	defer cancel()
	var errs []error
	for _, c := range a.clients {
		errs = append(errs, c.Close(ctx))
	}
	if a.database != nil {
		a.database.close()
	}
	return errors.Join(errs...)
}

// executable returns the path of this program.
func (a *app) executable() (string, error) {
	if a.exe != "" {
		return a.exe, nil
	}
	return os.Executable()
}
