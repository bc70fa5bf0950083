package cli

import (
	"slices"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/mcphost"
	"github.com/spf13/cobra"
)

// hostListCommand is handstamp client ls.
type hostListCommand struct {
	*app
	all bool
}

func (a *app) newHostList() *cobra.Command {
	l := &hostListCommand{app: a}
	cmd := &cobra.Command{
		Use:     "ls [host]",
		Aliases: []string{"list"},
		Short:   "Show the MCP hosts of this machine and their servers",
		Long: `Show which MCP hosts are on this machine and which servers they have: those that go
through Handstamp, and remote ones that could. It reads the files of MCP hosts, the
user's and those of the current folder, and uses no network.`,
		Example: `  handstamp client ls
  handstamp client ls cursor --json`,
		Args:              between(0, 1, "one MCP host, or none for all"),
		ValidArgsFunction: a.completeHosts,
		RunE: func(_ *cobra.Command, args []string) error {
			return l.run(args)
		},
	}
	cmd.Flags().BoolVar(&l.all, "all", false, "show the MCP hosts that are not here, too")
	return cmd
}

// listedHost is a host as ls shows it.
type listedHost struct {
	Host      string        `json:"host"`
	Name      string        `json:"name"`
	Installed bool          `json:"installed"`
	Files     []*listedFile `json:"files"`
	ByHand    string        `json:"by_hand,omitempty"`
	info      *mcphost.Host // of the table
}

// listedFile is a file of a host.
type listedFile struct {
	File    string        `json:"file"`
	Scope   string        `json:"scope"` // user, project, or old: of an earlier version
	Exists  bool          `json:"exists"`
	Error   string        `json:"error,omitempty"`
	Servers []listedEntry `json:"servers"`
}

// listedEntry is an entry in it.
type listedEntry struct {
	Name   string       `json:"name"`
	Kind   mcphost.Kind `json:"kind"`
	Server string       `json:"server,omitempty"`

	Project string `json:"project,omitempty"` // for which alone it is
}

func (l *hostListCommand) run(args []string) error {
	var only *mcphost.Host
	if len(args) == 1 {
		var err error
		if only, err = findHost(args[0]); err != nil {
			return err
		}
	}
	hosts, seen := []*listedHost{}, make(map[string]bool)
	for _, h := range mcphost.All() {
		if only != nil && h != only {
			continue
		}
		if found := l.host(h, seen); found.Installed || l.all || only != nil {
			hosts = append(hosts, found)
		}
	}
	return l.print(map[string]any{"hosts": hosts}, func() { l.show(hosts) })
}

// host reads the files of a host. A project's file of the current folder that several hosts share
// is listed with the first.
func (l *hostListCommand) host(h *mcphost.Host, seen map[string]bool) *listedHost {
	at := l.machine().Locate(h)
	found := &listedHost{Host: h.ID, Name: h.Name, Installed: at.Installed, Files: []*listedFile{},
		ByHand: h.By, info: h}
	add := func(path, scope string) {
		f := l.file(h, path, scope)
		if f.Exists && seen[path] {
			found.Installed = found.Installed && at.File != path
			return
		}
		if f.Exists || scope == "user" {
			found.Files = append(found.Files, f)
		}
		if f.Exists {
			seen[path], found.Installed = true, true
		}
	}
	if at.File != "" {
		add(at.File, "user")
	}
	for _, path := range at.Old {
		add(path, "old")
	}
	if path := l.machine().Project(h); path != "" {
		add(path, "project")
	}
	return found
}

func (l *hostListCommand) file(h *mcphost.Host, path, scope string) *listedFile {
	f := &listedFile{File: path, Scope: scope, Servers: []listedEntry{}}
	entries, err := l.hostEntries(h, path)
	f.Exists = entries != nil || err != nil
	if err != nil {
		f.Error = err.Error()
	}
	for _, e := range entries {
		f.Servers = append(f.Servers, listedEntry{e.Name, e.Kind, shownURL(e.URL), e.Project})
	}
	return f
}

// hostEntries reads the servers in a file of a host; nil if there is no file.
func (a *app) hostEntries(h *mcphost.Host, path string) ([]mcphost.Entry, error) {
	text, err := mcphost.ReadFile(path)
	if err != nil || text == nil {
		return nil, withoutPath(err)
	}
	exe, _ := a.executable()
	entries, err := h.In(text).Entries(text, exe)
	entries = append(entries, h.EntriesOfProjects(text, exe)...)
	if entries == nil && err == nil {
		entries = []mcphost.Entry{}
	}
	return entries, err
}

func (l *hostListCommand) show(hosts []*listedHost) {
	var sources []string // of remote servers, for import
	for _, h := range hosts {
		l.out.raw(l.out.styled(styleBold, h.Host) + "  " + clean(h.Name))
		if h.ByHand != "" {
			l.out.note(indent, "By hand: handstamp client connect %s <server>", h.Host)
		}
		for _, f := range h.Files {
			l.out.line("%s%s%s", indent, l.shortPath(f.File), missingMark(f))
			if f.Error != "" {
				l.out.warn(indent, "It cannot be used: %s", short(f.Error))
			}
			for _, e := range f.Servers {
				if e.Project != "" {
					e.Name += " in " + l.shortPath(e.Project)
				}
				switch e.Kind {
				case mcphost.Ours:
					l.out.ok(indent, "%s: %s, through Handstamp", e.Name, e.Server)
				case mcphost.Local:
					l.out.note(indent, "%s: a local server", e.Name)
				default:
					source := h.Host
					if f.Scope == "project" {
						source = h.info.Project
					}
					sources = append(sources, source)
					l.out.warn(indent, "%s: %s, %s", e.Name, e.Server, remoteWords[e.Kind])
				}
			}
		}
	}
	if len(hosts) == 0 {
		l.out.line("No MCP host was found here. handstamp client ls --all shows those that are known.")
	}
	for _, source := range slices.Compact(sources) {
		l.err.note("", "Take remote servers over: handstamp import %s", source)
	}
}

var remoteWords = map[mcphost.Kind]string{
	mcphost.Remote: "remote", mcphost.MCPRemote: "through mcp-remote",
}

func missingMark(f *listedFile) string {
	if !f.Exists {
		return " (not there yet)"
	}
	return ""
}
