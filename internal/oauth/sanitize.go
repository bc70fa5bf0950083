package oauth

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText bounds a sanitized text, and maxLine a line that is made of several, in bytes.
const (
	maxText = 256
	maxLine = 2000
)

// Sanitize returns a remote text in a form that is safe in a terminal or a log: one line of at most
// 256 bytes, without control characters, terminal sequences, invalid UTF-8 or characters that
// reorder or hide their neighbours.
func Sanitize(s string) string { return sanitize(s, maxText) }

// SanitizeLine is [Sanitize] for a line that is made of several texts: it has at most 2000 bytes.
func SanitizeLine(s string) string { return sanitize(s, maxLine) }

func sanitize(s string, longest int) string {
	var b strings.Builder
	space := false // a run of spaces and removed characters is one space, and none at the ends
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == '\x1b' || r == '\u009b' {
			i += terminalSequence(s[i:])
			continue
		}
		i += size
		if (r == utf8.RuneError && size == 1) || !visible(r) {
			space = space || b.Len() > 0
			continue
		}
		need := utf8.RuneLen(r)
		if space {
			need++
		}
		if b.Len()+need > longest-len("…") {
			b.WriteString("…")
			break
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
	}
	return b.String()
}

// visible reports whether r has a glyph. Format characters (Cf: bidi controls, zero-width
// characters, tags) and separators have none.
func visible(r rune) bool {
	return unicode.IsGraphic(r) && !unicode.IsSpace(r)
}

// terminalSequence returns the length of the ECMA-48 sequence that s begins
// with: a CSI to its final byte, a string (OSC, DCS and their like) to its
// terminator, or ESC and one byte.
func terminalSequence(s string) int {
	_, intro := utf8.DecodeRuneInString(s)
	if s[0] == '\x1b' {
		if len(s) == 1 {
			return 1
		}
		intro = 2
		switch s[1] {
		case '[': // a CSI
		case ']', 'P', 'X', '^', '_':
			for i := 2; i < len(s); i++ {
				if s[i] == '\a' {
					return i + 1
				}
				if s[i] == '\x1b' {
					return i // the terminator is ESC and a byte, a sequence of its own
				}
			}
			return len(s)
		default:
			if s[1] >= utf8.RuneSelf {
				return 1
			}
			return 2
		}
	}
	for i := intro; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 0x40 && c <= 0x7e:
			return i + 1
		case c < 0x20 || c > 0x7e:
			return i
		}
	}
	return len(s)
}
