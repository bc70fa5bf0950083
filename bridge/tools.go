package bridge

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// parameters returns what of a tool's arguments is mirrored into headers.
func (u *upstream) parameters(tool string) []parameter {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.tools[tool]
}

// listed looks at the tools that the server lists: it remembers which arguments
// are mirrored into headers, and drops the tools that the host may not see and,
// of a modern server, those whose annotations are invalid ("Schema Extension").
// It returns the result as the host gets it.
func (u *upstream) listed(result []byte, modern bool) []byte {
	list := member(result, "tools")
	if list == nil || !modern && u.Tool == nil {
		return result
	}
	var kept [][]byte
	whole := true
	err := elements(list, func(tool []byte) bool {
		name := text(member(tool, "name"))
		keep := u.Tool == nil || u.Tool(name)
		if keep && modern {
			found, err := annotations(tool)
			if err != nil {
				u.Logger.Warn("a tool was dropped, because its x-mcp-header annotations are invalid", "tool", name, "err", err)
				keep = false
			} else {
				u.mu.Lock()
				if u.tools == nil {
					u.tools = make(map[string][]parameter)
				}
				u.tools[name] = found
				u.mu.Unlock()
			}
		}
		if keep {
			kept = append(kept, tool)
		}
		whole = whole && keep
		return true
	})
	if err != nil || whole {
		return result
	}
	var b bytes.Buffer
	b.WriteByte('[')
	b.Write(bytes.Join(kept, []byte{','}))
	b.WriteByte(']')
	return set(result, "tools", b.Bytes())
}

// annotations returns the arguments of a tool that are mirrored, or why its
// annotations are invalid.
func annotations(tool []byte) ([]parameter, error) {
	input := member(tool, "inputSchema")
	if input == nil || !bytes.Contains(input, []byte(`x-mcp-header`)) {
		return nil, nil
	}
	var found []parameter
	if err := annotated(input, nil, &found); err != nil {
		return nil, err
	}
	// What is annotated anywhere else is out of reach.
	if n := countIn(input, false); n != len(found) {
		return nil, errors.New("an annotation stands where no chain of properties leads")
	}
	seen := make(map[string]bool)
	for _, p := range found {
		if key := strings.ToLower(p.header); seen[key] {
			return nil, fmt.Errorf("two parameters have the header %q", p.header)
		} else {
			seen[key] = true
		}
	}
	return found, nil
}

// annotated collects the annotations along chains of properties.
func annotated(schema []byte, path []string, found *[]parameter) error {
	if i := skipSpace(schema, 0); i >= len(schema) || schema[i] != '{' {
		return nil // true and false are schemas, too
	}
	if header := member(schema, "x-mcp-header"); header != nil {
		name, kind := text(header), text(member(schema, "type"))
		switch {
		case len(path) == 0:
			return errors.New("the schema itself is annotated")
		case name == "":
			return fmt.Errorf("the annotation of %q is no text, or empty", strings.Join(path, "."))
		case strings.IndexFunc(name, func(r rune) bool { return !tokenRune(r) }) >= 0:
			return fmt.Errorf("%q cannot be part of a header's name", name)
		case kind != "string" && kind != "integer" && kind != "boolean":
			return fmt.Errorf("%q is annotated and is neither a string nor an integer nor a boolean", strings.Join(path, "."))
		}
		*found = append(*found, parameter{path: slices.Clone(path), header: name})
	}
	properties := member(schema, "properties")
	var err error
	_, _ = members(properties, skipSpace(properties, 0), func(f field) bool {
		err = annotated(properties[f.from:f.to], append(path, text(properties[f.at:f.name])), found)
		return err == nil
	})
	return err
}

// countIn counts the annotations anywhere in a schema, or in an object whose
// members have names of the author's choosing: a property that is called
// x-mcp-header is no annotation.
func countIn(raw []byte, names bool) int {
	n := 0
	i := skipSpace(raw, 0)
	if i >= len(raw) {
		return 0
	}
	switch raw[i] {
	case '{':
		_, _ = members(raw, i, func(f field) bool {
			name, value := text(raw[f.at:f.name]), raw[f.from:f.to]
			switch {
			case !names && name == "x-mcp-header":
				n++
			case !names && (name == "const" || name == "enum" || name == "default" || name == "examples"):
				// Data, not schemas.
			default:
				n += countIn(value, !names && mapsNames(name))
			}
			return true
		})
	case '[':
		_ = elements(raw[i:], func(element []byte) bool {
			n += countIn(element, false)
			return true
		})
	}
	return n
}

// mapsNames reports whether a keyword's value has names of the author's choosing
// for members.
func mapsNames(keyword string) bool {
	switch keyword {
	case "properties", "patternProperties", "$defs", "definitions", "dependentSchemas":
		return true
	}
	return false
}

// tokenRune reports whether a character may stand in a header's name (RFC 9110,
// section 5.6.2).
func tokenRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}
