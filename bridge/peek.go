package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/bits"
	"slices"
	"strings"
)

// What is on the wire stays as it is: nothing here builds a value. A message is
// checked and looked at in one pass, to know whose it is and where it goes, and its
// bytes go on untouched (unknown members, the order of keys, numbers that no
// machine type holds). Filter, routing and headers all go by what [parse] finds, so
// that none of them reads a message in another way: names are compared decoded and
// in their exact case, and of several members with one name the last one counts.

// errShape reports that bytes are not the JSON value that was looked for.
var errShape = errors.New("not a JSON value")

// message is one JSON-RPC message, or a batch of them, as it came. What it holds
// are parts of raw.
type message struct {
	raw     []byte
	batch   bool
	id      []byte // nil: none, or null
	method  []byte // the JSON string; nil: none
	params  []byte
	meta    []byte // _meta of params
	target  []byte // name of params: the tool, or the prompt
	result  []byte
	error   []byte // nil: none, or null
	version []byte // jsonrpc

	nullMeta uint8 // of params and result, those whose _meta is null

	twice   string // a member of those above that is there more than once
	similar string // a member of a request that is there in another case
	seen    uint8  // the members that are there, null or not
	lines   bool   // there are line ends between tokens
	mangled bool   // there are bytes that are not UTF-8
	foreign bool   // the server sent it without jsonrpc, or with another version
}

func (m *message) request() bool      { return m.method != nil && m.id != nil }
func (m *message) notification() bool { return m.method != nil && m.id == nil }
func (m *message) response() bool     { return m.method == nil && m.outcome() }
func (m *message) outcome() bool      { return m.result != nil || m.error != nil }

// is reports whether the message has the method, however that is spelt.
func (m *message) is(method string) bool { return isText(m.method, method) }

// name returns the method as text.
func (m *message) name() string { return text(m.method) }

// mark is the byte order mark, which some writers begin with (RFC 8259, section
// 8.1, lets a reader skip it).
var mark = []byte("\xEF\xBB\xBF")

// parse checks a message and looks at it. It allocates only what it returns.
func parse(raw []byte) (*message, error) {
	raw = bytes.TrimPrefix(raw, mark)
	m := &message{raw: raw}
	s := scan{b: raw}
	i := s.space(0)
	var err error
	switch {
	case i < len(raw) && raw[i] == '[':
		m.batch = true
		i, err = s.value(i)
	case i < len(raw) && raw[i] == '{':
		i, err = m.look(&s, i)
	default:
		err = s.fail("it is not an object", i)
	}
	if err != nil {
		return m, err
	}
	if i = s.space(i); i != len(raw) {
		return m, s.fail("something follows the end of the message", i)
	}
	m.lines, m.mangled = s.lines, s.mangled
	return m, nil
}

// nameOfTarget is the value of message.twice for a tool or prompt with two names.
const nameOfTarget = "params.name"

// The members that [parse] knows, as bits of message.seen.
const (
	hasVersion = 1 << iota
	hasID
	hasMethod
	hasParams
	hasResult
	hasError
	hasTarget
)

// memberNames names the members in the order of their bits.
var memberNames = [...]string{"jsonrpc", "id", "method", "params", "result", "error", nameOfTarget}

// look reads the object of a message and notes where its members are.
func (m *message) look(s *scan, i int) (int, error) {
	return s.object(i, func(at, name, from int) (end int, err error) {
		member := spelt(s.b[at:name])
		kept, bit := m.place(member)
		if bit == hasParams {
			m.meta, m.target, m.seen = nil, nil, m.seen&^hasTarget
		}
		m.nullMeta &^= bit
		// Parameters and results are the longest part of a message: they are looked into
		// on the way, and not once more.
		if bit&(hasParams|hasResult) != 0 && from < len(s.b) && s.b[from] == '{' {
			end, err = s.object(from, func(at, name, from int) (int, error) {
				return m.inside(s, bit, at, name, from)
			})
		} else {
			end, err = s.value(from)
		}
		switch {
		case err != nil:
		case kept != nil:
			m.note(kept, bit, s.b[from:end])
		case m.similar == "":
			m.resembles(member, "jsonrpc", "id", "method", "params")
		}
		return end, err
	})
}

// place returns where the value of a member is kept; nil: nowhere.
func (m *message) place(member []byte) (kept *[]byte, bit uint8) {
	switch string(member) {
	case "id":
		return &m.id, hasID
	case "method":
		return &m.method, hasMethod
	case "params":
		return &m.params, hasParams
	case "result":
		return &m.result, hasResult
	case "error":
		return &m.error, hasError
	case "jsonrpc":
		return &m.version, hasVersion
	}
	return nil, 0
}

// inside reads a member of the parameters or the result.
func (m *message) inside(s *scan, of uint8, at, name, from int) (int, error) {
	end, err := s.value(from)
	if err != nil {
		return end, err
	}
	switch member := spelt(s.b[at:name]); {
	case string(member) == "_meta":
		m.nullMeta = m.nullMeta&^of | ifNull(s.b[from:end], of)
		if of == hasParams {
			m.meta = s.b[from:end]
		}
	case of == hasResult:
	case string(member) == "name":
		m.note(&m.target, hasTarget, s.b[from:end])
	case m.similar == "":
		m.resembles(member, "name")
	}
	return end, nil
}

// note keeps the value of a member.
func (m *message) note(kept *[]byte, bit uint8, value []byte) {
	if m.seen&bit != 0 && (m.twice == "" || m.twice == nameOfTarget) {
		m.twice = memberNames[bits.TrailingZeros8(bit)]
	}
	m.seen |= bit
	*kept = value
	switch {
	case bit == hasMethod && value[0] != '"':
		*kept = nil
	case bit&(hasID|hasError) != 0 && string(value) == "null":
		*kept = nil
	}
}

// resembles notes that a member has one of the names but for its case.
func (m *message) resembles(member []byte, names ...string) {
	for _, name := range names {
		if strings.EqualFold(string(member), name) {
			m.similar = name
			return
		}
	}
}

// each calls f with the members of a batch that are objects: there is no batch in
// a batch.
func (m *message) each(f func(*message)) {
	_ = elements(m.raw, func(element []byte) bool {
		if element[0] != '{' {
			return true
		}
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
	for _, name := range path {
		f, n := find(object, name)
		if n == 0 {
			return nil
		}
		object = object[f.from:f.to]
	}
	return object
}

// text returns the text of a JSON string, or "" for everything else.
func text(value []byte) string {
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	return string(spelt(value))
}

// isText reports whether a value is a JSON string with the text.
func isText(value []byte, want string) bool {
	return len(value) >= 2 && value[0] == '"' && string(spelt(value)) == want
}

// spelt returns the text of a JSON string. Where no escape is in it, that is a part
// of the string.
func spelt(quoted []byte) []byte {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return nil
	}
	return []byte(s)
}

// idKey returns a text that is equal for ids that are equal: writers may spell a
// string in several ways. Numbers are compared as they are spelt.
func idKey(id []byte) string {
	if len(id) > 0 && id[0] == '"' {
		return `"` + text(id)
	}
	return string(id)
}

// field is where a member of an object, or an element of an array, stands in its bytes.
type field struct {
	at, name int // the name, with its quotes; of an element, which has none, where it begins
	from, to int // the value
}

// What follows looks into what [parse] has checked, once more and faster.

// members calls f with each member of an object, until f returns false.
func members(object []byte, f func(field) bool) error { return parts(object, '{', f) }

// elements calls f with each element of an array, until f returns false.
func elements(array []byte, f func(element []byte) bool) error {
	return parts(array, '[', func(e field) bool { return f(array[e.from:e.to]) })
}

// parts is members or elements, by the bracket that b begins with.
func parts(b []byte, open byte, f func(field) bool) (err error) {
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != open {
		return errShape
	}
	end := open + 2 // the bracket that closes it, in ASCII
	if i = skipSpace(b, i+1); i < len(b) && b[i] == end {
		return nil
	}
	for {
		part := field{at: i, name: i, from: i}
		if open == '{' {
			if part.name, part.from, err = skipName(b, i); err != nil {
				return err
			}
		}
		if part.to, err = skipValue(b, part.from); err != nil || !f(part) {
			return err
		}
		switch i = skipSpace(b, part.to); {
		case i < len(b) && b[i] == ',':
			i = skipSpace(b, i+1)
		case i < len(b) && b[i] == end:
			return nil
		default:
			return errShape
		}
	}
}

// skipName returns where the name that begins at b[i] ends, and where its value begins.
func skipName(b []byte, i int) (end, from int, err error) {
	if i >= len(b) || b[i] != '"' {
		return i, i, errShape
	}
	if end, err = skipString(b, i); err != nil {
		return end, end, err
	}
	if from = skipSpace(b, end); from >= len(b) || b[from] != ':' {
		return end, from, errShape
	}
	return end, skipSpace(b, from+1), nil
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
	open := 0
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
			open++
		case '}', ']':
			if open--; open == 0 {
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
