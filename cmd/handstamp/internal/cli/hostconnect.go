package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/mcphost"
	"github.com/handstamp/handstamp/cmd/handstamp/internal/splice"
	"github.com/spf13/cobra"
)

// connectCommand is handstamp client connect.
type connectCommand struct {
	*app
	hostOptions
	name  string
	force bool

	host   *mcphost.Host
	target *target
	server mcphost.Server
	taken  bool          // an entry of the name is there
	seen   any           // that entry as it was decoded, else nil
	ours   bool          // and starts Handstamp
	before any           // that entry as it was decoded, if it is of the same login; else nil
	kept   splice.Object // what stays of its variables
	result hostResult
}

// hostResult is what connect and disconnect print with --json.
type hostResult struct {
	Host    string   `json:"host"`
	Name    string   `json:"name"`
	Server  string   `json:"server"`
	File    string   `json:"file,omitempty"`
	Outcome string   `json:"outcome"`
	Reason  string   `json:"reason,omitempty"` // why nothing was written
	Snippet string   `json:"snippet,omitempty"`
	Diff    string   `json:"diff,omitempty"` // of a dry run
	Command []string `json:"command,omitempty"`
	Backup  string   `json:"backup,omitempty"`
	Notes   []string `json:"notes"`
}

// The outcomes of connect and disconnect.
const (
	outcomeWritten    = "written"
	outcomeUnchanged  = "unchanged"
	outcomeWould      = "would_write"
	outcomeNotWritten = "not_written"
	outcomeByHand     = "by_hand"
)

func (a *app) newConnect() *cobra.Command {
	c := &connectCommand{app: a}
	cmd := &cobra.Command{
		Use:   "connect <host> <server> [flags] [-- bridge's flags]",
		Short: "Put a server into the configuration of an MCP host",
		Long: `Put an entry into the configuration of an MCP host that starts handstamp bridge with
this server. Comments, order and formatting of the file stay, and the file as it was
is kept. Where the place in it cannot be found for certain, the entry is printed for
you to put in, and the exit code is 1.

The bridge is tried with what the MCP host is sure to pass on of its environment,
and what would be missing goes into the entry. Where Claude Code's own command is there,
it writes the entry.

What follows -- are flags of handstamp bridge, such as --allow-tool. handstamp client
ls shows the hosts.`,
		Example: `  handstamp client connect claude-code linear
  handstamp client connect cursor https://mcp.linear.app/mcp --dry-run
  handstamp client connect vscode linear --project
  handstamp client connect zed linear -- --allow-tool 'get_*'`,
		ValidArgsFunction: a.completeHosts,
		RunE: func(cmd *cobra.Command, args []string) error {
			var more []string
			if dash := cmd.ArgsLenAtDash(); dash >= 0 {
				args, more = args[:dash], args[dash:]
			}
			if err := exactly(2, "an MCP host and a server")(cmd, args); err != nil {
				return err
			}
			return c.run(cmd.Context(), args[0], args[1], more)
		},
	}
	c.bind(cmd)
	cmd.Flags().StringVar(&c.name, "name", "",
		"what the MCP host calls the server (default: the alias, or a word of the URL)")
	cmd.Flags().BoolVar(&c.force, "force", false,
		"replace an entry of this name that does not start Handstamp")
	return cmd
}

func (c *connectCommand) run(ctx context.Context, host, server string, more []string) (err error) {
	if c.host, err = findHost(host); err != nil {
		return err
	}
	if c.target, err = c.app.target(server); err != nil {
		return err
	}
	if c.server, err = c.hostServer(c.host, c.target, more); err != nil {
		return err
	}
	c.result = hostResult{Host: c.host.ID, Name: c.name, Server: c.target.url, Notes: []string{}}
	if c.host.Manual() && c.file == "" {
		if err := c.checkName(nil); err != nil {
			return err
		}
		return c.byHand()
	}
	if c.result.File, err = c.hostFile(c.host, c.hostOptions); err != nil {
		return err
	}
	begun := *c
	for range choices {
		if err = c.connect(ctx); !errors.Is(err, mcphost.ErrChanging) {
			return err
		}
		*c = begun // another program has written an entry of this name since the file was read
	}
	return c.notWritten(err)
}

// choices bounds how often a name is chosen again.
const choices = 10

// connect chooses a name, and writes the entry.
func (c *connectCommand) connect(ctx context.Context) error {
	text, err := mcphost.ReadFile(c.result.File)
	if err != nil {
		return &failure{kind: kindOther, message: c.result.File + " cannot be read", err: withoutPath(err)}
	}
	c.host = c.host.In(text)
	if err := c.chooseName(text); err != nil {
		return c.notWritten(err)
	}
	c.notes(text)
	if !c.dryRun {
		c.try(ctx)
	}
	return c.write(ctx)
}

// chooseName finds the name under which the entry goes into a file.
func (c *connectCommand) chooseName(text []byte) error {
	exe, _ := c.executable()
	entries, err := c.host.Entries(text, exe)
	if err != nil {
		return err
	}
	byName := make(map[string]mcphost.Entry)
	members, err := splice.Members(c.host.Format, text, c.host.Path)
	if err != nil {
		return err
	}
	for name, value := range members {
		byName[name] = mcphost.Entry{Name: name, Value: value} // of whatever kind it is
	}
	for _, e := range entries {
		byName[e.Name] = e
	}
	if err := c.checkName(byName); err != nil {
		return err
	}
	if c.result.Name == "" {
		c.result.Name = c.freeName(entries, byName)
	}
	c.noteDoubles(entries)
	e, taken := byName[c.result.Name]
	c.seen = members[c.result.Name]
	c.taken, c.ours = taken, taken && e.Kind == mcphost.Ours
	c.noteLost(e)
	if c.ours && c.same(e) {
		c.keep(e)
		return nil
	}
	if !taken || c.force {
		return nil
	}
	return c.nameTaken(e)
}

// noteDoubles notes other entries by which the host itself, or mcp-remote, connects to the server.
func (c *connectCommand) noteDoubles(entries []mcphost.Entry) {
	for _, e := range entries {
		if e.Name == c.result.Name || !c.same(e) {
			continue
		}
		instead := e.Name + ": remove it, or replace it with --name " + shellWord(e.Name) + " --force"
		switch e.Kind {
		case mcphost.Remote:
			c.result.Notes = append(c.result.Notes, c.host.Name+" has an entry of its own for this server, "+instead)
		case mcphost.MCPRemote:
			c.result.Notes = append(c.result.Notes, c.host.Name+" starts mcp-remote for this server, too, as "+instead)
		}
	}
}

// freeName returns the name of the entry for this login, which is rewritten, or one that
// is not taken.
func (c *connectCommand) freeName(entries []mcphost.Entry, byName map[string]mcphost.Entry) string {
	for _, e := range entries {
		if e.Kind == mcphost.Ours && c.same(e) {
			return e.Name
		}
	}
	name := proposedName(c.target)
	for n, free := 2, name; ; n++ {
		e, taken := byName[free]
		// An entry of the host's own for this server is not to be doubled without --force.
		if !taken || c.force || e.Kind == mcphost.Remote && c.same(e) {
			return free
		}
		suffix := fmt.Sprintf("-%d", n)
		free = name[:min(len(name), 25-len(suffix))] + suffix
	}
}

// nameTaken returns the error for a name that the host has for something else.
func (c *connectCommand) nameTaken(e mcphost.Entry) error {
	if c.ours {
		other := "for another server, " + shownURL(e.URL)
		if c.sameServer(e.URL, c.target) {
			other = "for another login at " + shownURL(c.target.url)
		}
		f := usage("%s has an entry %q %s", c.host.Name, e.Name, other)
		f.hint = "--force replaces it, --name gives the new one another name"
		return f
	}
	f := usage("%s has an entry %q already, which does not start Handstamp", c.host.Name, e.Name)
	f.hint = "--force replaces it (client disconnect brings it back), --name gives the new one another name"
	return f
}

// checkName checks the name that was given; one of an entry that is there is left to the user.
func (c *connectCommand) checkName(there map[string]mcphost.Entry) error {
	if _, ok := there[c.name]; c.name == "" || ok {
		return nil
	}
	return checkHostName(c.name)
}

// same reports whether an entry is for the target's server; one of ours, whether it is for the
// target's login there, too.
func (c *connectCommand) same(e mcphost.Entry) bool {
	variable, _ := c.host.Entry.Variables(e)["HANDSTAMP_PROFILE"].(string)
	return c.sameServer(e.URL, c.target) && (e.Kind != mcphost.Ours ||
		c.login(e.URL, e.Args, variable) == c.login(c.server.Args[1], c.server.Args[2:], ""))
}

// login returns what tells the login of a bridge apart from others at the server: the alias whose
// settings it has, and what names the login on its command line and in its environment. A file of
// headers counts by its name, as any file may be named in that of an MCP host.
func (c *connectCommand) login(server string, args []string, profile string) [5]string {
	t, err := c.app.server(server)
	if err != nil {
		return [5]string{server}
	}
	alias := server
	if c.conf.Servers[server] == nil {
		alias, _ = c.alias(t.key.Server)
	}
	b := &bridgeCommand{app: newApp(Process{})}
	cmd := b.command()
	b.global.bind(cmd.Flags())
	cmd.FParseErrWhitelist.UnknownFlags = true // of another version
	_ = cmd.ParseFlags(args)                   // the bridge itself reports what is wrong
	b.login.params = append(b.login.params, b.remote.params...)
	b.remote.applyResource(b, cmd.Flags())
	f, _ := b.login.profileFlags(t.config)
	f.addHeaders(nil, b.headers.headers)
	profile = cmp.Or(b.global.profile, profile, t.config.Profile, strings.TrimSuffix(f.profile(t.base)+" "+b.headers.file, " "))
	return [5]string{alias, profile, b.global.Store, b.global.Tenant, b.global.User}
}

// sameServer reports whether a server's name in a host's file means the target.
func (a *app) sameServer(server string, t *target) bool {
	other, err := a.server(server)
	return err == nil && other.key.Server == t.key.Server
}

// object is the entry as it is for a new one.
func (c *connectCommand) object() splice.Object {
	return c.host.Entry.Object(c.result.Name, c.server)
}

// snippet is a file that has only the entry.
func (c *connectCommand) snippet() string {
	text, err := splice.Put(c.host.Format, nil, c.host.Path, c.result.Name, c.object())
	if err != nil {
		return ""
	}
	return string(text)
}

// byHand prints the entry for a host that has no file.
func (c *connectCommand) byHand() error {
	c.result.Outcome = outcomeByHand
	if c.result.Name == "" {
		c.result.Name = proposedName(c.target)
	}
	c.result.Snippet, c.result.Reason = c.snippet(), c.host.Name+" has no file for this"
	return c.printAlways(func() {
		c.err.note("", "In %s, %s:", c.host.Name, c.host.By)
		_ = c.out.data([]byte(c.result.Snippet))
	})
}

// notes finds what the user should know about the file and the entry.
func (c *connectCommand) notes(text []byte) {
	note := func(format string, args ...any) {
		c.result.Notes = append(c.result.Notes, fmt.Sprintf(format, args...))
	}
	if !c.project && c.file == "" && !c.machine().Locate(c.host).Installed {
		note("%s does not seem to be installed here", c.host.Name)
	}
	if c.host.Strict && c.host.Format == splice.JSON && splice.Commented(text) {
		note("the file has comments or trailing commas, which %s may not be able to read", c.host.Name)
	}
	if c.host.NoSpaces && strings.Contains(c.server.Command, " ") {
		note("%s cannot start a program whose path has a space: %s", c.host.Name, c.server.Command)
	}
	for _, name := range c.missingVariables() {
		note("the bridge needs %s, which %s is not sure to pass on: put it into the entry's %s yourself "+
			"if the file may hold it, or use a file instead", name, c.host.Name, c.host.Entry.Env)
	}
	if c.project {
		note("the entry has a path of this machine: think twice before you share this file")
	}
	if temporaryPath(c.server.Command) {
		note("%s is a temporary program: install Handstamp, and run this again", c.server.Command)
	}
}

// write writes the entry, or has the host's own command write it.
func (c *connectCommand) write(ctx context.Context) error {
	if tool := c.tool(); tool != "" {
		return c.writeByTool(ctx, tool)
	}
	editor, err := c.editor(c.dryRun)
	if err != nil {
		return err
	}
	editor.Meant = func(entry any) bool { return reflect.DeepEqual(entry, c.seen) }
	place := mcphost.Place{File: c.result.File, Format: c.host.Format, Path: c.host.Path}
	server := c.server
	server.Env = slices.Concat(server.Env, c.kept)
	entry := c.host.Entry.Keep(c.host.Entry.Object(c.result.Name, server), c.before)
	change, err := editor.Put(ctx, place, c.result.Name, entry, c.ours)
	if errors.Is(err, mcphost.ErrChanging) {
		return err
	}
	if err != nil {
		return c.notWritten(err)
	}
	c.result.setChange(change, c.dryRun, c.snippet())
	return c.show("Connected", change)
}

// setChange notes what an edit does. entry is the text of the one that it writes.
func (r *hostResult) setChange(change *mcphost.Change, dryRun bool, entry string) {
	r.File, r.Backup = change.File, change.Backup
	switch {
	case !change.Changed():
		r.Outcome = outcomeUnchanged
	case dryRun:
		r.Outcome, r.Diff = outcomeWould, unifiedDiff(change.File, change.Before, change.After, entry)
	default:
		r.Outcome = outcomeWritten
	}
}

// notWritten prints the entry for the user to put in: the file cannot be edited safely.
func (c *connectCommand) notWritten(err error) error {
	if _, ok := errors.AsType[*failure](err); ok {
		return err
	}
	if c.result.Name == "" {
		c.result.Name = proposedName(c.target)
	}
	c.result.Outcome, c.result.Reason = outcomeNotWritten, withoutPath(err).Error()
	c.result.Snippet = c.snippet()
	const more = "keep what else the entry that is there has"
	if c.before != nil {
		c.result.Notes = append(c.result.Notes, more)
	}
	if err := c.printAlways(func() {
		c.err.bad("", "%s is left as it is: %s", c.shortPath(c.result.File), c.result.Reason)
		if c.before != nil {
			c.err.warn(indent, "%s", capital(more))
		}
		c.err.note("", "Put this in yourself:")
		_ = c.out.data([]byte(c.result.Snippet))
	}); err != nil {
		return err
	}
	return ended(exitOther)
}

// printAlways prints what the user has to do, with --quiet, too.
func (c *connectCommand) printAlways(show func()) error {
	if !c.global.json {
		show()
		return nil
	}
	return c.print(c.result, nil)
}

// show reports what was done.
func (c *connectCommand) show(verb string, change *mcphost.Change) error {
	r := &c.result
	if err := c.print(r, func() {
		switch r.Outcome {
		case outcomeUnchanged:
			c.err.ok("", "%s is connected to %s as %s already", c.host.Name, c.target.name, r.Name)
		case outcomeWould:
			_ = c.out.data([]byte(r.Diff))
			c.err.note("", "Nothing was written: this was a dry run")
		default:
			c.err.ok("", "%s %s to %s as %s", verb, c.host.Name, c.target.name, r.Name)
			c.err.note(indent, "File: %s", c.shortPath(r.File))
			if r.Backup != "" {
				c.err.note(indent, "Backup: %s", c.shortPath(r.Backup))
			}
		}
	}); err != nil || c.global.json {
		return err
	}
	if r.Outcome == outcomeWritten && c.host.After != "" {
		c.err.note(c.below(), "Next: %s", c.host.After)
	}
	c.showNotes(r)
	return nil
}

// showNotes shows what is left to the user, which --quiet does not hide.
func (a *app) showNotes(r *hostResult) {
	for _, note := range r.Notes {
		a.err.warn(a.below(), "%s", capital(note))
	}
}

// below returns the indent of a line below the result, which --quiet leaves out.
func (a *app) below() string {
	if a.global.quiet {
		return ""
	}
	return indent
}
