package cli

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/mcphost"
	"github.com/handstamp/handstamp/internal/mcpremote"
	"github.com/spf13/cobra"
)

func (a *app) newImport() *cobra.Command {
	m := &importSealed{app: a}
	cmd := &cobra.Command{
		Use:   "import mcp-remote | <host> | <file> | --stdin",
		Short: "Import logins and servers of other programs, or a login of another machine",
		Long: `Import the logins of another program, so that you need not sign in again; its files
are only read. Import the remote servers of an MCP host (handstamp client ls shows
them), or of a file such as .mcp.json: each gets a short name, as handstamp add gives
one. Or import a login that handstamp export has written on another machine: from a
file or, with --stdin, from standard input.`,
		Example: `  handstamp import mcp-remote
  handstamp import cursor
  handstamp import .mcp.json --dry-run
  handstamp import linear.age --identity key.txt`,
		Args: m.checkArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			servers := &importServers{app: a, dryRun: m.dryRun}
			if done, err := servers.run(cmd.Context(), args); done || err != nil {
				return err
			}
			return m.run(cmd.Context(), args)
		},
	}
	m.bind(cmd)
	cmd.Flags().BoolVar(&m.dryRun, "dry-run", false,
		"show what would be imported from an MCP host or its file, and change nothing")
	cmd.AddCommand(a.newImportMCPRemote())
	return cmd
}

// importSources returns the programs whose logins can be taken over.
func importSources() []string { return append([]string{"mcp-remote"}, mcphost.IDs()...) }

// importCommand is handstamp import mcp-remote.
type importCommand struct {
	*app
	folderFlag string
	offline    bool
	dryRun     bool
	force      bool
	login      loginOptions // the client, where mcp-remote got it by a flag and did not keep it

	now     time.Time
	dir     string // mcp-remote's, absolute
	folder  *mcpremote.Folder
	only    []*target                     // the servers that the command line names; empty: all
	matches map[string]*mcpremote.Command // how a hash of mcp-remote's came about
	exact   string                        // the hash of what was typed after --; "" if nothing was
	results []*importResult
}

func (a *app) newImportMCPRemote() *cobra.Command {
	m := &importCommand{app: a}
	cmd := &cobra.Command{
		Use:   "mcp-remote [server…] [flags] [-- mcp-remote's arguments]",
		Short: "Import the logins of npx mcp-remote",
		Long: `Import the logins that mcp-remote keeps in ~/.mcp-auth (MCP_REMOTE_CONFIG_DIR), of
all its versions: tokens, and the client with its secret and the way it
authenticates. Nothing in that folder is changed. A valid login that is already
stored stays as it is, unless --force replaces it.

mcp-remote's files do not name the server, so Handstamp tries known URLs: the servers on
the command line, those of the configuration and of the credential store, those in the
lists of the programs that start mcp-remote (Claude Desktop, Claude Code, Cursor, VS
Code, Windsurf, Gemini CLI, Codex, Zed and others), and URLs in the files. If mcp-remote
was started with --resource, --header and the like, give its own arguments after --.

Only the metadata of the authorization server is read from the network; with
--offline, the first refresh reads it.

Stop starting mcp-remote for these servers afterwards: two programs with one
refresh token sign each other out.

The exit code is 0 if everything that was found is stored now, or nothing was found.
Otherwise it is the most serious of: 7 if the credential store cannot be used, 6 if a
login comes from another authorization server than its server names now, 4 if you
have to sign in because a login no longer works, 1 if a file cannot be read or its
server is not known. The other logins are still imported.`,
		Example: `  handstamp import mcp-remote
  handstamp import mcp-remote --dry-run
  handstamp import mcp-remote https://mcp.example.com/mcp
  handstamp import mcp-remote --profile work -- \
    https://mcp.example.com/mcp --resource https://work.example.com/`,
		ValidArgsFunction: func(
			cmd *cobra.Command, _ []string, word string,
		) ([]string, cobra.ShellCompDirective) {
			return a.completeServers(cmd, nil, word)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var typed []string
			if dash := cmd.ArgsLenAtDash(); dash >= 0 {
				args, typed = args[:dash], args[dash:]
				if len(typed) == 0 {
					return usage("handstamp import mcp-remote needs mcp-remote's arguments after --, " +
						"its URL first")
				}
			}
			return m.run(cmd.Context(), args, typed)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&m.folderFlag, "folder", "",
		"mcp-remote's folder (default: MCP_REMOTE_CONFIG_DIR, or else ~/.mcp-auth)")
	flags.BoolVar(&m.offline, "offline", false, "use no network")
	flags.BoolVar(&m.dryRun, "dry-run", false, "show what would be imported, and store nothing")
	flags.BoolVar(&m.force, "force", false, "replace stored logins that are still valid")
	flags.StringVar(&m.login.clientID, "client-id", "",
		"the client of a server's login, where mcp-remote did not keep it")
	m.login.secret.bind(flags)
	bindChoice(cmd, &m.login.method, "token-endpoint-auth-method",
		"how that client was registered to authenticate", methodNone, methodBasic, methodPost)
	return cmd
}

func (m *importCommand) run(ctx context.Context, args, typed []string) error {
	if err := m.login.check(); err != nil {
		return err
	}
	if m.login.clientID != "" && len(args)+min(len(typed), 1) != 1 {
		return usage("--client-id applies to one server: name that server on the command line")
	}
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	m.now = time.Now()
	if err := m.findServers(ctx, args, typed); err != nil {
		return err
	}
	if err := errors.Join(m.takeAll(ctx), m.finish()); err != nil {
		return err
	}
	return ended(importCode(m.results))
}

// readFolder reads mcp-remote's folder. That there is none is no error, unless
// the command line names it.
func (m *importCommand) readFolder() error {
	dir := cmp.Or(m.folderFlag, m.env.get("MCP_REMOTE_CONFIG_DIR"), m.home(".mcp-auth"))
	if dir == "" {
		return usage("mcp-remote's folder is not known, because HOME is not set: name it with --folder")
	}
	var err error
	if m.dir, err = filepath.Abs(dir); err != nil {
		return usage("mcp-remote's folder cannot be found: %w", err)
	}
	m.folder, err = mcpremote.Read(m.dir, m.now)
	if errors.Is(err, fs.ErrNotExist) && m.folderFlag == "" {
		m.folder = &mcpremote.Folder{}
		return nil
	}
	if err != nil {
		return usage("mcp-remote's folder %s cannot be read: %w", m.dir, withoutPath(err))
	}
	return nil
}

// importCode returns the gravest exit code among the results.
func importCode(results []*importResult) int {
	codes := []int{exitOK}
	for _, r := range results {
		if r.Error != nil {
			codes = append(codes, r.Error.Exit)
		}
	}
	return gravest(codes...)
}

// around returns what a command line of mcp-remote may refer to: this environment, and
// files of reasonable size.
func (m *importCommand) around() mcpremote.Surroundings {
	return mcpremote.Surroundings{
		Getenv: m.env.get,
		ReadFile: func(path string) ([]byte, error) {
			return readRegular(m.inHome(path), maxConfig)
		},
	}
}
