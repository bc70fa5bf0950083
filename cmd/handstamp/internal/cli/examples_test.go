//go:build unix

package cli

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/lab"
	"github.com/spf13/cobra"
)

// notRun are the examples that a test cannot run, by a part of them. Their flags are checked.
var notRun = map[string]string{
	"…":                          "a part is left out",
	" lab serve":                 "it serves until it is interrupted: lab.txtar",
	" lab run":                   "it takes minutes: lab.txtar",
	" search ":                   "the lab's server has no such tool: call.txtar",
	" serve":                     "it serves until it is interrupted",
	"store reseal":               "it needs a database: storereseal_unix_test.go",
	"completion zsh":             "it writes a file of the user's zsh: misc.txtar",
	"completion fish":            "it needs fish: misc.txtar",
	"completion powershell":      "it needs PowerShell: misc.txtar",
	"export linear":              "it needs a terminal, for the passphrase: export.txtar",
	"linear.age":                 "it needs a terminal, for the passphrase: export.txtar",
	"client-document check http": "it needs a server at that address: clientdocument.txtar",
	"--jwt-key":                  "it needs a key that a server knows: keys.txtar",
	"--client-metadata-url":      "it needs a server at that address: clientdocument.txtar",
	"--workload":                 "it needs a platform: workload.txtar",
	"--enterprise":               "it needs an identity provider: enterprise.txtar",
	"migrate keyring":            "it needs a keyring: the tests of the store",
	"mcp-remote":                 "it needs logins of mcp-remote: import.txtar",
	"mcpServers":                 "it is a file of an MCP host",
	`"command": "handstamp"`:     "it is a file of an MCP host",
}

// exampleLines returns the examples of a command, a command line each.
func exampleLines(cmd *cobra.Command) []string {
	text := strings.ReplaceAll(cmd.Example, "\\\n", "")
	text = strings.ReplaceAll(text, "|\n", "| ")
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// comesFirst are the command lines that an example goes on from, by a part of it.
var comesFirst = map[string]string{
	"client disconnect cursor": "handstamp client connect cursor linear",
	"client disconnect codex":  "handstamp client connect codex linear",
	"import cursor":            `mkdir -p ~/.cursor && echo '{"mcpServers": {"notes": {"url": "https://mcp.linear.app/mcp"}}}' >~/.cursor/mcp.json`,
	"import .mcp.json":         `echo '{"mcpServers": {"notes": {"url": "https://mcp.linear.app/mcp"}}}' >.mcp.json`,
}

func whyNotRun(line string) string {
	for part, reason := range notRun {
		if strings.Contains(line, part) {
			return reason
		}
	}
	return ""
}

// The examples of the help work as they are typed; only the servers that they name are the lab's.
func TestExamplesWorkAsTyped(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a shell for each example")
	}
	shell, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash: ", err)
	}
	server, err := lab.Start(lab.NoneFirst())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	processes.Watch(t, server)
	server.RegisterClient(lab.ConfiguredClient{ID: "0oa4", Secret: "battery-staple", Method: "client_secret_post"})
	ours := strings.NewReplacer("https://mcp.linear.app/mcp", server.MCPURL(), "https://mcp.example.com/mcp",
		server.MCPURL(), "mcp.example.com/mcp", server.MCPURL())
	for _, cmd := range documented(wholeTree(t)) {
		for _, line := range exampleLines(cmd) {
			t.Run(line, func(t *testing.T) {
				if reason := whyNotRun(line); reason != "" {
					t.Skip(reason)
				}
				for _, tool := range []string{"curl ", "man -l"} {
					name, _, _ := strings.Cut(tool, " ")
					if _, err := exec.LookPath(name); err != nil && strings.Contains(line, tool) {
						t.Skip(err)
					}
				}
				dir := t.TempDir()
				home := filepath.Join(dir, "home")
				config := `{"servers": {"linear": {"url": "` + server.MCPURL() + `"}}}`
				for name, text := range map[string]string{"home/config.json": config,
					"secret.txt": "battery-staple\n", "agent": "#!/bin/sh\ntest -n \"$TOKEN$LINEAR_TOKEN\"\n"} {
					path := filepath.Join(dir, name)
					if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
						t.Fatal(err)
					}
				}
				if err := os.Chmod(filepath.Join(home, "config.json"), 0o600); err != nil {
					t.Fatal(err)
				}
				run := func(line string) {
					t.Helper()
					ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
					defer cancel()
					c := exec.CommandContext(ctx, shell, "-c", line)
					c.Dir = dir
					c.Env = append(os.Environ(), "HANDSTAMP_HOME="+home, "HANDSTAMP_BROWSER=labbrowser", "HOME="+dir)
					if out, err := c.CombinedOutput(); err != nil {
						t.Errorf("%s: %v\n%s", line, err, out)
					}
				}
				run("handstamp login linear")
				for part, before := range comesFirst {
					if strings.Contains(line, part) {
						run(ours.Replace(before))
					}
				}
				run(ours.Replace(line))
			})
		}
	}
}

// The flags of every example exist, and its command does.
func TestExamplesHaveFlagsThatExist(t *testing.T) {
	n := 0
	for _, about := range documented(wholeTree(t)) {
		for _, line := range exampleLines(about) {
			at := strings.Index(line, "handstamp ")
			if at < 0 {
				continue
			}
			line, _, _ = strings.Cut(line[at+len("handstamp "):], " | ")
			line, _, _ = strings.Cut(line, " > ")
			words := strings.Fields(strings.NewReplacer(`)"`, "", `'`, "", `"`, "").Replace(line))
			root := wholeTree(t)
			cmd, rest, err := root.Find(words)
			if err != nil || cmd == root {
				t.Errorf("%s: %q is no command: %v", about.CommandPath(), line, err)
				continue
			}
			if end := strings.Index(strings.Join(rest, "\n"), "\n--\n"); end >= 0 {
				rest = strings.Split(strings.Join(rest, "\n")[:end], "\n")
			}
			for _, word := range rest {
				name, isFlag := strings.CutPrefix(word, "--")
				name, _, _ = strings.Cut(name, "=")
				if isFlag && cmd.Flag(name) == nil && !strings.Contains(line, "mcpcall") {
					t.Errorf("%s: %q has no flag --%s", about.CommandPath(), line, name)
				}
			}
			n++
		}
	}
	if n < 20 {
		t.Errorf("only %d examples were found", n)
	}
}
