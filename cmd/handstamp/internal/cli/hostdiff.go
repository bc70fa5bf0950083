package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/mcphost"
	"github.com/handstamp/handstamp/internal/lazyregexp"
)

// diffContext is how many lines around a change are shown.
const diffContext = 3

// unifiedDiff returns the difference of two texts. An edit changes one part of a file. What may
// be a secret is not shown, but for lines that the text of our entry has, too.
func unifiedDiff(path string, before, after []byte, entry string) string {
	a, b := diffLines(before), diffLines(after)
	start := 0
	for start < min(len(a), len(b)) && a[start] == b[start] {
		start++
	}
	endA, endB := len(a), len(b)
	for endA > start && endB > start && a[endA-1] == b[endB-1] {
		endA, endB = endA-1, endB-1
	}
	from := max(0, start-diffContext)
	tail := min(diffContext, len(a)-endA)
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", diffName(path, before), diffName(path, after))
	fmt.Fprintf(&out, "@@ -%s +%s @@\n", diffRange(from, endA+tail), diffRange(from, endB+tail))
	ours := make(map[string]bool)
	for line := range strings.Lines(entry) {
		ours[bareLine(line)] = !secretInURL.Get().MatchString(line)
	}
	write := func(mark string, lines []string, from, to int) {
		for i := from; i < to; i++ {
			text, ended := strings.CutSuffix(lines[i], "\n")
			text = strings.TrimSuffix(text, "\r")
			if !ours[bareLine(text)] {
				text = withoutSecrets(text, strings.Join(lines[max(0, i-1):i], ""))
			}
			out.WriteString(mark + cleanTabs(text) + "\n")
			if !ended {
				out.WriteString("\\ No newline at end of file\n")
			}
		}
	}
	write(" ", a, from, start)
	write("-", a, start, endA)
	write("+", b, start, endB)
	write(" ", a, endA, endA+tail)
	return out.String()
}

// bareLine returns a line without what depends on its neighbours.
func bareLine(line string) string { return strings.TrimSuffix(strings.TrimSpace(line), ",") }

func diffLines(text []byte) []string {
	return strings.SplitAfter(string(text), "\n")[:strings.Count(string(text), "\n")+lastLine(text)]
}

// lastLine is 1 if a text ends with a line that has no end.
func lastLine(text []byte) int {
	if len(text) == 0 || text[len(text)-1] == '\n' {
		return 0
	}
	return 1
}

func diffName(path string, text []byte) string {
	if text == nil {
		return os.DevNull
	}
	return clean(filepath.ToSlash(path))
}

// diffRange is how a unified diff names lines.
func diffRange(from, to int) string {
	if from == to {
		return fmt.Sprintf("%d,0", from)
	}
	return fmt.Sprintf("%d,%d", from+1, to-from)
}

var (
	// secretInURL finds the parts of a URL that may hold a secret.
	secretInURL = lazyregexp.New(`://[^\s"']*[@?#]`)

	// secretWord finds what [mcphost.MayBeSecret] does not: names of variables seldom have it.
	secretWord = lazyregexp.New(`(?i)pass|pwd|cookie|bearer`)

	// flagLine finds a line with a flag alone, whose value is on the next one.
	flagLine = lazyregexp.New(`^[\s'"-]*--[\w-]+['"]?,?$`)
)

// withoutSecrets hides what follows the first name in a line where something sounds like a secret, all
// of it if there is none, and a line behind a flag on a line of its own that does.
func withoutSecrets(line, before string) string {
	secret := func(s string) bool {
		return mcphost.MayBeSecret(s) || secretWord.Get().MatchString(s) || secretInURL.Get().MatchString(s)
	}
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	if strings.Contains(before, "--") && !strings.ContainsAny(before, ":=") && secret(before) {
		return indent + "…"
	}
	switch i := strings.IndexAny(line, ":="); {
	case !secret(line) || flagLine.Get().MatchString(line):
		return line
	case i >= 0:
		return line[:i+1] + " …"
	}
	return indent + "…"
}

// cleanTabs is clean for a line that may be indented with tabs.
func cleanTabs(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && unsafeRune(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}
