package bridge

import (
	"bytes"
	"encoding/json"
	"slices"
)

// Where a message has to be changed, for another era or by a filter, the change
// is cut into its bytes, so that everything else stays as it came.

// find returns the last member of an object with the name.
func find(object []byte, name string) (found field, ok bool) {
	quoted, _ := json.Marshal(name)
	_, err := members(object, skipSpace(object, 0), func(f field) bool {
		if bytes.Equal(object[f.at:f.name], quoted) {
			found, ok = f, true
		}
		return true
	})
	return found, ok && err == nil
}

// set returns the object with a member set to a value: replaced where it is, or
// added as the first. The result shares no bytes with the object.
func set(object []byte, name string, value []byte) []byte {
	if f, ok := find(object, name); ok {
		return slices.Concat(object[:f.from], value, object[f.to:])
	}
	start := skipSpace(object, 0)
	next := skipSpace(object, start+1)
	if next >= len(object) {
		return bytes.Clone(object)
	}
	comma := []byte{','}
	if object[next] == '}' {
		comma = nil
	}
	quoted, _ := json.Marshal(name)
	return slices.Concat(object[:start+1], quoted, []byte{':'}, value, comma, object[start+1:])
}

// setAt returns the object with the member at a path set, objects on the way
// made where they are missing.
func setAt(object []byte, value []byte, path ...string) []byte {
	if len(path) > 1 {
		inner := member(object, path[0])
		if i := skipSpace(inner, 0); i >= len(inner) || inner[i] != '{' {
			inner = []byte("{}")
		}
		value = setAt(inner, value, path[1:]...)
	}
	return set(object, path[0], value)
}

// cut returns the object without the members of a name.
func cut(object []byte, name string) []byte {
	for {
		f, ok := find(object, name)
		if !ok {
			return object
		}
		from, to := f.at, f.to
		// With the comma behind it, or else with the one before.
		if i := skipSpace(object, to); i < len(object) && object[i] == ',' {
			to = i + 1
		} else if before := bytes.TrimRight(object[:from], " \t\r\n"); before[len(before)-1] == ',' {
			from = len(before) - 1
		}
		object = slices.Concat(object[:from], object[to:])
	}
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
