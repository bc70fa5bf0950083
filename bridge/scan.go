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

// longString is from when on a string is read in blocks: most are much shorter, and would not fill one.
const longString = 64

// str returns where the string that begins at b[i] ends.
func (s *scan) str(i int) (int, error) {
	b := s.b
	i++
	for begin := i; ; {
		if i-begin >= longString && len(b)-i > block {
			end, ended, err := s.blocks(i)
			if ended || err != nil {
				return end, err
			}
			i = end
		}
		i += plain(b[i:])
		if i >= len(b) {
			return i, s.fail("", len(b))
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, nil
		case c == '\\' && i+1 < len(b) && shortEscapes[b[i+1]]:
			i += 2
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

// block is how many bytes of a long string are looked at together.
const block = 64

// blocks goes on within a string, at b[i], block by block. It returns where the string ends, or where
// there is no whole block left.
func (s *scan) blocks(i int) (end int, ended bool, err error) {
	b := s.b
	for len(b)-i > block { // of which the last byte may begin an escape
		next := i + block
		for found := specialIn(b[i:next]); found != 0; {
			at := i + bits.TrailingZeros64(found)
			after := at + 1
			switch c := b[at]; {
			case c == '"':
				return after, true, nil
			case c == '\\' && shortEscapes[b[after]]:
				after++
			case c == '\\':
				n := escape(b[at:])
				if n == 0 {
					return at, false, s.fail("a string has an invalid escape", at)
				}
				after = at + n
			case c < ' ':
				return at, false, s.fail("a string has a raw control character", at)
			case c >= utf8.RuneSelf:
				after = s.runes(at)
			}
			if after >= next {
				next = after
				break
			}
			found &= ^uint64(0) << (after - i)
		}
		i = next
	}
	return i, false, nil
}

// specialIn returns a bit for each byte of a block that may be more than itself in a string. Each is
// to be looked at.
func specialIn(b []byte) (found uint64) {
	_ = b[block-1]
	for at := 0; at < block; at += 8 {
		// A bit of each byte moves to the highest byte, in their order.
		found |= special(binary.LittleEndian.Uint64(b[at:])) >> 7 * 0x0102040810204080 >> 56 << at
	}
	return found
}

// special returns the highest bit of each byte that is a control character, a quote, a backslash or not
// ASCII, and may be that of an ASCII character that follows one of these.
func special(w uint64) uint64 {
	const (
		low  = 0x0101010101010101
		high = 0x8080808080808080
	)
	// Control characters and a quote are below '!' when their second bit is turned.
	return (w | ((w ^ '\\'*low) - low) | ((w ^ 2*low) - '!'*low)) & high
}

// plain returns how many ASCII characters b begins with that are nothing but themselves in a string,
// or a little less: it looks at eight at a time.
func plain(b []byte) int {
	n := 0
	for ; len(b) >= 8; b = b[8:] {
		if found := special(binary.LittleEndian.Uint64(b)); found != 0 {
			return n + bits.TrailingZeros64(found)/8
		}
		n += 8
	}
	return n
}

// shortEscapes has the characters that make an escape with the backslash before them.
var shortEscapes = [256]bool{
	'"': true, '\\': true, '/': true, 'b': true, 'f': true, 'n': true, 'r': true, 't': true,
}

// escape returns the length of the escape that b begins with; zero: it is none.
func escape(b []byte) int {
	switch {
	case len(b) < 2:
		return 0
	case shortEscapes[b[1]]:
		return 2
	case b[1] != 'u' || len(b) < 6:
		return 0
	}
	for _, c := range b[2:6] {
		if l := c | 0x20; (c < '0' || c > '9') && (l < 'a' || l > 'f') {
			return 0
		}
	}
	return 6
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
