package cli

import (
	"bytes"
	"maps"
	"slices"

	"github.com/spf13/cobra"
)

var shells = []string{"bash", "zsh", "fish", "powershell"}

func (a *app) newCompletion() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a completion script for a shell",
		Example: `  source <(handstamp completion bash)
  handstamp completion zsh > "${fpath[1]}/_handstamp"
  handstamp completion fish | source
  handstamp completion powershell | Out-String | Invoke-Expression`,
		Args:      exactly(1, "one shell: "+list(shells, "or")),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			var script bytes.Buffer
			root, err := cmd.Root(), error(nil)
			switch args[0] {
			case "bash":
				err = root.GenBashCompletionV2(&script, true)
			case "zsh":
				err = root.GenZshCompletion(&script)
			case "fish":
				err = root.GenFishCompletion(&script, true)
			case "powershell":
				err = root.GenPowerShellCompletionWithDesc(&script)
			default:
				return usage("there is no completion for %q: it is one of %s%s",
					args[0], list(shells, "or"), didYouMean(args[0], shells))
			}
			if err != nil {
				return err
			}
			return a.out.data(script.Bytes())
		},
	}
}

// completeServers completes the name of a server: the aliases of the
// configuration and what is stored. It opens no browser and no connection.
func (a *app) completeServers(
	cmd *cobra.Command, args []string, _ string,
) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	conf, err := a.loadConfig()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := slices.Sorted(maps.Keys(conf.Servers))
	keys, _ := a.storedKeys(cmd.Context())
	for _, k := range keys {
		names = append(names, a.storedTarget(k).name)
	}
	slices.Sort(names)
	return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
}
