package cli

import (
	"path/filepath"
	"strings"
)

// A token source is where a token comes from that another issuer has made out, in one word:
// file:PATH, env:NAME, command:WORD…, gcp, azure or github, of which the last three may have an
// audience after a colon.
const sourceForm = "file:PATH, env:NAME, command:COMMAND, gcp, azure or github"

// absoluteSource returns a token source that another session can use, too.
func absoluteSource(source string) string {
	kind, rest, _ := strings.Cut(source, ":")
	switch kind {
	case "file":
		return "file:" + absolutePath(rest)
	case "command":
		words := strings.Fields(rest)
		if len(words) > 0 && strings.ContainsRune(words[0], filepath.Separator) {
			words[0] = absolutePath(words[0])
			return "command:" + strings.Join(words, " ")
		}
	}
	return source
}
