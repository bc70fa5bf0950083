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

// validScopes returns those of the texts that are scope tokens.
func validScopes(texts []string) []string {
	return slices.DeleteFunc(slices.Clone(texts), func(text string) bool {
		return text == "" || !isVisible(text) || strings.ContainsAny(text, ` "\`)
	})
}

// Without returns the scopes, or other words, without those to omit.
func Without(words, omit []string) []string {
	return slices.DeleteFunc(slices.Clone(words), func(word string) bool { return slices.Contains(omit, word) })
}
