package cli

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// maxText bounds one line of output, in bytes. An authorization
// URL may have 8 KiB and has to fit.
const maxText = 12 << 10

// clean makes text from anywhere safe to show on a terminal, on one line: no
// control character of either set (so no escape sequence), no character that
// turns the direction of writing or is invisible, no broken UTF-8.
func clean(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\t' || r == '\n' || r == '\r' || r == '\u2028' || r == '\u2029':
			b.WriteByte(' ')
		case unsafeRune(r):
			b.WriteRune(utf8.RuneError)
		default:
			b.WriteRune(r)
		}
		if b.Len() > maxText {
			b.WriteString("…")
			break
		}
	}
	return b.String()
}

// short is clean for a text of a server: at most 256 bytes.
func short(s string) string {
	s = clean(s)
	if len(s) <= 256 {
		return s
	}
	return cutText(s, 256) + "…"
}

// cutText returns the first n bytes of a longer text, without half a character at the end.
func cutText(s string, n int) string {
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// plain reports whether s is printable ASCII within bounds: nearly always.
func plain(s string) bool {
	odd := func(r rune) bool { return r < ' ' || r > '~' }
	return len(s) <= maxText && !strings.ContainsFunc(s, odd)
}

// unsafeRune reports whether r can change what a terminal shows beside itself:
// the control characters (C0, DEL, C1), the format characters (bidirectional
// overrides and isolates, zero-width characters, tags), surrogates and private
// use.
func unsafeRune(r rune) bool {
	if r < utf8.RuneSelf {
		return r < ' ' || r == '\x7f' // far sooner found than in the table
	}
	return r == utf8.RuneError || unicode.Is(unicode.C, r)
}

// list joins words as a sentence does: "a, b or c".
func list(words []string, conjunction string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " " + conjunction + " " + words[last]
}

// nearest returns the candidate that a mistyped word most likely means, or "". It is the library
// that parses command lines which tells: commands, flags, values and aliases are suggested alike.
func nearest(word string, candidates []string) string {
	if len(word) < 2 {
		return ""
	}
	var known cobra.Command
	for _, c := range candidates {
		known.AddCommand(&cobra.Command{Use: c, Run: func(*cobra.Command, []string) {}})
	}
	for known.SuggestionsMinimumDistance <= min(2, (len(word)+1)/3) {
		if near := known.SuggestionsFor(word); len(near) > 0 {
			return near[0]
		}
		known.SuggestionsMinimumDistance++
	}
	return ""
}

// didYouMean returns "; did you mean x?" or "".
func didYouMean(word string, candidates []string) string {
	if near := nearest(word, candidates); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// capital makes a sentence out of an error's text. What is no plain word stays as
// it is: "http://…", "client_id", the name of the command.
func capital(s string) string {
	word, _, _ := strings.Cut(s, " ")
	odd := func(r rune) bool { return r < 'a' || r > 'z' }
	if word == "" || word == "handstamp" || strings.ContainsFunc(word, odd) {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
