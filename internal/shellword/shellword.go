// Package shellword quotes words for a shell, where users paste the commands that programs suggest.
package shellword

import "strings"

// Quote returns a word that means itself in a shell: quoted, unless no shell sees more than letters
// in it.
func Quote(word string) string {
	if word != "" && strings.IndexFunc(word, special) < 0 && !strings.ContainsRune("~=", rune(word[0])) {
		return word
	}
	return Always(word)
}

// Always is Quote for what is to be in quotes in any case.
func Always(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// special reports whether a shell may see more than a letter in a character.
func special(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
		strings.ContainsRune("-_./:@%+,=~", r))
}
