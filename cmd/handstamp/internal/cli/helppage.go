package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commandGroups are the headings of the list of commands. What no group names comes last.
var commandGroups = []struct {
	title    string
	commands []string
}{
	{"Sign in and out", []string{"login", "logout", "status", "doctor"}},
	{"Use a login", []string{"token", "exec", "bridge", "tools", "call", "serve", "caller"}},
	{"Servers and MCP hosts", []string{"add", "remove", "show", "client", "import", "export"}},
	{"Try and test", []string{"demo", "lab", "client-document"}},
	{"More", nil},
}

// globalTopic is the page of the help about the flags of all commands.
const globalTopic = "global"

// helpPage writes the help of a command. A word before --help that is no command is an error,
// which [Run] reports.
func (a *app) helpPage(cmd *cobra.Command, _ []string) {
	if rest := cmd.Flags().Args(); onlySubcommands(cmd) && len(rest) > 0 {
		a.helpErr = subcommand(cmd, rest)
		return
	}
	width := cmp.Or(columns(a.out.w, a.env), defaultWidth)
	a.helpErr = a.out.data([]byte(helpText(cmd, width, func(s string) string { return a.out.styled(styleBold, s) })))
}

// helpText returns the help of a command: what it does, its own flags, and where the global ones
// are.
func helpText(cmd *cobra.Command, width int, heading func(string) string) string {
	var b strings.Builder
	section := func(title, text string) {
		if text != "" {
			fmt.Fprintf(&b, "\n%s\n%s\n", heading(title+":"), strings.Trim(text, "\n"))
		}
	}
	b.WriteString(reflow(cmp.Or(cmd.Long, cmd.Short), min(width, maxProse)) + "\n")
	if cmd.Name() == globalTopic {
		section("Flags", table(flagRows(cmd.Root().PersistentFlags()), width))
		return b.String()
	}
	if cmd.IsAdditionalHelpTopicCommand() {
		return b.String()
	}
	section("Usage", usageLines(cmd))
	section("Examples", cmd.Example)
	for _, group := range commandLists(cmd) {
		section(group.title, table(group.rows, width))
	}
	section("Flags", table(flagRows(ownFlags(cmd)), width))
	footer := []string{"Global flags, such as --profile and --json: handstamp help " + globalTopic}
	if cmd.HasAvailableSubCommands() {
		footer = append(footer, "Help of a command: "+cmd.CommandPath()+" <command> --help")
	}
	b.WriteString("\n")
	for _, line := range footer {
		b.WriteString(strings.Join(fold(line, width), "\n") + "\n")
	}
	return b.String()
}

// onlySubcommands reports whether a word after a command is always a subcommand: it has some, and no arguments.
func onlySubcommands(cmd *cobra.Command) bool {
	return cmd.HasAvailableSubCommands() && cmd.Use == cmd.Name()
}

func usageLines(cmd *cobra.Command) string {
	switch {
	case !onlySubcommands(cmd):
		return "  " + cmd.UseLine()
	case cmd.HasParent():
		return "  " + cmd.CommandPath() + " <command>"
	}
	return "  handstamp             the servers, and who is signed in\n" +
		"  handstamp <command>"
}

// ownFlags are the flags that a command does not share with all others.
func ownFlags(cmd *cobra.Command) *pflag.FlagSet {
	own := pflag.NewFlagSet(cmd.Name(), pflag.ContinueOnError)
	global := cmd.Root().PersistentFlags()
	cmd.InitDefaultHelpFlag()
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if global.Lookup(f.Name) == nil {
			own.AddFlag(f)
		}
	})
	return own
}

// commandList is the part of a list of commands that is under one heading.
type commandList struct {
	title string
	rows  []helpRow
}

// commandLists returns the commands below a command: those of the root in groups, and the topics
// of the help.
func commandLists(cmd *cobra.Command) []commandList {
	if cmd.HasParent() {
		return []commandList{{"Commands", commandRows(cmd.Commands())}}
	}
	lists := make([]commandList, len(commandGroups))
	rest := slices.Clone(cmd.Commands())
	for i, group := range commandGroups {
		var members []*cobra.Command
		for _, name := range group.commands {
			at := slices.IndexFunc(rest, func(c *cobra.Command) bool { return c.Name() == name })
			if at >= 0 {
				members = append(members, rest[at])
				rest = slices.Delete(rest, at, at+1)
			}
		}
		lists[i] = commandList{group.title, commandRows(members)}
	}
	lists[len(lists)-1].rows = commandRows(rest)
	topics := commandList{title: "Topics"}
	for _, c := range rest {
		if c.IsAdditionalHelpTopicCommand() {
			topics.rows = append(topics.rows, helpRow{"help " + c.Name(), c.Short})
		}
	}
	return append(lists, topics)
}

func commandRows(commands []*cobra.Command) []helpRow {
	var rows []helpRow
	for _, c := range commands {
		if c.IsAvailableCommand() {
			rows = append(rows, helpRow{c.Name(), c.Short})
		}
	}
	return rows
}
