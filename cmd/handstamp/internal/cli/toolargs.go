package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// maxArguments bounds arguments that are read from standard input, in bytes.
const maxArguments = 16 << 20

// arguments returns the names and types of a tool's arguments in one line, those
// that it requires first: "query string, limit integer (optional)". It is "" if
// there are none.
func (t *tool) arguments() string {
	properties := t.InputSchema.Properties
	names := slices.DeleteFunc(slices.Clone(t.InputSchema.Required), func(name string) bool {
		_, known := properties[name]
		return !known
	})
	required := len(names)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	texts := make([]string, 0, len(names))
	for i, name := range names {
		text := name
		if typ := typeName(properties[name].Type); typ != "" {
			text += " " + typ
		}
		if i >= required {
			text += " (optional)"
		}
		texts = append(texts, clean(text))
	}
	return strings.Join(texts, ", ")
}

// typeName returns a JSON schema's type as people read it; "" if it names none.
func typeName(t any) string {
	switch t := t.(type) {
	case string:
		return t
	case []any:
		var names []string
		for _, one := range t {
			names = append(names, fmt.Sprint(one))
		}
		return strings.Join(names, "|")
	}
	return ""
}

// toolArguments are the arguments of a call: an object, or pairs whose types the tool decides.
type toolArguments struct {
	object json.RawMessage
	pairs  [][2]string
}

// parseArguments reads the words of a command line. in is where - reads an object from.
func parseArguments(words []string, in io.Reader) (toolArguments, error) {
	switch {
	case len(words) == 0:
		return toolArguments{object: json.RawMessage("{}")}, nil
	case len(words) == 1 && words[0] == "-":
		text, err := io.ReadAll(io.LimitReader(in, maxArguments))
		if err != nil {
			return toolArguments{}, err
		}
		return objectArguments(text)
	case len(words) == 1 && strings.HasPrefix(strings.TrimSpace(words[0]), "{"):
		return objectArguments([]byte(words[0]))
	}
	var a toolArguments
	for _, word := range words {
		name, value, ok := strings.Cut(word, "=")
		if !ok || name == "" {
			return a, usage("arguments are one JSON object, - or name=value pairs, not %q", word)
		}
		if slices.ContainsFunc(a.pairs, func(p [2]string) bool { return p[0] == name }) {
			return a, usage("the argument %s is given twice; write an array as JSON", name)
		}
		a.pairs = append(a.pairs, [2]string{name, value})
	}
	return a, nil
}

func objectArguments(text []byte) (toolArguments, error) {
	text = bytes.TrimSpace(text)
	if !bytes.HasPrefix(text, []byte("{")) || !json.Valid(text) {
		return toolArguments{}, usage("the arguments are not a JSON object")
	}
	return toolArguments{object: text}, nil
}

// ambiguous reports whether a pair has a value that may be a text or something else, which
// the tool's schema decides. Every other value is a text.
func (a toolArguments) ambiguous() bool {
	return slices.ContainsFunc(a.pairs, func(p [2]string) bool { return json.Valid([]byte(p[1])) })
}

// typed returns the arguments as an object for a tool, which may be unknown (nil). The value
// of a pair is a text unless the tool's schema has another type.
func (a toolArguments) typed(t *tool) (json.RawMessage, error) {
	if a.object != nil {
		return a.object, nil
	}
	object := make(map[string]any, len(a.pairs))
	for _, pair := range a.pairs {
		value, err := t.value(pair[0], pair[1])
		if err != nil {
			return nil, err
		}
		object[pair[0]] = value
	}
	return json.Marshal(object)
}

// value returns the value of an argument as the tool's schema wants it.
func (t *tool) value(name, text string) (any, error) {
	if t == nil {
		return text, nil
	}
	property, known := t.InputSchema.Properties[name]
	if !known || property.Type == "string" {
		return text, nil
	}
	if json.Valid([]byte(text)) {
		return json.RawMessage(text), nil
	}
	types, _ := property.Type.([]any)
	if property.Type == nil || slices.Contains(types, any("string")) {
		return text, nil
	}
	return nil, usage("the argument %s of %s is of type %v, which %q is not", name, t.Name,
		property.Type, text)
}
