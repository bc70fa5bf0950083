package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

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
