package cli

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newHelp returns handstamp help.
func (a *app) newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Show the help of a command or a topic",
		ValidArgsFunction: func(
			cmd *cobra.Command, args []string, _ string,
		) ([]string, cobra.ShellCompDirective) {
			about, err := findCommand(cmd.Root(), args)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return subcommands(about), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			about, err := findCommand(cmd.Root(), args)
			if err != nil {
				return err
			}
			a.helpPage(about, nil)
			return nil
		},
	}
}

// findCommand returns the command that words name, one after the other.
func findCommand(cmd *cobra.Command, words []string) (*cobra.Command, error) {
	for _, word := range words {
		i := slices.IndexFunc(cmd.Commands(), func(c *cobra.Command) bool { return c.Name() == word })
		if i < 0 {
			return nil, subcommand(cmd, []string{word})
		}
		cmd = cmd.Commands()[i]
	}
	return cmd, nil
}

// subcommands returns the names of the commands and topics below a command.
func subcommands(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			names = append(names, c.Name())
		}
	}
	return names
}

// subcommand is the Args function of a command that has subcommands: a word left over there
// is one that does not exist.
func subcommand(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case !cmd.HasParent():
		return usage("there is no command %q%s", args[0], didYouMean(args[0], subcommands(cmd)))
	}
	return usage("%s has no command %q%s",
		cmd.CommandPath(), args[0], didYouMean(args[0], subcommands(cmd)))
}

// flagError makes one sentence of pflag's error, with the nearest right flag.
func flagError(cmd *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	if missing, ok := errors.AsType[*pflag.NotExistError](err); ok {
		return unknownFlag(cmd, missing)
	}
	if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		flag, reason := bad.GetFlag(), bad.Unwrap()
		if form := map[string]string{
			"duration": "a duration such as 90s or 5m", "int": "a whole number", "bool": "true or false",
			"uint": "a whole number, not negative", "intSlice": "whole numbers, with commas between them",
		}[flag.Value.Type()]; form != "" {
			reason = errors.New("it is " + form)
		}
		return usage("--%s cannot be %q: %w", flag.Name, bad.GetValue(), reason)
	}
	return usage("%w", err)
}

// jsonAmong reports whether --json is among arguments of which not all can be parsed.
func jsonAmong(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.Contains(args, "--json") || slices.Contains(args, "--json=true")
}

// unknownFlag names the commands that have the flag, or the nearest flag of this one.
func unknownFlag(cmd *cobra.Command, missing *pflag.NotExistError) error {
	if letters := missing.GetSpecifiedShortnames(); letters != "" {
		return usage("%s has no flag -%s", cmd.CommandPath(), letters)
	}
	name := missing.GetSpecifiedName()
	all := newApp(Process{}).newRoot() // cmd's own tree may be a part of it
	switch owners := commandsWith(all, name); len(owners) {
	case 0:
	case 1:
		return usage("%s has no flag --%s; %s has it", cmd.CommandPath(), name, owners[0])
	default:
		return usage("%s has no flag --%s; %s have it", cmd.CommandPath(), name, list(owners, "and"))
	}
	var names []string
	collect := func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, "--"+f.Name)
		}
	}
	cmd.Flags().VisitAll(collect)
	cmd.InheritedFlags().VisitAll(collect)
	return usage("%s has no flag --%s%s", cmd.CommandPath(), name, didYouMean("--"+name, names))
}

// commandsWith returns the commands below cmd that have a flag of this name.
func commandsWith(cmd *cobra.Command, name string) []string {
	var paths []string
	for _, c := range cmd.Commands() {
		if f := c.Flags().Lookup(name); f != nil && !f.Hidden && !c.Hidden {
			paths = append(paths, c.CommandPath())
		}
		paths = append(paths, commandsWith(c, name)...)
	}
	return paths
}

// exactly returns an Args function for commands with n arguments, described by
// what.
func exactly(n int, what string) cobra.PositionalArgs { return between(n, n, what) }

// between returns an Args function for commands with least to most arguments.
func between(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usage("%s needs %s", cmd.CommandPath(), what)
		case len(args) > most:
			return usage("unexpected argument %q; %s takes %s", args[most], cmd.CommandPath(), what)
		}
		return nil
	}
}

// hidden returns a command that other commands run.
func hidden(
	use string, n int, what string, run func(context.Context, []string) error,
) *cobra.Command {
	return &cobra.Command{Use: use, Hidden: true, Args: exactly(n, what), RunE: withArgs(run)}
}

// withArgs returns the RunE function of a command that needs no more than its arguments.
func withArgs(run func(context.Context, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error { return run(cmd.Context(), args) }
}
