package record

// jsonScanner cuts JSON that is known to be valid into its parts, which share its bytes. The parts
// of a record are looked at one level at a time, and encoding/json would check and copy all that
// is in them at each level.
type jsonScanner struct {
	rest []byte
}

// enter steps into an object or an array, if this is one.
func (s *jsonScanner) enter(opening byte) bool {
	s.skipSpace()
	if s.rest[0] != opening {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// more reports whether another member or element comes before the closing bracket.
func (s *jsonScanner) more(closing byte) bool {
	s.skipSpace()
	if s.rest[0] == ',' {
		s.rest = s.rest[1:]
		s.skipSpace()
	}
	return s.rest[0] != closing
}

// member returns the next member of an object.
func (s *jsonScanner) member() (name string, value []byte) {
	name, _ = decodeString(s.value())
	s.skipSpace()
	s.rest = s.rest[1:] // the colon
	return name, s.value()
}

// value returns the next value.
func (s *jsonScanner) value() []byte {
	s.skipSpace()
	n := 0
	switch s.rest[0] {
	case '"':
		n = stringLength(s.rest)
	case '{', '[':
		n = compositeLength(s.rest)
	default:
		for n < len(s.rest) && !endsLiteral(s.rest[n]) {
			n++
		}
	}
	value := s.rest[:n:n]
	s.rest = s.rest[n:]
	return value
}

func (s *jsonScanner) skipSpace() {
	for isSpace(s.rest[0]) {
		s.rest = s.rest[1:]
	}
}

// stringLength returns the length of the string at the begin of data, with its quotes.
func stringLength(data []byte) int {
	for i := 1; ; i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

// compositeLength returns the length of the object or array at the begin of data.
func compositeLength(data []byte) int {
	depth := 0
	for i := 0; ; i++ {
		switch data[i] {
		case '"':
			i += stringLength(data[i:]) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
}

func endsLiteral(c byte) bool { return c == ',' || c == '}' || c == ']' || isSpace(c) }

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }
