package bridge

import "bytes"

// glimpse is what can be determined of a message that is not valid, or too long to be
// kept: whose it is. It is written to in pieces, holds nothing but what it looks for,
// and believes only what stands at the top of an object.
type glimpse struct {
	depth  int
	began  bool // the object
	text   bool // inside a string
	escape bool // behind a backslash
	value  bool // behind a colon
	over   bool // the object has ended, or there is none

	name  []byte // of the member
	taken []byte // of the value
	ids   int
	id    []byte // nil: none, null, or several
	// method and outcome report whether there are a method, and a result or an error.
	method, outcome bool
}

// longestGlimpse bounds what is kept of a name or a value.
const longestGlimpse = 1 << 10

// glimpseOf looks at a message that is not valid.
func glimpseOf(raw []byte) *glimpse {
	g := new(glimpse)
	_, _ = g.Write(bytes.TrimPrefix(raw, mark))
	g.end()
	return g
}

// Write looks at the next bytes.
func (g *glimpse) Write(p []byte) (int, error) {
	for i := 0; i < len(p) && !g.over; i++ {
		c := p[i]
		switch {
		case g.text:
			// Long texts are what makes a message long.
			if g.depth > 1 && !g.escape {
				n := bytes.IndexAny(p[i:], `"\`)
				if n < 0 {
					return len(p), nil
				}
				i += n
				c = p[i]
			}
			g.inText(c)
		case !g.began:
			g.begin(c)
		default:
			g.between(c)
		}
	}
	return len(p), nil
}

// begin waits for the object.
func (g *glimpse) begin(c byte) {
	switch {
	case c == '{':
		g.began, g.depth = true, 1
	case !space(c):
		g.over = true
	}
}

// inText reads a character of a string.
func (g *glimpse) inText(c byte) {
	g.keep(c)
	switch {
	case g.escape:
		g.escape = false
	case c == '\\':
		g.escape = true
	case c == '"':
		g.text = false
	}
}

// between reads a character outside of strings.
func (g *glimpse) between(c byte) {
	switch c {
	case '"':
		g.text = true
	case '{', '[':
		g.depth++
	case '}', ']':
		if g.depth--; g.depth == 0 {
			g.member()
			g.over = true
			return
		}
	case ':':
		if g.depth == 1 {
			g.value = true
			return
		}
	case ',':
		if g.depth == 1 {
			g.member()
			return
		}
	}
	if !space(c) {
		g.keep(c)
	}
}

// keep keeps a character of a name or a value at the top.
func (g *glimpse) keep(c byte) {
	switch {
	case g.depth > 1:
	case g.value && len(g.taken) < longestGlimpse:
		g.taken = append(g.taken, c)
	case !g.value && len(g.name) < longestGlimpse:
		g.name = append(g.name, c)
	}
}

// member handles a member that has ended.
func (g *glimpse) member() {
	name, value := text(g.name), g.taken
	g.name, g.taken, g.value = g.name[:0], nil, false
	switch name {
	case "id":
		g.ids++
		if g.id = value; g.ids > 1 || len(value) == 0 || len(value) == longestGlimpse || !validID(value) {
			g.id = nil
		}
	case "method":
		g.method = true
	case "result", "error":
		g.outcome = g.outcome || string(value) != "null"
	}
}

// responds reports whether a result or an error has begun.
func (g *glimpse) responds() bool {
	name := text(g.name)
	return g.outcome || g.value && (name == "result" || name == "error")
}

// end handles a member that was cut off by the end of the message, except an id: its
// last digits may be missing.
func (g *glimpse) end() {
	if !g.over && g.value && text(g.name) != "id" {
		g.member()
	}
	g.over = true
}
