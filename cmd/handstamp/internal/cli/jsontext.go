package cli

import (
	"bytes"
	"fmt"
)

// indentJSON returns encoded JSON, which has no space outside strings, as json.Indent with two spaces
// does. That checks each byte a second time, which for a long list takes longer than all the rest.
func indentJSON(compact []byte) []byte {
	out := make([]byte, 0, len(compact)*3/2)
	depth := 0
	startLine := func() {
		out = append(out, '\n')
		for range depth {
			out = append(out, "  "...)
		}
	}
	for i := 0; i < len(compact); i++ {
		switch c := compact[i]; c {
		case '"':
			end := i + 1
			for compact[end] != '"' {
				if compact[end] == '\\' {
					end++
				}
				end++
			}
			out = append(out, compact[i:end+1]...)
			i = end
		case '{', '[':
			out = append(out, c)
			if next := compact[i+1]; next == '}' || next == ']' {
				out = append(out, next)
				i++
				continue
			}
			depth++
			startLine()
		case '}', ']':
			depth--
			startLine()
			out = append(out, c)
		case ',':
			out = append(out, c)
			startLine()
		case ':':
			out = append(out, ": "...)
		default:
			out = append(out, c)
		}
	}
	return out
}

// escapeJSON writes every unsafe character of encoded JSON as \u escapes, which
// loses nothing: the characters can only be inside strings.
func escapeJSON(b []byte) []byte {
	unsafe := func(r rune) bool { return r != '\n' && unsafeRune(r) }
	if bytes.IndexFunc(b, unsafe) < 0 { // nearly always
		return b
	}
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
