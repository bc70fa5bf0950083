// Package pagestyle has the style that all of Handstamp's pages share: the one that a login ends
// at, the local page of the command, and those of the lab.
package pagestyle

import _ "embed"

// Base is a style sheet with the colours, for light and dark, and the elements that all pages
// have. It loads nothing. A page adds what only it has.
//
//go:embed base.css
var Base string
