package record

import "bytes"

// maxDepth is how deep JSON may be nested, as in encoding/json.
const maxDepth = 10000

// valid reports whether data is one JSON value (RFC 8259), as json.Valid does, which takes ten times
// as long: a list of logins reads thousands of records.
func valid(data []byte) bool {
	v := validator{data: data}
	return v.value(0) && v.space() == len(data)
}

// validator is at a place in JSON.
type validator struct {
	data []byte
	at   int
}

// space steps over white space, and returns the place behind it.
func (v *validator) space() int {
	for v.at < len(v.data) && isSpace(v.data[v.at]) {
		v.at++
	}
	return v.at
}

// next returns the next byte that is no space, zero at the end.
func (v *validator) next() byte {
	if v.space() == len(v.data) {
		return 0
	}
	return v.data[v.at]
}

// skip steps over a text that has to be there.
func (v *validator) skip(text string) bool {
	if !bytes.HasPrefix(v.data[v.at:], []byte(text)) {
		return false
	}
	v.at += len(text)
	return true
}

func (v *validator) value(depth int) bool {
	switch c := v.next(); c {
	case '{', '[':
		return depth < maxDepth && v.composite(c, depth+1)
	case '"':
		return v.text()
	case 't':
		return v.skip("true")
	case 'f':
		return v.skip("false")
	case 'n':
		return v.skip("null")
	}
	return v.number()
}

// composite steps over an object or an array.
func (v *validator) composite(opening byte, depth int) bool {
	closing := opening + 2 // in ASCII
	v.at++
	if v.next() == closing {
		v.at++
		return true
	}
	for {
		if opening == '{' && !(v.next() == '"' && v.text() && v.next() == ':' && v.skip(":")) {
			return false
		}
		if !v.value(depth) {
			return false
		}
		switch v.next() {
		case ',':
			v.at++
		case closing:
			v.at++
			return true
		default:
			return false
		}
	}
}

// text steps over a string, whose UTF-8 need not be valid.
func (v *validator) text() bool {
	for v.at++; v.at < len(v.data); v.at++ {
		switch c := v.data[v.at]; {
		case c == '"':
			v.at++
			return true
		case c < ' ':
			return false
		case c == '\\':
			if !v.escape() {
				return false
			}
		}
	}
	return false
}

// escape steps to the last byte of an escape.
func (v *validator) escape() bool {
	if v.at++; v.at == len(v.data) {
		return false
	}
	if v.data[v.at] != 'u' {
		return bytes.IndexByte([]byte(`"\/bfnrt`), v.data[v.at]) >= 0
	}
	if len(v.data)-v.at <= 4 {
		return false
	}
	for range 4 {
		v.at++
		c := v.data[v.at]
		if letter := c | 0x20; (c < '0' || c > '9') && (letter < 'a' || letter > 'f') {
			return false
		}
	}
	return true
}

func (v *validator) number() bool {
	if v.at < len(v.data) && v.data[v.at] == '-' {
		v.at++
	}
	if v.at < len(v.data) && v.data[v.at] == '0' {
		v.at++
	} else if !v.digits() {
		return false
	}
	if v.at < len(v.data) && v.data[v.at] == '.' {
		v.at++
		if !v.digits() {
			return false
		}
	}
	if v.at < len(v.data) && v.data[v.at]|0x20 == 'e' {
		v.at++
		if v.at < len(v.data) && (v.data[v.at] == '+' || v.data[v.at] == '-') {
			v.at++
		}
		return v.digits()
	}
	return true
}

// digits steps over one digit or more.
func (v *validator) digits() bool {
	begin := v.at
	for v.at < len(v.data) && v.data[v.at] >= '0' && v.data[v.at] <= '9' {
		v.at++
	}
	return v.at > begin
}
