// Package prettyjson lays JSON out for people.
package prettyjson

// Indent returns JSON that has no space outside of strings as [encoding/json.Indent] does with two
// spaces. That one checks each byte once more, which takes longer than all the rest.
func Indent(compact []byte) []byte {
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
