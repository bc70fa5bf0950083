package bridge

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf8"
)

// maxDepth bounds how deeply a message may be nested: as deep as encoding/json
// reads, and deeper than most hosts do.
const maxDepth = 10_000

// syntaxError describes why bytes are not the JSON of a message. It repeats none
// of them.
type syntaxError struct {
	what string
	at   int // the offset in bytes
}

// Error returns what is wrong, and where.
func (e *syntaxError) Error() string { return e.what + " at byte " + strconv.Itoa(e.at) }

// scan checks in one pass that bytes are JSON (RFC 8259). It allocates nothing
// unless they are not.
type scan struct {
	b       []byte
	lines   bool // there are line ends between tokens
	mangled bool // there are bytes in strings that are not UTF-8

	named int // where the last name ended
	level int
	open  [maxDepth/64 + 1]uint64 // by level: whether it is an object
}

func (s *scan) fail(what string, at int) error {
	if at >= len(s.b) {
		what = "it is cut off"
	}
	return &syntaxError{what, at}
}

// space returns where the white space at b[i] ends.
func (s *scan) space(i int) int {
	for i < len(s.b) && s.b[i] <= ' ' {
		switch s.b[i] {
		case ' ', '\t':
		case '\n', '\r':
			s.lines = true
		default:
			return i
		}
		i++
	}
	return i
}

// value returns where the value at b[i] ends.
func (s *scan) value(i int) (int, error) {
	base := s.level
	for {
		var err error
		opened := s.level
		if i, err = s.begin(i); err != nil {
			return i, err
		}
		if s.level > opened {
			continue // its first element
		}
		more := false
		for s.level > base && !more {
			if i, more, err = s.next(i); err != nil {
				return i, err
			}
		}
		if !more {
			return i, nil
		}
	}
}

// object returns where the object at b[i] ends. It calls f with where each member's
// name begins and ends and where its value begins, and f reads that.
func (s *scan) object(i int, f func(at, name, from int) (end int, err error)) (int, error) {
	if err := s.push(i); err != nil {
		return i, err
	}
	i = s.space(i + 1)
	if i < len(s.b) && s.b[i] == '}' {
		s.level--
		return i + 1, nil
	}
	at := i
	i, err := s.name(i)
	for more := true; more && err == nil; {
		if i, err = f(at, s.named, i); err != nil {
			break
		}
		if i = s.space(i); i < len(s.b) && s.b[i] == ',' {
			at = s.space(i + 1)
		}
		i, more, err = s.next(i)
	}
	return i, err
}

// begin reads a value that is not nested, or the begin of one that is, up to its
// first element's value.
func (s *scan) begin(i int) (int, error) {
	if i >= len(s.b) {
		return i, s.fail("", i)
	}
	switch c := s.b[i]; c {
	case '"':
		return s.str(i)
	case '{', '[':
		if err := s.push(i); err != nil {
			return i, err
		}
		i = s.space(i + 1)
		switch {
		case i < len(s.b) && s.b[i] == c+2: // the bracket that closes it, in ASCII
			s.level--
			return i + 1, nil
		case c == '{':
			return s.name(i)
		}
		return i, nil
	case 't':
		return s.literal(i, "true")
	case 'f':
		return s.literal(i, "false")
	case 'n':
		return s.literal(i, "null")
	}
	return s.number(i)
}

// push goes one level down, into what b[i] opens.
func (s *scan) push(i int) error {
	if s.level >= maxDepth {
		return s.fail("it is nested more than "+strconv.Itoa(maxDepth)+" levels deep", i)
	}
	if bit := uint64(1) << (s.level % 64); s.b[i] == '{' {
		s.open[s.level/64] |= bit
	} else {
		s.open[s.level/64] &^= bit
	}
	s.level++
	return nil
}

// next goes on behind an element: to the value of the next one, or out of what
// ends here.
func (s *scan) next(i int) (at int, more bool, err error) {
	i = s.space(i)
	object := s.open[(s.level-1)/64]>>((s.level-1)%64)&1 == 1
	var c byte
	if i < len(s.b) {
		c = s.b[i]
	}
	switch {
	case c == ',' && object:
		i, err = s.name(s.space(i + 1))
		return i, true, err
	case c == ',':
		return s.space(i + 1), true, nil
	case c == '}' && object, c == ']' && !object:
		s.level--
		return i + 1, false, nil
	}
	return i, false, s.fail("a comma or the end of an array or object is missing", i)
}

// name returns where the value begins whose name is at b[i].
func (s *scan) name(i int) (int, error) {
	if i >= len(s.b) || s.b[i] != '"' {
		return i, s.fail("a member's name is missing", i)
	}
	i, err := s.str(i)
	if err != nil {
		return i, err
	}
	s.named = i
	if i = s.space(i); i >= len(s.b) || s.b[i] != ':' {
		return i, s.fail("a colon is missing", i)
	}
	return s.space(i + 1), nil
}

// literal returns where a word of JSON's ends.
func (s *scan) literal(i int, word string) (int, error) {
	if end := i + len(word); end <= len(s.b) && string(s.b[i:end]) == word {
		return end, nil
	}
	return i, s.fail("that is not a JSON value", i)
}

// number returns where the number at b[i] ends.
func (s *scan) number(i int) (int, error) {
	at := i
	if s.b[i] == '-' {
		i++
	}
	end := s.digits(i)
	if end == i || s.b[i] == '0' && end > i+1 {
		return i, s.fail("that is not a JSON value", at)
	}
	if i = end; i < len(s.b) && s.b[i] == '.' {
		if end = s.digits(i + 1); end == i+1 {
			return i, s.fail("a number is malformed", at)
		}
		i = end
	}
	if i < len(s.b) && s.b[i]|0x20 == 'e' {
		if i++; i < len(s.b) && (s.b[i] == '+' || s.b[i] == '-') {
			i++
		}
		if end = s.digits(i); end == i {
			return i, s.fail("a number is malformed", at)
		}
		i = end
	}
	return i, nil
}

func (s *scan) digits(i int) int {
	for i < len(s.b) && s.b[i]-'0' <= 9 {
		i++
	}
	return i
}

// str returns where the string that begins at b[i] ends.
func (s *scan) str(i int) (int, error) {
	b := s.b
	i++
	for {
		i = plain(b, i)
		if i >= len(b) {
			return i, s.fail("", len(b))
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, nil
		case c == '\\':
			n := escape(b[i:])
			if n == 0 {
				return i, s.fail("a string has an invalid escape", i)
			}
			i += n
		case c < ' ':
			return i, s.fail("a string has a raw control character", i)
		case c < utf8.RuneSelf:
			i++
		default:
			i = s.runes(i)
		}
	}
}

// plain returns where the ASCII characters end that are nothing but themselves in
// a string, or a little before: it looks at eight at a time.
func plain(b []byte, i int) int {
	const (
		low  = 0x0101010101010101
		high = 0x8080808080808080
	)
	for i+8 <= len(b) {
		w := binary.LittleEndian.Uint64(b[i:])
		// The lowest bit that is set belongs to the first byte that is a control
		// character, a quote, a backslash or not ASCII.
		special := (w | (w - ' '*low) | ((w ^ '"'*low) - low) | ((w ^ '\\'*low) - low)) & high
		if special != 0 {
			return i + bits.TrailingZeros64(special)/8
		}
		i += 8
	}
	return i
}

// escape returns the length of the escape that b begins with; zero: it is none.
func escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		for _, c := range b[2:6] {
			if l := c | 0x20; (c < '0' || c > '9') && (l < 'a' || l > 'f') {
				return 0
			}
		}
		return 6
	}
	return 0
}

// runes returns where the characters beyond ASCII at b[i] end.
func (s *scan) runes(i int) int {
	for i < len(s.b) && s.b[i] >= utf8.RuneSelf {
		// Most of them have three bytes, and could be no surrogates.
		if c := s.b[i]; c > 0xE0 && c < 0xED && i+2 < len(s.b) &&
			s.b[i+1]&0xC0 == 0x80 && s.b[i+2]&0xC0 == 0x80 {
			i += 3
			continue
		}
		r, n := utf8.DecodeRune(s.b[i:])
		if r == utf8.RuneError && n == 1 {
			s.mangled = true
		}
		i += n
	}
	return i
}
