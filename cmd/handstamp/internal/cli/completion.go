package cli

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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

// completes reports whether a command line is that of a shell which completes another one.
func completes(args []string) bool {
	return len(args) > 0 &&
		(args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd)
}

// fileFlags are the endings of flags whose values are files or folders. The other values that no
// function completes are not.
var fileFlags = []string{"file", "cert", "key", "html", "junit", "bundle", "dir"}

// registerCompletions has the values of flags completed.
func (a *app) registerCompletions(root *cobra.Command) {
	register := func(cmd *cobra.Command, name string, complete cobra.CompletionFunc) {
		if cmd.Flag(name) != nil {
			_ = cmd.RegisterFlagCompletionFunc(name, complete)
		}
	}
	register(root, "profile", a.completeProfiles)
	register(root, "store", cobra.FixedCompletions(storeWords, cobra.ShellCompDirectiveDefault))
	register(root, "proxy", cobra.FixedCompletions([]string{"none", "http://", "socks5://"}, cobra.ShellCompDirectiveNoSpace))
	for _, cmd := range documented(root) {
		register(cmd, "workload", cobra.FixedCompletions(
			[]string{"file:", "env:", "command:", "gcp", "azure", "github"}, cobra.ShellCompDirectiveNoSpace))
		register(cmd, "prompt", cobra.FixedCompletions(
			[]string{"login", "consent", "select_account"}, cobra.ShellCompDirectiveNoFileComp))
		ownFlags(cmd).VisitAll(func(f *pflag.Flag) {
			file := slices.ContainsFunc(fileFlags, func(end string) bool { return strings.HasSuffix(f.Name, end) })
			if _, known := cmd.GetFlagCompletionFunc(f.Name); !known && !file {
				register(cmd, f.Name, cobra.NoFileCompletions)
			}
		})
	}
}

// completeProfiles completes the name of a profile: those of the configuration and of what is
// stored.
func (a *app) completeProfiles(
	cmd *cobra.Command, _ []string, _ string,
) ([]string, cobra.ShellCompDirective) {
	conf, err := a.loadConfig()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := []string{a.baseProfile()}
	for _, server := range conf.Servers {
		names = append(names, server.Profile)
	}
	for _, k := range a.completedKeys(cmd.Context()) {
		names = append(names, k.Profile)
	}
	return proposals(names), cobra.ShellCompDirectiveNoFileComp
}

// completedKeys returns the keys of what is stored, as far as files have them. They are in the clear in
// every store, so no key is needed: a shell waits for this, and shows neither a prompt nor a window.
func (a *app) completedKeys(ctx context.Context) []store.Key {
	choice, err := a.chosenStore()
	if err != nil || choice.word == storeMemory || isDatabase(choice.word) {
		return nil
	}
	folders, err := a.foldersOf(choice.word)
	if err != nil || !hasCredentials(folders.Credentials) && !hasCredentials(folders.Spare) {
		return nil // opening it would make folders
	}
	files, err := folders.Open(filestore.Options{Warn: func(string) {}})
	if err != nil {
		return nil
	}
	keys, _ := files.List(ctx)
	return keys
}

// completeServers completes the name of a server: the aliases of the
// configuration and what is stored. It opens no browser and no connection.
func (a *app) completeServers(
	cmd *cobra.Command, args []string, _ string,
) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 && !strings.Contains(cmd.Use, "[server…]") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	conf, err := a.loadConfig()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := slices.Collect(maps.Keys(conf.Servers))
	for _, k := range a.completedKeys(cmd.Context()) {
		if name := a.storedTarget(k).name; conf.Servers[name] == nil {
			names = append(names, name)
		}
	}
	return proposals(names), cobra.ShellCompDirectiveNoFileComp
}

// shellActive is what has a shell do more than pass a word on. Bash inserts what several proposals
// have in common as it is.
const shellActive = "$`\\\"'!;|<>()"

// proposals sorts what is proposed, each once, without what a terminal must not see, or a shell
// would carry out.
func proposals(names []string) []string {
	names = slices.DeleteFunc(names, func(name string) bool {
		return name == "" || clean(name) != name || strings.ContainsAny(name, shellActive)
	})
	slices.Sort(names)
	return slices.Compact(names)
}
