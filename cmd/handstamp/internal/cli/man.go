package cli

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) newMan() *cobra.Command {
	return &cobra.Command{
		Use:   "man [folder]",
		Short: "Write the manual pages",
		Long: `Write a manual page for every command into a folder, as handstamp.1,
handstamp-login.1 and so on. Without a folder, the page of handstamp itself goes to
standard output.`,
		Example: `  handstamp man | man -l -
  handstamp man ~/.local/share/man/man1`,
		Args: between(0, 1, "one folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.out.data(manPage(cmd.Root()))
			}
			return a.writeManPages(cmd.Context(), cmd.Root(), args[0])
		},
	}
}

// manOutput is what --json prints.
type manOutput struct {
	Folder string   `json:"folder"`
	Files  []string `json:"files"`
}

func (a *app) writeManPages(ctx context.Context, root *cobra.Command, folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("the folder for the pages cannot be made: %w", err)
	}
	written := manOutput{Folder: folder}
	for _, cmd := range documented(root) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		name := manName(cmd) + ".1"
		if err := os.WriteFile(filepath.Join(folder, name), manPage(cmd), 0o644); err != nil {
			return fmt.Errorf("a page cannot be written: %w", err)
		}
		written.Files = append(written.Files, name)
	}
	return a.print(written, func() {
		a.err.ok("", "%d pages are in %s", len(written.Files), folder)
	})
}

// documented returns a command, and all commands and topics below it that help shows.
func documented(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() || c.IsAdditionalHelpTopicCommand() {
			all = append(all, documented(c)...)
		}
	}
	return all
}

func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manPage returns the page of a command in the man(7) language.
func manPage(cmd *cobra.Command) []byte {
	var b bytes.Buffer
	name := manName(cmd)
	fmt.Fprintf(&b, ".TH \"%s\" 1 \"\" \"Handstamp\" \"Handstamp Manual\"\n", strings.ToUpper(name))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(name), roff(cmd.Short))
	flags := flagRows(ownFlags(cmd))
	if cmd.Name() == globalTopic {
		flags = flagRows(cmd.Root().PersistentFlags())
	} else if !cmd.IsAdditionalHelpTopicCommand() {
		fmt.Fprintf(&b, ".SH SYNOPSIS\n.nf\n%s\n.fi\n", roff(usageLines(cmd)))
	}
	b.WriteString(".SH DESCRIPTION\n")
	roffText(&b, cmp.Or(cmd.Long, cmd.Short))
	if cmd.Example != "" {
		fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roff(cmd.Example))
	}
	for _, list := range commandLists(cmd) {
		roffList(&b, list.title, list.rows)
	}
	if cmd.Name() == globalTopic || !cmd.IsAdditionalHelpTopicCommand() {
		roffList(&b, "Options", flags)
	}
	if cmd.HasParent() {
		fmt.Fprintf(&b, ".SH SEE ALSO\n.BR %s (1),\n.BR handstamp\\-%s (1)\n",
			roff(manName(cmd.Parent())), globalTopic)
	}
	return b.Bytes()
}

func roffList(b *bytes.Buffer, title string, rows []helpRow) {
	if len(rows) > 0 {
		fmt.Fprintf(b, ".SH %s\n", strings.ToUpper(title))
	}
	for _, row := range rows {
		fmt.Fprintf(b, ".TP\n\\fB%s\\fR\n%s\n", roff(strings.TrimSpace(row.name)), roff(row.text))
	}
}

// roffText writes paragraphs, and lines that begin with a space as they are.
func roffText(b *bytes.Buffer, text string) {
	verbatim := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if table := strings.HasPrefix(line, " "); table != verbatim && line != "" {
			verbatim = table
			b.WriteString(map[bool]string{true: ".nf\n", false: ".fi\n"}[table])
		}
		if line == "" {
			line = ".PP"
		} else {
			line = roff(line)
		}
		b.WriteString(line + "\n")
	}
	if verbatim {
		b.WriteString(".fi\n")
	}
}

// roff quotes a text: a backslash, a hyphen that must not become a dash, what is not ASCII, and
// what would be a request at the beginning of a line.
func roff(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-':
			b.WriteString(`\-`)
		case r > '~':
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	lines := strings.Split(b.String(), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
