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
		hidden := behindSecrets(lines)
		for i := from; i < to; i++ {
			text, ended := strings.CutSuffix(lines[i], "\n")
			text = strings.TrimSuffix(text, "\r")
			switch {
			case ours[bareLine(text)]:
			case hidden[i]:
				text = indentOf(text) + "…"
			default:
				text = withoutSecrets(text)
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

	// flagLine finds a line with a flag alone, and lastFlag one with a flag at its end, whose value is on
	// the next line.
	flagLine = lazyregexp.New(`^[\s'"-]*--[\w-]+['"]?,?$`)
	lastFlag = lazyregexp.New(`--[\w-]+['"]?,?$`)

	// opened finds a line whose value is on those below that are indented more.
	opened = lazyregexp.New(`([:=\[{(]|[|>][+-]?[0-9]?[+-]?)( +#.*)?$`)
)

// maySecret reports whether something in a line sounds like a secret.
func maySecret(line string) bool {
	return mcphost.MayBeSecret(line) || secretWord.Get().MatchString(line) || secretInURL.Get().MatchString(line)
}

func indentOf(line string) string { return line[:len(line)-len(strings.TrimLeft(line, " \t"))] }

// withoutSecrets hides what follows the first name in a line where something sounds like a secret, all
// of it if there is none.
func withoutSecrets(line string) string {
	switch i := strings.IndexAny(line, ":="); {
	case !maySecret(line) || flagLine.Get().MatchString(line):
		return line
	case i >= 0:
		return line[:i+1] + " …"
	}
	return indentOf(line) + "…"
}

// behindSecrets reports for each line whether it has the value, or a part of it, of what a line above names
// and what sounds like a secret.
func behindSecrets(lines []string) []bool {
	hidden := make([]bool, len(lines))
	for i, line := range lines {
		if !maySecret(line) {
			continue
		}
		for j := range min(valueEnd(lines, i), len(lines)) {
			hidden[j] = hidden[j] || j > i
		}
	}
	return hidden
}

// valueEnd returns the line behind the value of what line i names, as far as that is on lines below it.
func valueEnd(lines []string, i int) int {
	line := strings.TrimRight(lines[i], " \t\r\n")
	for _, quote := range []string{`"""`, "'''"} { // TOML's
		if strings.Count(line, quote)%2 == 1 {
			for i++; i < len(lines) && !strings.Contains(lines[i], quote); i++ {
			}
			return i + 1
		}
	}
	open := opened.Get().FindStringSubmatch(line)
	switch {
	case lastFlag.Get().MatchString(line):
		return i + 2
	case open == nil:
		return i + 1
	}
	end := i + 1
	for j, line := range lines[i+1:] {
		text := strings.TrimSpace(line)
		more := len(indentOf(line)) - len(indentOf(lines[i]))
		closes := strings.IndexAny(text, "}])") == 0
		inBraces := strings.Contains("{[(", open[1]) && !closes // however it is indented
		isFirst := end == i+1 && !closes
		isItem := more == 0 && strings.HasPrefix(text, "- ") // YAML's
		switch {
		case text == "":
		case more > 0, inBraces, isFirst, isItem:
			end = i + 2 + j
		default:
			return end
		}
	}
	return end
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
