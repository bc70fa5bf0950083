package splice

import (
	"bytes"
	"errors"
	"slices"

	"github.com/tailscale/hujson"
)

// jsonPlace is an object in a JSON text.
type jsonPlace struct {
	text       []byte
	object     *hujson.Object
	start, end int    // of the object: its brace, and behind the other
	end1       string // a line end
	unit       string // one step of indentation
	oneLine    bool   // the whole text is on one
}

func openJSON(text []byte) (*jsonPlace, error) {
	root, err := parseJSON(text)
	if err != nil {
		return nil, syntax(err)
	}
	p := &jsonPlace{text: text, end1: lineEnd(text), unit: "  "}
	p.oneLine = !bytes.ContainsRune(bytes.TrimSpace(text), '\n')
	if err := p.enter(root); err != nil {
		return nil, err
	}
	if p.spansLines() {
		if unit := p.indent(p.object.Members[0].Name.StartOffset); unit != "" {
			p.unit = unit[len(p.indent(p.start)):]
		}
	}
	if p.unit == "" {
		p.unit = "  "
	}
	return p, nil
}

// maxDepth bounds how deep objects and arrays are in one another. The parser calls itself for each, and a
// program whose stack is full is ended.
const maxDepth = 1000

// parseJSON parses a text whose last line may be a comment without an end.
func parseJSON(text []byte) (hujson.Value, error) {
	if tooDeep(text) {
		return hujson.Value{}, errors.New("it is too deep")
	}
	return hujson.Parse(slices.Concat(text, []byte("\n")))
}

// tooDeep reports whether more objects and arrays are open at once than may be.
func tooDeep(text []byte) bool {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '/':
			i = commentEnd(text, i)
		}
		if depth > maxDepth {
			return true
		}
	}
	return false
}

// commentEnd returns the offset of the last byte of the comment at an offset, or the offset itself if
// there is none.
func commentEnd(text []byte, start int) int {
	for opening, closing := range map[string]string{"//": "\n", "/*": "*/"} {
		if body, ok := bytes.CutPrefix(text[start:], []byte(opening)); ok {
			end := bytes.Index(body, []byte(closing))
			if end < 0 {
				return len(text)
			}
			return start + len(opening) + end + len(closing) - 1
		}
	}
	return start
}

// enter goes to the object that a value is.
func (p *jsonPlace) enter(v hujson.Value) error {
	object, ok := v.Value.(*hujson.Object)
	if !ok {
		return unsafe("what is on the way to it is no object")
	}
	p.object, p.start, p.end = object, v.StartOffset, v.EndOffset
	return nil
}

// find returns the number of a member, -1 if there is none.
func (p *jsonPlace) find(name string) (int, error) {
	found := -1
	for i, m := range p.object.Members {
		if m.Name.Value.(hujson.Literal).String() != name {
			continue
		}
		if found >= 0 {
			return 0, unsafe("%q is there twice", name)
		}
		found = i
	}
	return found, nil
}

// spansLines reports whether the first member is on a line of its own.
func (p *jsonPlace) spansLines() bool {
	return len(p.object.Members) > 0 &&
		bytes.ContainsRune(p.object.Members[0].Name.BeforeExtra, '\n')
}

// indent returns the white space at the beginning of an offset's line.
func (p *jsonPlace) indent(offset int) string {
	line := p.text[lineStart(p.text, offset):offset]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}

// afterComma returns the offset behind the comma after a member, or behind its value where
// none follows.
func (p *jsonPlace) afterComma(i int) (offset int, comma bool) {
	v := p.object.Members[i].Value
	if i+1 == len(p.object.Members) && v.AfterExtra == nil {
		return v.EndOffset, false
	}
	return v.EndOffset + len(v.AfterExtra) + 1, true
}

// afterComments returns the offset behind the last comment of the white space and comments
// from an offset on: the beginning if there is none.
func (p *jsonPlace) afterComments(offset, end int) int {
	last := offset
	for i := offset; i+1 < end; {
		switch string(p.text[i : i+2]) {
		case "//":
			for i < end && p.text[i] != '\n' {
				i++
			}
			last = i
			if p.text[i-1] == '\r' {
				last--
			}
		case "/*":
			i += 2 + bytes.Index(p.text[i+2:end], []byte("*/")) + 2
			last = i
		default:
			i++
		}
	}
	return last
}

// insert returns the cuts that add a member behind the others.
func (p *jsonPlace) insert(name string, value any) []cut {
	var cuts []cut
	n := len(p.object.Members)
	from, comma, indent := p.start+1, false, p.indent(p.start)+p.unit
	if n > 0 {
		from, comma = p.afterComma(n - 1)
		indent = p.indent(p.object.Members[n-1].Name.StartOffset)
		if !comma {
			cuts = append(cuts, cut{from, from, ","})
		}
	}
	to := p.afterComments(from, p.end-1)
	text := jsonScalar(name) + ": " + string(jsonText(value, indent, p.unit, p.end1))
	if p.inLine(from == to) {
		text = p.inlineMember(name, value)
	} else {
		text = p.end1 + indent + text
		if n == 0 && !bytes.ContainsRune(p.text[to:p.end-1], '\n') {
			text += p.end1 + p.indent(p.start)
		}
	}
	if comma {
		text += ","
	}
	return append(cuts, cut{to, to, text})
}

// inLine reports whether the object's members are on one line, as the next then is, too.
func (p *jsonPlace) inLine(noComments bool) bool {
	if len(p.object.Members) > 0 {
		return !p.spansLines() && noComments
	}
	return p.oneLine && len(bytes.TrimSpace(p.text[p.end:])) > 0
}

// inlineMember returns a member on one line, with spaces if the text has them.
func (p *jsonPlace) inlineMember(name string, value any) string {
	if !bytes.Contains(p.text, []byte(`": `)) && !bytes.Contains(p.text, []byte(`, "`)) {
		return jsonScalar(name) + ":" + jsonInline(value, false)
	}
	text := jsonScalar(name) + ": " + jsonInline(value, true)
	if len(p.object.Members) > 0 {
		text = " " + text
	}
	return text
}

// replace returns the cut that gives a member another value.
func (p *jsonPlace) replace(m hujson.ObjectMember, value any) cut {
	text := jsonInline(value, bytes.Contains(p.text, []byte(`": `)))
	if p.spansLines() {
		text = string(jsonText(value, p.indent(m.Name.StartOffset), p.unit, p.end1))
	}
	return cut{m.Value.StartOffset, m.Value.EndOffset, text}
}

// remove returns the cuts that remove a member: what insert adds, and where it is the only
// one, the white space, too.
func (p *jsonPlace) remove(i int) []cut {
	m := p.object.Members[i]
	to, _ := p.afterComma(i)
	before, last := p.start+1, i+1 == len(p.object.Members)
	if i > 0 {
		before, _ = p.afterComma(i - 1)
	}
	from := p.afterComments(before, m.Name.StartOffset)
	switch {
	case i > 0 && last && m.Value.AfterExtra == nil:
		return []cut{{before - 1, before, ""}, {from, to, ""}} // no comma behind the last
	case i == 0 && last && p.afterComments(to, p.end-1) == to && from == before:
		return []cut{{from, p.end - 1, ""}}
	}
	return []cut{{from, to, ""}}
}

// commented reports whether there are comments around an only member.
func (p *jsonPlace) commented(i int) bool {
	m := p.object.Members[i]
	to, _ := p.afterComma(i)
	return p.afterComments(p.start+1, m.Name.StartOffset) != p.start+1 ||
		p.afterComments(to, p.end-1) != to
}
