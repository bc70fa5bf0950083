// Package pagestyle has the style that all of Handstamp's pages share: the one that a login ends
// at, the local page of the command, and those of the lab.
package pagestyle

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
)

// Base is a style sheet with the colours, for light and dark, and the elements that all pages
// have. It loads nothing. A page adds what only it has.
//
//go:embed base.css
var Base string

// Hash returns the source expression of a Content Security Policy that allows an inline style or
// script with this text.
func Hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
