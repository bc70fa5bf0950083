package cli

import (
	"bytes"
	"fmt"
	"slices"
)

// escapeJSON writes every unsafe character of encoded JSON as \u escapes, which
// loses nothing: the characters can only be inside strings.
func escapeJSON(b []byte) []byte {
	plain := func(c byte) bool { return c >= ' ' && c < 0x7f || c == '\n' }
	if !slices.ContainsFunc(b, func(c byte) bool { return !plain(c) }) { // nearly always
		return b
	}
	unsafe := func(r rune) bool { return r != '\n' && unsafeRune(r) }
	var out bytes.Buffer
	for _, r := range string(b) {
		switch {
		case !unsafe(r):
			out.WriteRune(r)
		case r > 0xFFFF:
			r -= 0x10000
			fmt.Fprintf(&out, `\u%04x\u%04x`, 0xD800+(r>>10), 0xDC00+(r&0x3FF))
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.Bytes()
}
