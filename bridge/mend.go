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
// member of each name, and without a null result or error beside the other.
func (m *message) corrected() (*message, error) {
	current := isText(m.version, "2.0")
	twice := m.twice != "" && m.twice != nameOfTarget
	if m.error != nil && !m.plainError() {
		return m, errError
	}
	if current && !twice && !m.contradicts() {
		return m, nil
	}
	drop := m.unwanted()
	if drop&(hasResult|hasError) == 0 && m.seen&hasResult != 0 && m.error != nil {
		return m, errBoth
	}
	raw := m.raw
	if twice || drop != 0 {
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

// contradicts reports whether members are there that do not belong together. Some
// writers write null for whatever they have no value for.
func (m *message) contradicts() bool {
	outcome := m.seen & (hasResult | hasError)
	return outcome != 0 && m.seen&hasMethod != 0 || outcome == hasResult|hasError
}

// unwanted returns the members that mean nothing and do not belong where they are.
func (m *message) unwanted() (drop uint8) {
	null := func(value []byte) bool { return value == nil || string(value) == "null" }
	if m.method != nil && (m.id == nil || null(m.result) && m.error == nil) {
		// A request or a notification.
		if null(m.result) {
			drop |= hasResult & m.seen
		}
		if m.error == nil {
			drop |= hasError & m.seen
		}
		return drop
	}
	drop |= hasMethod & m.seen // some repeat it in the response
	if null(m.params) {
		drop |= hasParams & m.seen
	}
	switch {
	case m.error == nil && m.result != nil:
		drop |= hasError & m.seen
	case m.error != nil && null(m.result):
		drop |= hasResult & m.seen
	}
	return drop
}

// keep returns the message's object with the last member of each name that
// [parse] knows, and without those to drop.
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
		if bit&drop != 0 || bit != 0 && last[bit] != f.at {
			c.dropSpaced(m.raw, f)
		}
		return true
	})
	return append(c.made, m.raw[c.from:]...)
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
