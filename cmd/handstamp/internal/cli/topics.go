package cli

import (
	_ "embed"
	"strings"

	"github.com/spf13/cobra"
)

// The pages of the help that are about no command.
var (
	//go:embed help/environment.txt
	environmentPage string
	//go:embed help/configuration.txt
	configurationPage string
	//go:embed help/global.txt
	globalPage string
)

// newTopic returns a page of the help.
func newTopic(name, short, page string) *cobra.Command {
	return &cobra.Command{Use: name, Short: short, Long: strings.TrimSpace(page)}
}
