package cli

import (
	"strings"

	"github.com/spf13/pflag"
)

// repeatedVar defines a flag that may be given several times, with a text each time. That of pflag
// makes a CSV writer for each flag, at each start of the program.
func repeatedVar(flags *pflag.FlagSet, texts *[]string, name, usage string) {
	flags.Var((*repeatedValue)(texts), name, usage)
}

// repeatedValue is the value of a flag that may be given several times.
type repeatedValue []string

func (v *repeatedValue) Set(text string) error { *v = append(*v, text); return nil }
func (v *repeatedValue) String() string        { return strings.Join(*v, ", ") }

// Type implements [pflag.Value]: shells complete a flag of this type more than once.
func (v *repeatedValue) Type() string { return "stringArray" }
