package mcpremote

import (
	"bytes"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/internal/lazyregexp"
)

// program is the word of a command line that starts mcp-remote: its name, its
// package, or its file.
var program = lazyregexp.New(`(?:^|[/\\])mcp-remote` +
	`(?:(?:-client)?(?:@[^/\\\s]*|\.cmd)?|[/\\]dist[/\\](?:proxy|client)\.js)$`)

// successor is the word that starts Handstamp, whose bridge takes the arguments of
// mcp-remote: a list of servers may have been edited before anything is imported.
var successor = lazyregexp.New(`(?:^|[/\\])handstamp(?:\.exe)?$`)

// Mentioned reports whether a text may hold a command line that Commands reads.
func Mentioned(text []byte) bool {
	return bytes.Contains(text, []byte("mcp-remote")) || bytes.Contains(text, []byte("handstamp"))
}

// arguments returns what comes after mcp-remote in a command line, and whether it
// or its successor is started there at all.
func arguments(words []string) ([]string, bool) {
	for i := len(words) - 1; i >= 0; i-- {
		if program.Get().MatchString(words[i]) {
			return words[i+1:], true
		}
		if rest := words[i+1:]; successor.Get().MatchString(words[i]) && len(rest) > 1 &&
			rest[0] == "bridge" {
			args := slices.Clone(rest[1:])
			if !strings.Contains(args[0], "://") { // optional there, and not for mcp-remote
				args[0] = "https://" + args[0]
			}
			return args, true
		}
	}
	// A command line in one word, for a shell.
	for _, word := range words {
		if Mentioned([]byte(word)) && strings.ContainsAny(word, " \t") && len(word) < 1<<16 {
			if args, ok := arguments(split(word)); ok {
				return args, true
			}
		}
	}
	return nil, false
}

// split splits a line as a shell does, as far as quotes go.
func split(line string) []string {
	var words []string
	var word strings.Builder
	var quoted rune
	inside := false
	for _, r := range line {
		switch {
		case quoted != 0 && r == quoted:
			quoted = 0
		case quoted == 0 && (r == '\'' || r == '"'):
			quoted, inside = r, true
		case quoted == 0 && strings.ContainsRune(" \t\n", r):
			if inside {
				words = append(words, word.String())
			}
			word.Reset()
			inside = false
		default:
			word.WriteRune(r)
			inside = true
		}
	}
	if inside {
		words = append(words, word.String())
	}
	return words
}
