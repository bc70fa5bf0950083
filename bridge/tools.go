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
	var kept cutting
	_, lists := find(result, "tools")
	whole := lists == 1 || u.Tool == nil // a reader may go by another list than the last
	var invalid []any                    // of the first tool with invalid annotations, for the log
	dropped := 0
	err := parts(list, '[', func(at field) bool {
		tool := list[at.from:at.to]
		name := text(member(tool, "name"))
		keep := u.Tool == nil || u.Tool(name)
		if keep && modern {
			found, err := annotations(tool)
			if keep = err == nil; keep {
				u.mirrors(name, found)
			} else if dropped++; dropped == 1 {
				invalid = []any{"first", name, "err", err}
			}
		}
		if !keep {
			whole = false
			kept.dropSpaced(list, at)
		}
		return true
	})
	if dropped > 0 {
		u.Logger.Warn("tools were dropped, because their x-mcp-header annotations are invalid",
			append(invalid, "tools", dropped)...)
	}
	if err != nil || whole {
		return result
	}
	return set(result, "tools", append(kept.made, list[kept.from:]...))
}

// mirrors remembers which arguments of a tool are mirrored.
func (u *upstream) mirrors(tool string, found []parameter) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.tools[tool] = found; len(found) == 0 {
		delete(u.tools, tool)
	}
}

// annotations returns the arguments of a tool that are mirrored, or why its
// annotations are invalid.
func annotations(tool []byte) ([]parameter, error) {
	input := member(tool, "inputSchema")
	if input == nil || !bytes.Contains(input, []byte(annotation)) && bytes.IndexByte(input, '\\') < 0 {
		return nil, nil
	}
	w := schemaWalk{raw: input}
	if w.schema(0, nil, true); w.err != nil {
		return nil, w.err
	}
	seen := make(map[string]bool)
	for _, p := range w.found {
		if key := strings.ToLower(p.header); seen[key] {
			return nil, fmt.Errorf("two parameters have the header %q", p.header)
		} else {
			seen[key] = true
		}
	}
	return w.found, nil
}

// annotation is the keyword that names the header of a parameter.
const annotation = "x-mcp-header"

// maxSchemaDepth bounds how deep schemas are looked into.
const maxSchemaDepth = 256

// schemaWalk looks through a schema once. Each function reads what begins at raw[i],
// and returns where that ends.
type schemaWalk struct {
	raw   []byte
	found []parameter
	depth int
	err   error // the first thing that is wrong
}

func (w *schemaWalk) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// step calls read for each member, and returns where the object or array ends. The
// name of an array's element is empty.
func (w *schemaWalk) step(i int, read func(name string, i int) int) int {
	if w.depth++; w.depth > maxSchemaDepth {
		w.fail(errors.New("the schema is nested too deeply"))
	}
	defer func() { w.depth-- }()
	object := w.raw[i] == '{'
	i = skipSpace(w.raw, i+1)
	for w.err == nil && i < len(w.raw) && w.raw[i] != '}' && w.raw[i] != ']' {
		name := ""
		if object {
			end, err := skipString(w.raw, i)
			if err != nil {
				w.fail(err)
				return i
			}
			name = text(w.raw[i:end])
			i = skipSpace(w.raw, skipSpace(w.raw, end)+1)
		}
		if i = skipSpace(w.raw, read(name, i)); i < len(w.raw) && w.raw[i] == ',' {
			i = skipSpace(w.raw, i+1)
		}
	}
	return i + 1
}

// nested reports whether an object or an array begins at raw[i].
func (w *schemaWalk) nested(i int) bool {
	return i < len(w.raw) && (w.raw[i] == '{' || w.raw[i] == '[')
}

// skip reads what is not looked into.
func (w *schemaWalk) skip(i int) int {
	end, err := skipValue(w.raw, i)
	if err != nil {
		w.fail(err)
	}
	return end
}

// schema reads a schema, or an array of schemas. chain reports whether a chain of
// properties has led to it, by the path.
func (w *schemaWalk) schema(i int, path []string, chain bool) int {
	if i = skipSpace(w.raw, i); !w.nested(i) {
		return w.skip(i) // true and false are schemas, too
	}
	if w.raw[i] == '[' {
		return w.step(i, func(_ string, i int) int { return w.schema(i, nil, false) })
	}
	var header, kind []byte
	end := w.step(i, func(name string, i int) int {
		switch {
		case name == annotation:
			end := w.skip(i)
			header = w.raw[i:end]
			return end
		case name == "type":
			end := w.skip(i)
			kind = w.raw[i:end]
			return end
		case name == "const", name == "enum", name == "default", name == "examples":
			return w.skip(i) // data, not schemas
		case mapsNames(name) && w.nested(i) && w.raw[i] == '{':
			chain := chain && name == "properties"
			return w.step(i, func(name string, i int) int {
				return w.schema(i, append(path, name), chain)
			})
		}
		return w.schema(i, nil, false)
	})
	if header != nil {
		w.annotated(text(header), text(kind), path, chain)
	}
	return end
}

// annotated notes an annotation.
func (w *schemaWalk) annotated(name, kind string, path []string, chain bool) {
	where := strings.Join(path, ".")
	switch {
	case !chain:
		w.fail(errors.New("an annotation stands where no chain of properties leads"))
	case len(path) == 0:
		w.fail(errors.New("the schema itself is annotated"))
	case name == "":
		w.fail(fmt.Errorf("the annotation of %q is no text, or empty", where))
	case strings.IndexFunc(name, func(r rune) bool { return !tokenRune(r) }) >= 0:
		w.fail(fmt.Errorf("%q cannot be part of a header's name", name))
	case kind != "string" && kind != "integer" && kind != "boolean":
		w.fail(fmt.Errorf("%q is annotated and is neither a string nor an integer nor a boolean", where))
	}
	w.found = append(w.found, parameter{path: slices.Clone(path), header: name})
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
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
		strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}
