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
	if texts == nil {
		return nil
	}
	valid := make([]string, 0, len(texts))
	for _, t := range texts {
		if isScopeToken(t) {
			valid = append(valid, t)
		}
	}
	return valid
}

func isScopeToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

// OmitScopes returns the scopes without those to omit.
func OmitScopes(scopes, omit []string) []string {
	return slices.DeleteFunc(slices.Clone(scopes), func(scope string) bool { return slices.Contains(omit, scope) })
}
