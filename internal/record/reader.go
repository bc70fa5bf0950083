package record

import "bytes"

// maxDepth is how deep JSON may be nested, as in encoding/json.
const maxDepth = 10000

// valid reports whether data is one JSON value (RFC 8259), as json.Valid does.
func valid(data []byte) bool {
	r := jsonReader{data: data}
	r.value()
	return r.ended()
}

// jsonReader steps through JSON, and checks on the way that it is JSON. encoding/json would look at
// what is in a value once more at each level, and takes several times as long: a list of logins
// reads thousands of records.
type jsonReader struct {
	data  []byte
	at    int
	depth int
	bad   bool // it is no JSON: what was read means nothing, and there is nothing more
}

// fail ends the reading of what is no JSON.
func (r *jsonReader) fail() { r.at, r.bad = len(r.data), true }

// ended reports whether the data was JSON to its end.
func (r *jsonReader) ended() bool { return r.next() == 0 && r.at == len(r.data) && !r.bad }

// next returns the next byte that is no space, zero at the end.
func (r *jsonReader) next() byte {
	for ; r.at < len(r.data); r.at++ {
		if c := r.data[r.at]; !isSpace(c) {
			return c
		}
	}
	return 0
}

// enter steps into an object or an array, if this is one.
func (r *jsonReader) enter(opening byte) bool {
	if r.next() != opening {
		return false
	}
	r.at++
	if r.depth++; r.depth > maxDepth {
		r.fail()
	}
	return true
}

// more reports whether another member or element comes before the closing bracket, and steps over
// that or over the comma, which comes before all members but the first.
func (r *jsonReader) more(closing byte, first bool) bool {
	switch c := r.next(); {
	case c == closing:
		r.at++
		r.depth--
		return false
	case first && c != 0:
		return true
	case c == ',':
		r.at++
		return true
	}
	r.fail()
	return false
}

// name returns the name of the next member, with its quotes and escapes.
func (r *jsonReader) name() []byte {
	if r.next() != '"' {
		r.fail()
		return []byte(`""`)
	}
	name := r.value()
	if r.next() == ':' {
		r.at++
		return name
	}
	r.fail()
	return []byte(`""`)
}

// value returns the next value, which shares the bytes of the data; null, if there is none.
func (r *jsonReader) value() []byte {
	c := r.next()
	begin := r.at
	switch c {
	case '{', '[':
		r.composite(c)
	case '"':
		r.text()
	case 't':
		r.literal("true")
	case 'f':
		r.literal("false")
	case 'n':
		r.literal("null")
	default:
		r.number()
	}
	if r.bad {
		return []byte("null")
	}
	return r.data[begin:r.at:r.at]
}

// null steps over null, if that is the next value.
func (r *jsonReader) null() bool {
	if r.next() != 'n' {
		return false
	}
	r.literal("null")
	return true
}

// composite steps over an object or an array.
func (r *jsonReader) composite(opening byte) {
	r.enter(opening)
	for first := true; r.more(opening+2, first); first = false { // which closes, in ASCII
		if opening == '{' {
			r.name()
		}
		r.value()
	}
}

// literal steps over a text that has to be there.
func (r *jsonReader) literal(text string) {
	if !bytes.HasPrefix(r.data[r.at:], []byte(text)) {
		r.fail()
		return
	}
	r.at += len(text)
}

// text steps over a string, whose UTF-8 need not be valid.
func (r *jsonReader) text() {
	for r.at++; r.at < len(r.data); {
		rest := r.data[r.at:]
		n := 0
		for n < len(rest) && plainInText[rest[n]] {
			n++
		}
		r.at += n
		switch {
		case n == len(rest) || rest[n] < ' ':
			r.fail()
		case rest[n] == '"':
			r.at++
			return
		default:
			r.escape()
		}
	}
	r.fail()
}

// plainInText has the bytes that are only themselves in a string: all but the control characters,
// the quote and the backslash.
var plainInText = func() (plain [256]bool) {
	for c := range plain {
		plain[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return plain
}()

// escape steps over a backslash and what it stands before.
func (r *jsonReader) escape() {
	rest := r.data[r.at+1:]
	switch {
	case len(rest) > 4 && rest[0] == 'u' && isHex(rest[1]) && isHex(rest[2]) && isHex(rest[3]) && isHex(rest[4]):
		r.at += len(`\u1234`)
	case len(rest) > 0 && bytes.IndexByte([]byte(`"\/bfnrt`), rest[0]) >= 0:
		r.at += len(`\n`)
	default:
		r.fail()
	}
}

func (r *jsonReader) number() {
	r.step('-', '-')
	if !r.step('0', '0') {
		r.digits()
	}
	if r.step('.', '.') {
		r.digits()
	}
	if r.step('e', 'E') {
		r.step('+', '-')
		r.digits()
	}
}

// digits steps over one digit or more.
func (r *jsonReader) digits() {
	begin := r.at
	for r.at < len(r.data) && r.data[r.at] >= '0' && r.data[r.at] <= '9' {
		r.at++
	}
	if r.at == begin {
		r.fail()
	}
}

// step steps over a byte that is one of two, if it is there.
func (r *jsonReader) step(one, other byte) bool {
	if r.at == len(r.data) || r.data[r.at] != one && r.data[r.at] != other {
		return false
	}
	r.at++
	return true
}

func isHex(c byte) bool {
	letter := c | 0x20
	return c >= '0' && c <= '9' || letter >= 'a' && letter <= 'f'
}

func isSpace(c byte) bool { return c <= ' ' && (c == ' ' || c == '\n' || c == '\r' || c == '\t') }
