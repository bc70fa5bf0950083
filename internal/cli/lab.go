package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
	"github.com/spf13/cobra"
)

func (a *app) newLab() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Authorization servers with the habits of real ones, to test any MCP client",
		Long: `Authorization servers with the habits of real ones, on this machine, and a suite
that tests what becomes of a login in the second session: ours, and that of any
other MCP client.`,
		Example: `  handstamp lab list
  handstamp lab serve --personality none-first
  handstamp lab run
  handstamp lab run --client 'npx -y mcp-remote {url}' --html report.html`,
		Args: noSubcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.newLabList(), a.newLabServe(), a.newLabRun(), a.newLabSession())
	return cmd
}

// noSubcommand is the Args function of a command that only has subcommands.
func noSubcommand(cmd *cobra.Command, args []string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	if len(args) == 0 {
		return nil
	}
	return usage("%s has no command %q%s", cmd.CommandPath(), args[0], didYouMean(args[0], names))
}

func (a *app) newLabList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the personalities: what a server does, who is known for it, what a client must do",
		Args:  exactly(0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			all := lab.Personalities()
			if a.global.json {
				return a.out.json(all, true)
			}
			for _, p := range all {
				a.out.raw(a.out.styled(styleBold, p.Name))
				a.out.line("  %s", p.Habit)
				a.out.note("  ", "Seen: %s", p.Seen)
				a.out.note("  ", "A client must: %s", lowerFirst(p.Client))
			}
			return nil
		},
	}
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

// findPersonalities returns the ones with these names, all for none.
func findPersonalities(names []string) ([]lab.Personality, error) {
	all := lab.Personalities()
	if len(names) == 0 {
		return all, nil
	}
	var found []lab.Personality
	for _, name := range names {
		i := slices.IndexFunc(all, func(p lab.Personality) bool { return p.Name == name })
		if i < 0 {
			var known []string
			for _, p := range all {
				known = append(known, p.Name)
			}
			return nil, usage("there is no personality %q%s; handstamp lab list shows them", name, didYouMean(name, known))
		}
		found = append(found, all[i])
	}
	return found, nil
}

// newLabSession returns the command that the suite starts for our library: a
// program that makes one tool call over the library's transport.
func (a *app) newLabSession() *cobra.Command {
	return &cobra.Command{
		Use:    "session <url>",
		Hidden: true,
		Args:   exactly(1, "a URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := a.target(args[0])
			if err != nil {
				return err
			}
			c, err := a.client(t, nil, handstamp.LoginAuto)
			if err != nil {
				return err
			}
			answer, err := callEcho(cmd.Context(), c, t.url, "hello")
			if err == nil && answer != "hello" {
				err = errors.New("the tool gave another answer")
			}
			return err
		},
	}
}

// labClients are what handstamp lab run tests without --client and
// --client-http.
func (a *app) labClients() ([]*labClient, error) {
	exe, err := a.executable()
	if err != nil {
		return nil, fmt.Errorf("the lab cannot find its own program: %w", err)
	}
	return []*labClient{newLabProgram("handstamp (library)", exe, "lab", "session", "{url}"), newLabBridge("handstamp bridge", exe, "bridge", "{url}")}, nil
}
