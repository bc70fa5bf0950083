package cli

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/lab"
	"github.com/spf13/cobra"
)

func (a *app) newLab() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Authorization servers with the habits of real ones, to test any MCP client",
		Long: `Authorization servers with the habits of real ones, on this machine, and a suite
that tests whether a login still works in the second session of a client: ours, or
any other MCP client.`,
		Example: `  handstamp lab list
  handstamp lab serve --personality none-first
  handstamp lab run
  handstamp lab run --client 'npx -y mcp-remote {url}' --html report.html`,
		Args: subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.newLabList(), a.newLabServe(), a.newLabRun(), a.newLabSession())
	return cmd
}

func (a *app) newLabList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the personalities: what a server does, where it was seen, what a client must do",
		Args:  exactly(0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			all := lab.Personalities()
			if a.global.json {
				return a.out.json(map[string]any{"personalities": all}, true)
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

func lowerFirst(s string) string { return strings.ToLower(s[:min(1, len(s))]) + s[min(1, len(s)):] }

// personalityHelp is what the flags --personality take.
const personalityHelp = "a `name` from handstamp lab list, your own as JSON, or @FILE with JSON"

// maxPersonality bounds a file with a personality, in bytes.
const maxPersonality = 1 << 20

// isOwn reports whether it is JSON, or a file with that, rather than a name.
func isOwn(text string) bool {
	text = strings.TrimSpace(text)
	return strings.HasPrefix(text, "{") || strings.HasPrefix(text, "@")
}

// personalityNames returns the names there are.
func personalityNames() []string {
	var names []string
	for _, p := range lab.Personalities() {
		names = append(names, p.Name)
	}
	return names
}

// personalityCompletions proposes the names there are.
func personalityCompletions(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return personalityNames(), cobra.ShellCompDirectiveNoFileComp
}

// findPersonalities returns those that have these names, or are these objects;
// all for none.
func findPersonalities(names []string) ([]lab.Personality, error) {
	if len(names) == 0 {
		return lab.Personalities(), nil
	}
	var found []lab.Personality
	for _, name := range names {
		p, err := findPersonality(name)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(found, func(other lab.Personality) bool { return other.Name == p.Name }) {
			return nil, usage("there are two personalities %q: give them names of their own", p.Name)
		}
		found = append(found, p)
	}
	return found, nil
}

// findPersonality returns the one that has this name, or is this object.
func findPersonality(text string) (p lab.Personality, err error) {
	if !isOwn(text) {
		p, ok := lab.FindPersonality(text)
		if !ok {
			err = usage("there is no personality %q%s; handstamp lab list shows them",
				text, didYouMean(text, personalityNames()))
		}
		return p, err
	}
	raw, file, err := readArgument(strings.TrimSpace(text), maxPersonality, readRegular)
	if err != nil {
		return p, usage("--personality cannot be read: %s: %w", file, err)
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return p, usage("--personality cannot be read: %w; handstamp lab list --json shows the form", err)
	}
	if p.Name == "" {
		p.Name, p.Habits.Name = "custom", "custom"
	}
	return p, nil
}
