package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
)

// What is on the wire stays as it is: nothing here builds a value. A message is
// looked at to know whose it is and where it goes, and its bytes go on untouched
// (unknown members, the order of keys, numbers that no machine type holds).

// errShape says that bytes are no JSON value, as far as was looked.
var errShape = errors.New("not a JSON value")

// message is one JSON-RPC message, or a batch of them, as it came. What it holds
// are parts of raw.
type message struct {
	raw    []byte
	batch  bool
	id     []byte // nil: none, or null
	method []byte // the JSON string; nil: none
	params []byte
	meta   []byte // _meta of params
	target []byte // name of params: the tool, or the prompt
	result []byte
	error  []byte
}

func (m *message) request() bool      { return m.method != nil && m.id != nil }
func (m *message) notification() bool { return m.method != nil && m.id == nil }
func (m *message) response() bool     { return m.method == nil && (m.result != nil || m.error != nil) }

// is reports whether the message has the method, which has no characters that
// JSON escapes.
func (m *message) is(method string) bool {
	if n := len(m.method); n != len(method)+2 || string(m.method[1:n-1]) != method {
		return false
	}
	return true
}

// name returns the method as text.
func (m *message) name() string { return text(m.method) }

// parse looks at a message. It finds what holds it together; the values inside
// are the receiver's to judge.
func parse(raw []byte) (*message, error) {
	m := &message{raw: raw}
	i := skipSpace(raw, 0)
	if i < len(raw) && raw[i] == '[' {
		m.batch = true
		end, err := skipValue(raw, i)
		if err == nil && skipSpace(raw, end) != len(raw) {
			err = errShape
		}
		return m, err
	}
	inside := func(f field) bool {
		switch string(raw[f.at:f.name]) {
		case `"_meta"`:
			m.meta = raw[f.from:f.to]
		case `"name"`:
			m.target = raw[f.from:f.to]
		}
		return true
	}
	// Parameters are the longest part of what a host sends: they are looked into
	// on the way, and not once more.
	enter := func(f field) func(field) bool {
		if string(raw[f.at:f.name]) == `"params"` {
			m.meta, m.target = nil, nil
			return inside
		}
		return nil
	}
	end, err := walk(raw, i, enter, func(f field) bool {
		value := raw[f.from:f.to]
		switch string(raw[f.at:f.name]) {
		case `"id"`:
			if m.id = value; string(value) == "null" {
				m.id = nil
			}
		case `"method"`:
			if m.method = value; value[0] != '"' {
				m.method = nil
			}
		case `"params"`:
			m.params = value
		case `"result"`:
			m.result = value
		case `"error"`:
			if m.error = value; string(value) == "null" {
				m.error = nil
			}
		}
		return true
	})
	if err == nil && skipSpace(raw, end) != len(raw) {
		err = errShape
	}
	return m, err
}

// each calls f with the members of a batch.
func (m *message) each(f func(*message)) {
	_ = elements(m.raw, func(element []byte) bool {
		// A part is written out with a line end: not over its neighbour.
		if part, err := parse(slices.Clip(element)); err == nil {
			f(part)
		}
		return true
	})
}

// member returns the value of an object's member, or nil. Of several with one
// name it is the last, as most readers have it.
func member(object []byte, path ...string) []byte {
	for _, want := range path {
		var found []byte
		quoted := strconv.Quote(want)
		if _, err := members(object, skipSpace(object, 0), func(f field) bool {
			if string(object[f.at:f.name]) == quoted {
				found = object[f.from:f.to]
			}
			return true
		}); err != nil || found == nil {
			return nil
		}
		object = found
	}
	return object
}

// text returns the text of a JSON string, or "" for everything else.
func text(value []byte) string {
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	if inner := value[1 : len(value)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	var s string
	if json.Unmarshal(value, &s) != nil {
		return ""
	}
	return s
}

// idKey returns a text that is equal for ids that are equal: writers may spell a
// string in several ways. Numbers are compared as they are spelt.
func idKey(id []byte) string {
	if len(id) > 0 && id[0] == '"' {
		return `"` + text(id)
	}
	return string(id)
}

// field is where a member of an object stands in its bytes.
type field struct {
	at, name int // the name, with its quotes
	from, to int // the value
}

// members calls f with each member of the object that begins at b[i], until f
// returns false, and returns where the object ends.
func members(b []byte, i int, f func(field) bool) (end int, err error) {
	return walk(b, i, nil, f)
}

// walk is members, and calls what enter returns for a member, if that is an
// object, with the members of that.
func walk(b []byte, i int, enter func(field) func(field) bool, f func(field) bool) (end int, err error) {
	if i >= len(b) || b[i] != '{' {
		return i, errShape
	}
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1, nil
	}
	for {
		m := field{at: i}
		if i >= len(b) || b[i] != '"' {
			return i, errShape
		}
		if i, err = skipString(b, i); err != nil {
			return i, err
		}
		m.name = i
		if i = skipSpace(b, i); i >= len(b) || b[i] != ':' {
			return i, errShape
		}
		i = skipSpace(b, i+1)
		m.from = i
		var inside func(field) bool
		if enter != nil && i < len(b) && b[i] == '{' {
			inside = enter(m)
		}
		if inside != nil {
			i, err = walk(b, i, nil, inside)
		} else {
			i, err = skipValue(b, i)
		}
		if err != nil {
			return i, err
		}
		m.to = i
		if !f(m) {
			return i, nil
		}
		i = skipSpace(b, i)
		switch {
		case i < len(b) && b[i] == ',':
			i = skipSpace(b, i+1)
		case i < len(b) && b[i] == '}':
			return i + 1, nil
		default:
			return i, errShape
		}
	}
}

// elements calls f with each element of an array, until f returns false.
func elements(b []byte, f func(element []byte) bool) error {
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != '[' {
		return errShape
	}
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == ']' {
		return nil
	}
	for {
		start, err := i, error(nil)
		if i, err = skipValue(b, i); err != nil {
			return err
		}
		if !f(b[start:i]) {
			return nil
		}
		i = skipSpace(b, i)
		switch {
		case i < len(b) && b[i] == ',':
			i = skipSpace(b, i+1)
		case i < len(b) && b[i] == ']':
			return nil
		default:
			return errShape
		}
	}
}

// skipValue returns where the value that begins at b[i] ends. Strings and
// brackets are followed, what is between them is not looked at.
func skipValue(b []byte, i int) (int, error) {
	if i >= len(b) {
		return i, errShape
	}
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		return skipNested(b, i)
	}
	start := i
	for i < len(b) && !delimiter(b[i]) {
		i++
	}
	if i == start {
		return i, errShape
	}
	return i, nil
}

// skipNested returns where the object or array that begins at b[i] ends.
func skipNested(b []byte, i int) (int, error) {
	var open []byte
	for i < len(b) {
		switch b[i] {
		case '"':
			end, err := skipString(b, i)
			if err != nil {
				return end, err
			}
			i = end
			continue
		case '{', '[':
			open = append(open, b[i]+2) // the bracket that closes it, in ASCII
		case '}', ']':
			if open[len(open)-1] != b[i] {
				return i, errShape
			}
			if open = open[:len(open)-1]; len(open) == 0 {
				return i + 1, nil
			}
		}
		i++
	}
	return i, errShape
}

// skipString returns where the string that begins at b[i] ends.
func skipString(b []byte, i int) (int, error) {
	for i++; ; {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return len(b), errShape
		}
		escapes := 0
		for escapes < n && b[i+n-1-escapes] == '\\' {
			escapes++
		}
		if i += n + 1; escapes%2 == 0 {
			return i, nil
		}
	}
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && space(b[i]) {
		i++
	}
	return i
}

func space(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

func delimiter(c byte) bool {
	return space(c) || c == ',' || c == ':' || c == '}' || c == ']' || c == '{' || c == '[' || c == '"'
}

// oneLine makes one line of a JSON value. Line ends can only stand between its
// tokens, where a space means the same. It works in place.
func oneLine(b []byte) []byte {
	for _, end := range []byte{'\n', '\r'} {
		for i := 0; ; i++ {
			n := bytes.IndexByte(b[i:], end)
			if n < 0 {
				break
			}
			i += n
			b[i] = ' '
		}
	}
	return bytes.Trim(b, " \t")
}
