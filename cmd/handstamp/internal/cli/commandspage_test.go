package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commandsPage is the command reference: the help of every command, as docs/commands.md.
func commandsPage(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("# The commands\n\nThe help of every command, written by a test of " +
		"`cmd/handstamp/internal/cli` (`HANDSTAMP_TEST_UPDATE=1 go test -run TestCommandsPage`).\n" +
		"The shapes of `--json` are in [json.md](json.md).\n\n")
	for _, cmd := range documented(root) {
		anchor := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
		fmt.Fprintf(&b, "- [%s](#%s): %s\n", cmd.CommandPath(), anchor, cmd.Short)
	}
	for _, cmd := range documented(root) {
		fmt.Fprintf(&b, "\n## %s\n\n```text\n%s```\n", cmd.CommandPath(),
			helpText(cmd, 100, func(s string) string { return s }))
	}
	return b.String()
}

// wholeTree is the tree of the commands as a user's command line meets it.
func wholeTree(t *testing.T) *cobra.Command {
	t.Helper()
	root := newApp(Process{}).newRoot()
	root.InitDefaultHelpCmd()
	return root
}

// The reference is the help of the commands.
func TestCommandsPage(t *testing.T) {
	const page = "../../../../docs/commands.md"
	want := commandsPage(wholeTree(t))
	if os.Getenv("HANDSTAMP_TEST_UPDATE") != "" {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is out of date; run: HANDSTAMP_TEST_UPDATE=1 go test -run TestCommandsPage ./cmd/handstamp/internal/cli", page)
	}
}

// What follows -- goes to another program: the flags of a command stand before it.
func TestFlagsBeforeTheDashes(t *testing.T) {
	for _, cmd := range documented(wholeTree(t)) {
		_, after, _ := strings.Cut(cmd.UseLine(), "-- ")
		if strings.Contains(after, "[flags]") {
			t.Errorf("the usage is %s", cmd.UseLine())
		}
	}
}

// A value that a flag cannot have is explained in words, and not by the error of a parser.
func TestFlagsExplainTheirValues(t *testing.T) {
	for _, cmd := range documented(wholeTree(t)) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			err := cmd.ParseFlags([]string{"--" + f.Name + "=?"})
			if err == nil {
				return
			}
			for _, word := range []string{"strconv", "parsing", "syntax", "time:"} {
				if text := flagError(cmd, err).Error(); strings.Contains(text, word) {
					t.Errorf("%s: %s", cmd.CommandPath(), text)
				}
			}
		})
	}
}

// Each manual page is one that groff and man find nothing wrong with.
func TestManualPages(t *testing.T) {
	dir := t.TempDir()
	var problems bytes.Buffer
	if code := Run(t.Context(), []string{"man", dir}, Process{Stderr: &problems}); code != 0 {
		t.Fatalf("exit code %d\n%s", code, &problems)
	}
	var pages []string
	for _, cmd := range documented(wholeTree(t)) {
		page := filepath.Join(dir, manName(cmd)+".1")
		pages = append(pages, page)
		text, err := os.ReadFile(page)
		if err != nil {
			t.Error(err)
			continue
		}
		if !strings.Contains(string(text), ".SH NAME\n"+roff(manName(cmd))+" \\- ") {
			t.Errorf("%s has no name:\n%s", page, text)
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "'") {
				t.Errorf("%s has a request that is text: %s", page, line)
			}
		}
	}
	if _, err := exec.LookPath("groff"); err != nil {
		return
	}
	args := append([]string{"-man", "-ww", "-Tutf8", "-z"}, pages...)
	out, err := exec.CommandContext(t.Context(), "groff", args...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("groff: %v\n%s", err, out)
	}
}
