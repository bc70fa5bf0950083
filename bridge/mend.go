package bridge

import (
	"bytes"
	"errors"
	"unicode/utf8"
)

// What a server sends that is not valid reaches no host: some lose their session
// over one wrong byte, others wait for a response that they cannot read. What has one
// meaning only is corrected, everything else is an error (docs/decisions/0069).

// readMessage reads a message of the server, which it may change in place. The result is
// valid JSON-RPC in one line, but for the parts of a batch, which are corrected one by one.
func readMessage(raw []byte) (*message, error) {
	m, err := parse(raw)
	if err != nil {
		return nil, err
	}
	if m.mangled {
		if m, err = parse(validUTF8(m.raw)); err != nil {
			return nil, err
		}
	}
	if m.lines {
		oneLine(m.raw)
	}
	if n := len(m.raw); m.raw[0] <= ' ' || m.raw[n-1] <= ' ' {
		m.raw = bytes.Trim(m.raw, " \t")
	}
	if m.batch {
		return m, nil
	}
	return m.corrected()
}

// oneLine makes one line of valid JSON, in place. Line ends stand between its
// tokens only, where a space means the same.
func oneLine(b []byte) {
	for i, c := range b {
		if c == '\n' || c == '\r' {
			b[i] = ' '
		}
	}
}

// errBoth reports that a response is both a result and an error.
var errBoth = errors.New("it has a result and an error")

// errError reports that an error is none of JSON-RPC's.
var errError = errors.New("its error has no code or no message")

// plainError reports whether the error has what hosts read of it: a code and a message.
func (m *message) plainError() bool {
	code, message := member(m.error, "code"), member(m.error, "message")
	return len(code) > 0 && (code[0] == '-' || code[0] >= '0' && code[0] <= '9') &&
		len(message) > 0 && message[0] == '"'
}

// corrected returns the message as valid JSON-RPC: with the version that it lacks, one
// member of each name, and without those that are null for want of a value.
func (m *message) corrected() (*message, error) {
	current := isText(m.version, "2.0")
	twice := m.twice != "" && m.twice != nameOfTarget
	drop := m.unwanted()
	switch {
	case m.error != nil && !m.plainError():
		return m, errError
	case m.error != nil && m.seen&hasResult != 0 && drop&(hasResult|hasError) == 0:
		return m, errBoth
	case current && !twice && drop|m.nullMeta == 0:
		return m, nil
	}
	raw := m.raw
	if twice || drop|m.nullMeta != 0 {
		raw = m.keep(drop)
	}
	if !current {
		raw = set(raw, "jsonrpc", []byte(`"2.0"`))
	}
	made, err := parse(raw)
	if err != nil {
		return m, err
	}
	made.foreign = !current
	return made, nil
}

// unwanted returns the members that mean nothing and do not belong where they are: some writers
// write null for whatever they have no value for.
func (m *message) unwanted() (drop uint8) {
	const outcome = hasResult | hasError
	empty := ifNull(m.result, hasResult) | ifNull(m.error, hasError) | ifNull(m.params, hasParams)
	switch {
	case m.method != nil && empty&outcome == outcome: // it is a request or a notification
		return (empty | ifNull(m.id, hasID)) & m.seen
	case m.method != nil && m.id == nil, m.seen&outcome == 0:
		return empty & m.seen
	}
	drop = hasMethod | empty&hasParams // some repeat the method in the response
	switch {
	case m.error == nil && m.result != nil:
		drop |= hasError
	case m.error != nil:
		drop |= empty & hasResult
	}
	return drop & m.seen
}

// ifNull returns the bit of a member if that has no value.
func ifNull(value []byte, bit uint8) uint8 {
	if value == nil || string(value) == "null" {
		return bit
	}
	return 0
}

// keep returns the message's object with the last member of each name that
// [parse] knows, and without those to drop and a _meta that is null.
func (m *message) keep(drop uint8) []byte {
	last := make(map[uint8]int)
	_ = members(m.raw, func(f field) bool {
		if _, bit := m.place(spelt(m.raw[f.at:f.name])); bit != 0 {
			last[bit] = f.at
		}
		return true
	})
	var c cutting
	_ = members(m.raw, func(f field) bool {
		_, bit := m.place(spelt(m.raw[f.at:f.name]))
		switch {
		case bit&drop != 0 || bit != 0 && last[bit] != f.at:
			c.dropSpaced(m.raw, f)
		case bit&m.nullMeta != 0:
			c.dropMeta(m.raw, f)
		}
		return true
	})
	return append(c.made, m.raw[c.from:]...)
}

// dropMeta leaves out the _meta of a part.
func (c *cutting) dropMeta(all []byte, part field) {
	object := all[part.from:part.to]
	_ = members(object, func(f field) bool {
		if string(spelt(object[f.at:f.name])) == "_meta" {
			c.dropSpaced(all, field{at: part.from + f.at, to: part.from + f.to})
		}
		return true
	})
}

// validUTF8 returns b with U+FFFD for what is not UTF-8, once for each sequence that
// breaks off ("U+FFFD Substitution of Maximal Subparts" of the Unicode Standard).
func validUTF8(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	made := make([]byte, 0, len(b)+len(b)/8+1)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			n = subpart(b)
		}
		made = utf8.AppendRune(made, r)
		b = b[n:]
	}
	return made
}

// subpart returns the length of the sequence at the begin of b, which breaks off.
func subpart(b []byte) int {
	n := 1
	for n < len(b) && !utf8.FullRune(b[:n+1]) {
		n++
	}
	return n
}
