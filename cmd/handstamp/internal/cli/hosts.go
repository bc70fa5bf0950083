package cli

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/mcphost"
	"github.com/spf13/cobra"
)

// newHosts returns handstamp client: an MCP client's configuration is called a host's
// everywhere else, but it is the client that users think of.
func (a *app) newHosts() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "client",
		Short: "Connect MCP hosts (Claude, Cursor, VS Code, Codex and others) to servers",
		Long: `Put handstamp bridge into the configuration of a program that starts MCP servers, and
take it out again. Every other byte of the file stays as it is.`,
		Example: `  handstamp client ls
  handstamp client connect cursor https://mcp.linear.app/mcp
  handstamp client disconnect cursor linear`,
		Args: subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.newHostList(), a.newConnect(), a.newDisconnect())
	return cmd
}

// hostOptions are the flags by which a host's file is found.
type hostOptions struct {
	project bool
	file    string
	dryRun  bool
}

func (o *hostOptions) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&o.project, "project", false,
		"the MCP host's file in the current folder, for this project, not the user's")
	flags.StringVar(&o.file, "file", "", "another file of the MCP host")
	flags.BoolVar(&o.dryRun, "dry-run", false, "show what would change, and change nothing")
}

// findHost returns the host that an argument names.
func findHost(name string) (*mcphost.Host, error) {
	h := mcphost.Find(name)
	if h == nil {
		e := usage("no MCP host is called %q%s", name, didYouMean(name, mcphost.IDs()))
		e.hint = "it is one of " + list(mcphost.IDs(), "or")
		return nil, e
	}
	return h, nil
}

// machine returns where the files of hosts are looked for.
func (a *app) machine() mcphost.Machine {
	work, _ := os.Getwd()
	return mcphost.Here(a.env.get, work)
}

// hostFile returns the path of a host's file.
func (a *app) hostFile(h *mcphost.Host, o hostOptions) (string, error) {
	if o.file != "" && o.project {
		return "", usage("--file and --project contradict each other")
	}
	if o.file != "" {
		path, err := filepath.Abs(a.inHome(o.file))
		if err != nil {
			return "", usage("--file: %w", err)
		}
		return path, nil
	}
	path := a.machine().Locate(h).File
	if o.project || path == "" {
		project := a.machine().Project(h)
		switch {
		case o.project && project == "":
			return "", usage("%s has no file for a project", h.Name)
		case !o.project && project != "":
			return "", usage("%s has only a file for each project: use --project", h.Name)
		case !o.project:
			return "", usage("where %s keeps its servers is not known here: name the file with --file", h.Name)
		}
		path = project
	}
	return path, nil
}

// editor returns what edits the files of hosts.
func (a *app) editor(dryRun bool) (*mcphost.Editor, error) {
	dirs, err := findFolders(a.env)
	if err != nil {
		return nil, err
	}
	return &mcphost.Editor{Folder: filepath.Join(dirs.Credentials, "hosts"), DryRun: dryRun}, nil
}

// shortPath puts ~ in place of the user's home folder.
func (a *app) shortPath(path string) string {
	if rest, ok := strings.CutPrefix(path, a.home("")+string(filepath.Separator)); ok && a.home("") != "" {
		return "~" + string(filepath.Separator) + rest
	}
	return path
}

// completeHosts completes the name of a host, and then that of a server.
func (a *app) completeHosts(
	cmd *cobra.Command, args []string, word string,
) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return mcphost.IDs(), cobra.ShellCompDirectiveNoFileComp
	case 1:
		return a.completeServers(cmd, nil, word)
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}
