package cli

import (
	"context"
	"errors"
	"reflect"
	"strings"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/mcphost"
	"github.com/spf13/cobra"
)

// disconnectCommand is handstamp client disconnect.
type disconnectCommand struct {
	*app
	hostOptions
	host   *mcphost.Host
	result hostResult
}

func (a *app) newDisconnect() *cobra.Command {
	d := &disconnectCommand{app: a}
	cmd := &cobra.Command{
		Use:   "disconnect <host> <name or server>",
		Short: "Take a server out of the configuration of an MCP host",
		Long: `Take an entry of Handstamp's out of the configuration of an MCP host. What client
connect wrote is undone byte by byte: an entry that it replaced is there again, and a
file that it made is removed. Where the file has been edited since, only the entry
goes. The login stays; handstamp logout removes it.`,
		Example: `  handstamp client disconnect cursor linear
  handstamp client disconnect codex https://mcp.linear.app/mcp --dry-run`,
		Args:              exactly(2, "an MCP host, and a server's name there or its URL"),
		ValidArgsFunction: a.completeHosts,
		RunE: func(cmd *cobra.Command, args []string) error {
			return d.run(cmd.Context(), args[0], args[1])
		},
	}
	d.bind(cmd)
	return cmd
}

func (d *disconnectCommand) run(ctx context.Context, host, name string) (err error) {
	if d.host, err = findHost(host); err != nil {
		return err
	}
	if d.host.Manual() && d.file == "" {
		return usage("%s has no file to take an entry out of: remove it there", d.host.Name)
	}
	if d.result.File, err = d.hostFile(d.host, d.hostOptions); err != nil {
		return err
	}
	text, err := mcphost.ReadFile(d.result.File)
	if err != nil {
		return &failure{kind: kindOther, message: d.result.File + " cannot be read", err: withoutPath(err)}
	}
	d.host = d.host.In(text)
	d.result.Host, d.result.Notes = d.host.ID, []string{}
	exe, _ := d.executable()
	entries, err := d.host.Entries(text, exe)
	if err != nil {
		return d.leftAlone(name, err)
	}
	e, err := d.choose(entries, name)
	if err != nil {
		return err
	}
	d.result.Name, d.result.Server = e.Name, shownURL(e.URL)
	return d.remove(ctx, e)
}

// choose returns the entry that is meant: one of this name, or else the one for this server.
func (d *disconnectCommand) choose(entries []mcphost.Entry, name string) (e mcphost.Entry, err error) {
	var ours []mcphost.Entry
	var names []string
	t, serverErr := d.server(name)
	for _, e := range entries {
		if e.Name == name && e.Kind != mcphost.Ours {
			return e, usage("%q in %s does not start Handstamp: remove it there", name, d.host.Name)
		}
		if e.Name == name {
			return e, nil
		}
		if e.Kind == mcphost.Ours {
			names = append(names, e.Name)
			if serverErr == nil && d.sameServer(e.URL, t) {
				ours = append(ours, e)
			}
		}
	}
	switch len(ours) {
	case 1:
		return ours[0], nil
	case 0:
		f := usage("%s is not connected to %q%s", d.host.Name, clean(name), didYouMean(name, names))
		f.hint = "connected there: " + strings.Join(names, ", ")
		if len(names) == 0 {
			f.hint = "no entry in " + d.shortPath(d.result.File) + " starts Handstamp"
		}
		return e, f
	}
	names = nil
	for _, e := range ours {
		names = append(names, e.Name)
	}
	return e, usage("%s is connected to %s several times: name one of %s", d.host.Name, clean(name),
		list(names, "and"))
}

// remove takes the entry out. Only by way of the file is an entry brought back that it replaced.
func (d *disconnectCommand) remove(ctx context.Context, e mcphost.Entry) error {
	editor, err := d.editor(d.dryRun)
	if err != nil {
		return err
	}
	editor.Meant = func(entry any) bool { return reflect.DeepEqual(entry, e.Value) }
	place := mcphost.Place{File: d.result.File, Format: d.host.Format, Path: d.host.Path}
	if tool := d.hostTool(d.host, d.hostOptions); tool != "" && !editor.Replaced(place, e.Name) {
		return d.removeByTool(ctx, tool, e.Name)
	}
	change, err := editor.Remove(ctx, place, e.Name)
	if err != nil {
		return d.leftAlone(e.Name, err)
	}
	if change.Lost {
		d.result.Notes = append(d.result.Notes,
			"the entry that was there before could not be brought back: it is in a backup beside this one")
	}
	d.result.setChange(change, d.dryRun, "")
	return d.show()
}

// removeByTool has the host's own command take the entry out.
func (d *disconnectCommand) removeByTool(ctx context.Context, tool, name string) error {
	args := []string{"mcp", "remove", name, "--scope", "user"}
	d.result.Command = append([]string{d.host.Tool}, args...)
	d.result.Outcome = outcomeWould
	if !d.dryRun {
		d.result.Outcome = outcomeWritten
		if err := d.runTool(ctx, tool, args...); err != nil {
			return err
		}
	}
	return d.show()
}

// leftAlone reports a file that cannot be edited safely.
func (d *disconnectCommand) leftAlone(name string, err error) error {
	hint := "remove the entry " + clean(name) + " there yourself"
	if errors.Is(err, mcphost.ErrChanging) {
		hint = "run this again"
	}
	return &failure{kind: kindOther, message: d.shortPath(d.result.File) + " is left as it is", err: withoutPath(err),
		hint: hint}
}

func (d *disconnectCommand) show() error {
	r := &d.result
	if err := d.print(r, func() {
		switch {
		case r.Outcome == outcomeWould && r.Command != nil:
			d.out.line("%s", shellLine(r.Command))
		case r.Outcome == outcomeWould:
			_ = d.out.data([]byte(r.Diff))
		default:
			d.err.ok("", "Disconnected %s from %s", d.host.Name, r.Name)
			d.err.note(indent, "File: %s", d.shortPath(r.File))
			if r.Backup != "" {
				d.err.note(indent, "Backup: %s", d.shortPath(r.Backup))
			}
			return
		}
		d.err.note("", "Nothing was changed: this was a dry run")
	}); err != nil || d.global.json {
		return err
	}
	if r.Outcome == outcomeWritten {
		d.showNotes(r)
	}
	return nil
}
