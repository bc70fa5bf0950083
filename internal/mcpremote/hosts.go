package mcpremote

import (
	"encoding/json"
	"maps"
	"slices"
)

// Commands returns the command lines of mcp-remote, or of handstamp bridge in its
// place, in a program's list of servers, whatever its shape: any object with args, or
// with a command that is a list. Where a program puts variables into the arguments
// itself, both readings are returned. What cannot be read as JSON, with comments and
// commas as people leave them, gives none; URLs finds something in any text.
func Commands(text []byte, source string, around Surroundings) []*Command {
	var document any
	if json.Unmarshal(plainJSON(text), &document) != nil {
		return nil
	}
	var found []*Command
	var walk func(v any, depth int)
	walk = func(v any, depth int) {
		if depth > maxDepth {
			return
		}
		switch v := v.(type) {
		case map[string]any:
			words := slices.Concat(texts(v["command"]), texts(v["path"]), texts(v["args"]))
			if args, ok := arguments(words); ok {
				found = append(found, readings(args, source, with(around, v["env"]))...)
			}
			for _, name := range slices.Sorted(maps.Keys(v)) {
				walk(v[name], depth+1)
			}
		case []any:
			for _, element := range v {
				walk(element, depth+1)
			}
		}
	}
	walk(document, 0)
	return found
}

// maxDepth bounds the nesting of a list of servers.
const maxDepth = 64

// readings returns what a command line means with its variables as they are and
// with the ones that are set put in.
func readings(args []string, source string, around Surroundings) []*Command {
	var found []*Command
	expanded := make([]string, len(args))
	differs := false
	for i, arg := range args {
		expanded[i] = Expand(arg, around)
		differs = differs || expanded[i] != arg
	}
	for i, args := range [][]string{args, expanded} {
		if c, err := ParseCommand(args, around); err == nil && (i == 0 || differs) {
			c.Source = source
			found = append(found, c)
		}
	}
	return found
}

// with adds the variables that a list of servers sets for one of them.
func with(around Surroundings, env any) Surroundings {
	set, ok := env.(map[string]any)
	if !ok {
		return around
	}
	return Surroundings{ReadFile: around.ReadFile, Getenv: func(name string) string {
		if v, ok := set[name].(string); ok {
			return v
		}
		return around.getenv(name)
	}}
}

// texts returns the strings of a member that is one or a list of them. One in a
// list that is none ends it.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var list []string
		for _, element := range v {
			text, ok := element.(string)
			if !ok {
				return list
			}
			list = append(list, text)
		}
		return list
	}
	return nil
}
