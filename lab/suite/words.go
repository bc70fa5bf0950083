package suite

import (
	"errors"
	"regexp"
	"strings"
	"sync"
	"unicode"
)

// Words splits a command line as a shell would, as far as blanks and both kinds
// of quotes go; nothing else has a meaning.
func Words(line string) ([]string, error) {
	var (
		words []string
		word  strings.Builder
		open  rune // the quote that is open
		begun bool
	)
	for _, c := range line {
		switch {
		case open != 0 && c == open:
			open = 0
		case open != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			open, begun = c, true
		case c == ' ' || c == '\t' || c == '\n':
			if begun {
				words = append(words, word.String())
				word.Reset()
			}
			begun = false
		default:
			word.WriteRune(c)
			begun = true
		}
	}
	if open != 0 {
		return nil, errors.New("a quote is not closed")
	}
	if begun {
		words = append(words, word.String())
	}
	if len(words) == 0 {
		return nil, errors.New("the command line is empty")
	}
	return words, nil
}

// colours are the escape sequences with which programs colour their output.
var colours = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("\x1b\\[[0-9;?]*[ -/]*[@-~]") })

// printable returns the output of a client without colours and without characters that no report
// could contain.
func printable(text string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\r':
			return -1
		case c == '\n', c == '\t', unicode.IsPrint(c):
			return c
		}
		return unicode.ReplacementChar
	}, colours().ReplaceAllString(text, ""))
}
