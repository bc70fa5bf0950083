package oauth

import (
	"slices"
	"strings"
	"unicode"
)

// cleanScope returns the valid scope tokens of a scope (RFC 6749 section 3.3)
// with one space between them. Slack and GitHub separate theirs with commas: in a
// text of several scopes a comma is a separator, although a scope may have one.
func cleanScope(scope string) string {
	return strings.Join(validScopes(strings.FieldsFunc(scope, func(r rune) bool {
		return r == ',' || unicode.IsSpace(r)
	})), " ")
}

// maxScopes bounds the scopes that are read of a list or of a text.
const maxScopes = 1000

// validScopes returns those of the texts that are scope tokens.
func validScopes(texts []string) []string {
	valid := slices.DeleteFunc(slices.Clone(texts), func(text string) bool {
		return text == "" || !isVisible(text) || strings.ContainsAny(text, ` "\`)
	})
	return valid[:min(len(valid), maxScopes)]
}

// Without returns the scopes, or other words, without those to omit. It takes no longer than reading
// them does, as both may be lists of a hostile server.
func Without(words, omit []string) []string {
	const few = 8
	omitted := func(word string) bool { return slices.Contains(omit, word) }
	if len(words) > few && len(omit) > few {
		set := make(map[string]bool, len(omit))
		for _, word := range omit {
			set[word] = true
		}
		omitted = func(word string) bool { return set[word] }
	}
	return slices.DeleteFunc(slices.Clone(words), omitted)
}
