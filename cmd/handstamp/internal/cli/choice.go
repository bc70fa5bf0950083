package cli

import (
	"errors"
	"slices"

	"github.com/spf13/cobra"
)

// choice is a flag whose value is one of a few words.
type choice struct {
	value *string
	words []string
}

// String implements pflag.Value.
func (c choice) String() string {
	if c.value == nil {
		return ""
	}
	return *c.value
}

// Set implements pflag.Value.
func (c choice) Set(s string) error {
	if !slices.Contains(c.words, s) {
		return errors.New("it is one of " + list(c.words, "or") + didYouMean(s, c.words))
	}
	*c.value = s
	return nil
}

// Type implements pflag.Value: it is what help shows.
func (c choice) Type() string { return "word" }

// bindChoice adds a choice to the flags of cmd. The value must already hold its
// default, which may be empty.
func bindChoice(cmd *cobra.Command, value *string, name, help string, words ...string) {
	cmd.Flags().Var(choice{value, words}, name, help+": "+list(words, "or"))
	_ = cmd.RegisterFlagCompletionFunc(name,
		cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}
