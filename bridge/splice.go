package bridge

import (
	"bytes"
	"encoding/json"
	"slices"
)

// Where a message has to be changed, for another era or by a filter, the change
// is cut into its bytes, so that everything else stays as it came.

// find returns the last member of an object with the name, and how many there are.
func find(object []byte, name string) (found field, n int) {
	err := members(object, func(f field) bool {
		if string(spelt(object[f.at:f.name])) == name {
			found, n = f, n+1
		}
		return true
	})
	if err != nil {
		return field{}, 0
	}
	return found, n
}

// set returns the object with a member set to a value: replaced where it is, or
// added as the first. There is one of that name then. The result shares no bytes
// with the object.
func set(object []byte, name string, value []byte) []byte {
	return setAt(object, value, name)
}

// setAt returns the object with the member at a path set, objects on the way
// made where they are missing. It copies the object once.
func setAt(object []byte, value []byte, path ...string) []byte {
	from, to := 0, len(object)
	for i, name := range path {
		inner := object[from:to]
		if start := skipSpace(inner, 0); start >= len(inner) || inner[start] != '{' {
			return slices.Concat(object[:from], nest(value, path[i:]), object[to:])
		}
		switch f, n := find(inner, name); {
		case n > 1:
			// Rare enough to be done step by step.
			inner = without(inner, name, f.at)
			return setAt(slices.Concat(object[:from], inner, object[to:]), value, path...)
		case n == 1:
			from, to = from+f.from, from+f.to
		default:
			return add(object, from, name, nest(value, path[i+1:]))
		}
	}
	return slices.Concat(object[:from], value, object[to:])
}

// nest returns objects within each other, down to a value at a path.
func nest(value []byte, path []string) []byte {
	for _, name := range slices.Backward(path) {
		value = object(name, value)
	}
	return value
}

// add returns b with a member added as the first of the object at b[i].
func add(b []byte, i int, name string, value []byte) []byte {
	start := skipSpace(b, i) + 1
	next := skipSpace(b, start)
	if next >= len(b) {
		return bytes.Clone(b)
	}
	comma := []byte{','}
	if b[next] == '}' {
		comma = nil
	}
	return slices.Concat(b[:start], encode(name), []byte{':'}, value, comma, b[start:])
}

// cut returns the object without the members of a name.
func cut(object []byte, name string) []byte {
	if _, n := find(object, name); n == 0 {
		return object
	}
	return without(object, name, -1)
}

// without returns the object without the members of a name but the one at a place.
func without(object []byte, name string, but int) []byte {
	var c cutting
	_ = members(object, func(f field) bool {
		if f.at != but && string(spelt(object[f.at:f.name])) == name {
			c.drop(object, f)
		}
		return true
	})
	return append(c.made, object[c.from:]...)
}

// cutting is an object or an array that loses parts. The zero value has all of them.
type cutting struct {
	made []byte
	from int // what is before is copied or cut
}

// drop leaves a part out, with the comma behind it, or else with the one before.
func (c *cutting) drop(all []byte, part field) {
	if c.made == nil {
		c.made = make([]byte, 0, len(all)+1)
	}
	c.made = append(c.made, all[c.from:part.at]...)
	if c.from = skipSpace(all, part.to); c.from < len(all) && all[c.from] == ',' {
		c.from++
		return
	}
	c.from = part.to
	c.made = bytes.TrimSuffix(bytes.TrimRight(c.made, blanks), []byte{','})
}

// dropSpaced is drop with the white space around the part.
func (c *cutting) dropSpaced(all []byte, part field) {
	c.drop(all, part)
	c.made, c.from = bytes.TrimRight(c.made, blanks), skipSpace(all, c.from)
}

// blanks are what stands between tokens (RFC 8259, section 2).
const blanks = " \t\r\n"

// orElse returns a value, or another one for nil.
func orElse(value []byte, other string) []byte {
	if value == nil {
		return []byte(other)
	}
	return value
}

// object builds an object from names and values, in order.
func object(pairs ...any) []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	for i := 0; i < len(pairs); i += 2 {
		if i > 0 {
			b.WriteByte(',')
		}
		name, _ := json.Marshal(pairs[i])
		b.Write(name)
		b.WriteByte(':')
		b.Write(encode(pairs[i+1]))
	}
	b.WriteByte('}')
	return b.Bytes()
}

// encode returns the JSON of a value; raw JSON is taken as it is.
func encode(v any) []byte {
	if raw, ok := v.([]byte); ok {
		return raw
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return []byte("null")
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}
