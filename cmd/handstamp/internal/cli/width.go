package cli

import (
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

const (
	defaultWidth = 80  // columns, where nothing tells
	maxProse     = 100 // columns: longer lines are hard to read
)

// columns returns how many columns the terminal at w has, or else what COLUMNS says; 0 if neither
// tells.
func columns(w io.Writer, env environment) int {
	if n, err := strconv.Atoi(env.get("COLUMNS")); err == nil && n >= 20 {
		return n
	}
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n >= 20 {
			return n
		}
	}
	return 0
}

// fold breaks a text into lines of at most width columns at its spaces. What is longer stays whole:
// a URL that is cut cannot be opened, nor a suggested command be pasted. A width of 0 breaks nothing.
func fold(text string, width int) []string {
	if width <= 0 || utf8.RuneCountInString(text) <= width {
		return []string{text}
	}
	words := strings.Fields(text)
	if i := strings.Index(text, ": handstamp "); i >= 0 {
		words = strings.Fields(text[:i+1])
		words[len(words)-1] += text[i+1:]
	}
	var lines []string
	used := 0
	for _, word := range words {
		n := utf8.RuneCountInString(word)
		if last := len(lines) - 1; last >= 0 && used+1+n <= width {
			lines[last] += " " + word
			used += 1 + n
			continue
		}
		lines = append(lines, word)
		used = n
	}
	return lines
}

// reflow folds the paragraphs of a text, which empty lines part. Lines that begin with a space
// are a table or an example and stay as they are.
func reflow(text string, width int) string {
	var out, paragraph []string
	flush := func() {
		if len(paragraph) > 0 {
			out = append(out, fold(strings.Join(paragraph, " "), width)...)
			paragraph = nil
		}
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if line == "" || strings.HasPrefix(line, " ") {
			flush()
			out = append(out, line)
			continue
		}
		paragraph = append(paragraph, line)
	}
	flush()
	return strings.Join(out, "\n")
}
