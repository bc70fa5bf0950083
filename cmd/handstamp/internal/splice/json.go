package splice

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

type jsonFormat struct{}

func (jsonFormat) parse(text []byte) (any, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	value, err := parseJSON(text)
	if err != nil {
		return nil, syntax(err)
	}
	value.Standardize()
	d := json.NewDecoder(bytes.NewReader(value.Pack()))
	d.UseNumber()
	var document any
	if err := d.Decode(&document); err != nil {
		return nil, syntax(err)
	}
	if document == nil {
		return nil, unsafe("it is null")
	}
	return document, nil
}

func (jsonFormat) put(text []byte, path []string, name string, value any) ([]byte, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return append(jsonText(nested(append(slices.Clone(path), name), value), "", "  ", "\n"), '\n'), nil
	}
	doc, err := openJSON(text)
	if err != nil {
		return nil, err
	}
	names := append(slices.Clone(path), name)
	for i := range names {
		found, err := doc.find(names[i])
		if err != nil {
			return nil, err
		}
		if found < 0 {
			return apply(text, doc.insert(names[i], nested(names[i+1:], value))...), nil
		}
		member := doc.object.Members[found]
		if i == len(path) {
			return apply(text, doc.replace(member, value)), nil
		}
		if err := doc.enter(member.Value); err != nil {
			return nil, err
		}
	}
	panic("unreachable")
}

func (jsonFormat) remove(text []byte, path []string, name string, prune int) ([]byte, error) {
	doc, err := openJSON(text)
	if err != nil {
		return nil, err
	}
	names := append(slices.Clone(path), name)
	var cuts []cut
	for i := range names {
		found, err := doc.find(names[i])
		if err != nil {
			return nil, err
		}
		if found < 0 {
			return nil, unsafe("%q is not there", name)
		}
		// An object that loses its only member is removed in place of it, if it may be.
		if i == 0 || len(doc.object.Members) > 1 || i <= len(path)-prune {
			cuts = doc.remove(found)
		} else if doc.commented(found) {
			return nil, unsafe("a comment would be lost")
		}
		if i == len(path) {
			break
		}
		if err := doc.enter(doc.object.Members[found].Value); err != nil {
			return nil, err
		}
	}
	return apply(text, cuts...), nil
}

// nested returns value below names, one object in another.
func nested(names []string, value any) any {
	for _, name := range slices.Backward(names) {
		value = Object{{name, value}}
	}
	return value
}

// jsonText returns a value as JSON. An object spans lines; all but the first begin with prefix.
func jsonText(value any, prefix, unit, end string) []byte {
	var out bytes.Buffer
	compact := jsonCompact(value)
	if err := json.Indent(&out, compact, prefix, unit); err != nil {
		panic(err)
	}
	return bytes.ReplaceAll(out.Bytes(), []byte("\n"), []byte(end))
}

func jsonCompact(value any) []byte {
	object, ok := value.(Object)
	if !ok {
		return []byte(jsonScalar(value))
	}
	var out bytes.Buffer
	out.WriteByte('{')
	for i, m := range object {
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString(jsonScalar(m.Name))
		out.WriteByte(':')
		out.Write(jsonCompact(m.Value))
	}
	out.WriteByte('}')
	return out.Bytes()
}

// jsonScalar returns a value as JSON writes it; a string is one in TOML and YAML, too.
func jsonScalar(value any) string {
	var out strings.Builder
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		panic(err) // a member of another type
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// jsonInline returns an object on one line, with spaces or without.
func jsonInline(value any, spaced bool) string {
	object, ok := value.(Object)
	comma, colon := ",", ":"
	if spaced {
		comma, colon = ", ", ": "
	}
	if list, isList := value.([]string); isList {
		items := make([]string, len(list))
		for i, item := range list {
			items[i] = jsonScalar(item)
		}
		return "[" + strings.Join(items, comma) + "]"
	}
	if !ok {
		return jsonScalar(value)
	}
	members := make([]string, len(object))
	for i, m := range object {
		members[i] = jsonScalar(m.Name) + colon + jsonInline(m.Value, spaced)
	}
	return "{" + strings.Join(members, comma) + "}"
}

// Compact returns an object as JSON on one line.
func Compact(value Object) []byte { return jsonCompact(value) }

// Commented reports whether a JSON text has what JSON itself lacks: comments or trailing commas.
func Commented(text []byte) bool {
	value, err := parseJSON(bytes.TrimPrefix(text, byteOrderMark))
	return err == nil && !value.IsStandard()
}
