package mcpremote

import "bytes"

// plainJSON makes JSON of what users keep in such files: comments, and commas
// after the last element, become spaces.
func plainJSON(text []byte) []byte {
	out := bytes.Clone(text)
	blank(out, 0, len(out)-len(bytes.TrimPrefix(out, []byte("\xef\xbb\xbf"))))
	comma := -1 // the last one, with nothing but space behind it
	for i := 0; i < len(out); i++ {
		switch out[i] {
		case '"':
			comma, i = -1, endOfString(out, i)
		case '/':
			end := endOfComment(out, i)
			if end == i {
				comma = -1
				continue
			}
			blank(out, i, end)
			i = end - 1
		case ',':
			comma = i
		case '}', ']':
			if comma >= 0 {
				out[comma] = ' '
			}
			comma = -1
		case ' ', '\t', '\n', '\r':
		default:
			comma = -1
		}
	}
	return out
}

// blank writes spaces over a part of a text.
func blank(text []byte, from, to int) {
	for i := from; i < to; i++ {
		text[i] = ' '
	}
}

// endOfString returns the index of the quote that ends the string which begins at i.
func endOfString(text []byte, i int) int {
	for i++; i < len(text) && text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i
}

// endOfComment returns the index behind the comment that begins at i; i if there is none.
func endOfComment(text []byte, i int) int {
	var end string
	switch rest := text[i:]; {
	case bytes.HasPrefix(rest, []byte("//")):
		end = "\n"
	case bytes.HasPrefix(rest, []byte("/*")):
		end = "*/"
	default:
		return i
	}
	n := bytes.Index(text[i+2:], []byte(end))
	switch {
	case n < 0:
		return len(text)
	case end == "\n":
		return i + 2 + n
	}
	return i + 2 + n + len(end)
}
