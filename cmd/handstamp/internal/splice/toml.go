package splice

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

type tomlFormat struct{}

func (tomlFormat) parse(text []byte) (any, error) {
	document := make(map[string]any)
	if err := toml.Unmarshal(text, &document); err != nil {
		return nil, syntax(err)
	}
	if nestedTooDeep(document) {
		return nil, syntax(errors.New("it is too deep"))
	}
	return document, nil
}

// nestedTooDeep reports whether more tables and arrays are in one another than may be. A key with dots makes
// a table of each of its words, which the parser does not bound.
func nestedTooDeep(document any) bool {
	level := []any{document}
	for range maxDepth {
		var inner []any
		for _, value := range level {
			switch v := value.(type) {
			case map[string]any:
				inner = slices.AppendSeq(inner, maps.Values(v))
			case []any:
				inner = append(inner, v...)
			}
		}
		level = inner
	}
	return len(level) > 0
}

func (tomlFormat) put(text []byte, path []string, name string, value any) ([]byte, error) {
	object, ok := value.(Object)
	if !ok {
		return nil, unsafe("%q would be no table", name)
	}
	tables, err := tomlTables(text, path[0])
	if err != nil {
		return nil, err
	}
	end := lineEnd(text)
	table := strings.ReplaceAll(tomlTable(path[0], name, object), "\n", end)
	if mine := tables.below(path[0], name); len(mine) > 0 {
		return apply(text, tomlCuts(mine, table)...), nil
	}
	if len(text) == 0 {
		return []byte(table), nil
	}
	before := end
	if !bytes.HasSuffix(text, []byte("\n")) {
		before += end
	}
	return slices.Concat(text, []byte(before), []byte(table)), nil
}

func (tomlFormat) remove(text []byte, path []string, name string, prune int) ([]byte, error) {
	tables, err := tomlTables(text, path[0])
	if err != nil {
		return nil, err
	}
	mine := tables.below(path[0], name)
	if len(mine) == 0 {
		return nil, unsafe("%q is in no table of its own", name)
	}
	cuts := tomlCuts(mine, "")
	// The empty line before it came with it.
	if first := &cuts[0]; first.from > 0 {
		previous := lineStart(text, first.from-1)
		if len(bytes.TrimSpace(text[previous:first.from])) == 0 {
			first.from = previous
		}
	}
	return apply(text, cuts...), nil
}

// tomlTable returns a table as TOML writes it; an Object in it is an inline table.
func tomlTable(section, name string, value Object) string {
	var out strings.Builder
	out.WriteString("[" + tomlKey(section) + "." + tomlKey(name) + "]\n")
	for _, m := range value {
		out.WriteString(tomlKey(m.Name) + " = " + tomlValue(m.Value) + "\n")
	}
	return out.String()
}

// tomlKey returns a key, in quotes where it needs them.
func tomlKey(name string) string {
	bare := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
	}
	if name == "" || strings.TrimLeftFunc(name, bare) != "" {
		return jsonScalar(name)
	}
	return name
}

func tomlValue(value any) string {
	var items []string
	switch v := value.(type) {
	case Object:
		for _, m := range v {
			items = append(items, tomlKey(m.Name)+" = "+tomlValue(m.Value))
		}
		return "{ " + strings.Join(items, ", ") + " }"
	case map[string]any:
		var object Object
		for _, name := range slices.Sorted(maps.Keys(v)) {
			object = append(object, Member{name, v[name]})
		}
		return tomlValue(object)
	case []any:
		for _, item := range v {
			items = append(items, tomlValue(item))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case float64, time.Time, toml.LocalDateTime, toml.LocalDate, toml.LocalTime: // not as in JSON
		text, err := toml.Marshal(map[string]any{"v": v})
		if err != nil {
			panic(err)
		}
		return strings.TrimSpace(strings.TrimPrefix(string(text), "v = "))
	}
	return jsonInline(value, true)
}

// tomlRegion is a table in a text: from its header to the end of its last line.
type tomlRegion struct {
	key      []string
	from, to int
}

type tomlRegions []tomlRegion

// below returns the tables of this name, and those within them.
func (r tomlRegions) below(section, name string) tomlRegions {
	var mine tomlRegions
	for _, t := range r {
		if len(t.key) > 1 && t.key[0] == section && t.key[1] == name {
			mine = append(mine, t)
		}
	}
	return mine
}

// tomlCuts returns the cuts that put a text in place of tables.
func tomlCuts(tables tomlRegions, text string) []cut {
	cuts := make([]cut, len(tables))
	for i, t := range tables {
		cuts[i] = cut{t.from, t.to, ""}
	}
	cuts[0].text = text
	return cuts
}

// tomlTables returns the tables of a text. The section must not be written in another way: as
// an inline table, or with dotted keys.
func tomlTables(text []byte, section string) (tomlRegions, error) {
	var tables tomlRegions
	var p unstable.Parser
	p.Reset(text)
	for p.NextExpression() {
		e := p.Expression()
		var key []string
		from := -1
		for k := e.Key(); k.Next(); {
			if from < 0 {
				from = lineStart(text, int(k.Node().Raw.Offset))
			}
			key = append(key, string(k.Node().Data))
		}
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			if n := len(tables); n > 0 {
				tables[n-1].to = tomlEnd(text[:from])
			}
			if e.Kind == unstable.ArrayTable && key[0] == section {
				return nil, unsafe("[[%s]] is an array", strings.Join(key, "."))
			}
			tables = append(tables, tomlRegion{key, from, tomlEnd(text)})
		case unstable.KeyValue:
			if len(tables) == 0 && key[0] == section {
				return nil, unsafe("%s is no table of its own", section)
			}
		}
	}
	if err := p.Error(); err != nil {
		return nil, syntax(err)
	}
	return tables, nil
}

// tomlEnd returns the length of a text without the empty lines and comments at its end, which
// are about what follows.
func tomlEnd(text []byte) int {
	for end := len(text); ; {
		start := lineStart(text, max(0, end-1))
		line := bytes.TrimSpace(text[start:end])
		if start == 0 || len(line) > 0 && line[0] != '#' {
			return end
		}
		end = start
	}
}
