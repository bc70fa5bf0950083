package splice

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

type yamlFormat struct{}

func (yamlFormat) parse(text []byte) (any, error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	var document any
	if err := d.Decode(&document); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, syntax(err)
	}
	if d.Decode(new(any)) != io.EOF {
		return nil, unsafe("there is more than one document")
	}
	return document, nil
}

func (yamlFormat) put(text []byte, path []string, name string, value any) ([]byte, error) {
	root, err := openYAML(text)
	if err != nil {
		return nil, err
	}
	end := lineEnd(text)
	section := root.find(path[0])
	if section == nil {
		before := ""
		if len(text) > 0 && text[len(text)-1] != '\n' {
			before = end
		}
		return slices.Concat(text, []byte(before),
			yamlLines("", end, Object{{path[0], Object{{name, value}}}})), nil
	}
	if err := section.block(); err != nil {
		return nil, err
	}
	indent := "  "
	if first := section.first(); first != nil {
		indent = first.indent()
	}
	entry := string(yamlLines(indent, end, Object{{name, value}}))
	if mine := section.find(name); mine != nil {
		return apply(text, cut{mine.start, mine.end(), entry}), nil
	}
	line := nextLine(text, section.start)
	if !bytes.HasSuffix(text[:line], []byte("\n")) {
		entry = end + strings.TrimSuffix(entry, end)
	}
	cuts := []cut{{line, line, entry}}
	if section.empty > 0 {
		before := bytes.TrimRight(text[:section.empty-2], " ")
		cuts = append([]cut{{len(before), section.empty, ""}}, cuts...)
	}
	return apply(text, cuts...), nil
}

func (yamlFormat) remove(text []byte, path []string, name string, prune int) ([]byte, error) {
	root, err := openYAML(text)
	if err != nil {
		return nil, err
	}
	section := root.find(path[0])
	if section == nil {
		return nil, unsafe("%q is not there", name)
	}
	if err := section.block(); err != nil {
		return nil, err
	}
	mine := section.find(name)
	if mine == nil {
		return nil, unsafe("%q is not there", name)
	}
	gone := cut{mine.start, mine.end(), ""}
	if len(section.value.Content) > 2 {
		return apply(text, gone), nil
	}
	if prune > 0 {
		if bytes.ContainsRune(text[section.start:mine.start], '#') {
			return nil, unsafe("a comment would be lost")
		}
		return apply(text, cut{section.start, section.end(), ""}), nil
	}
	colon := section.start + bytes.IndexByte(text[section.start:], ':') + 1
	return apply(text, cut{colon, colon, " {}"}, gone), nil
}

// yamlLines returns an object in block style. Strings are in quotes.
func yamlLines(indent, end string, value Object) []byte {
	var out bytes.Buffer
	for _, m := range value {
		out.WriteString(indent + yamlKey(m.Name) + ":")
		switch v := m.Value.(type) {
		case Object:
			if len(v) == 0 {
				out.WriteString(" {}")
			}
			out.WriteString(end)
			out.Write(yamlLines(indent+"  ", end, v))
		case []string:
			if len(v) == 0 {
				out.WriteString(" []")
			}
			out.WriteString(end)
			for _, item := range v {
				out.WriteString(indent + "  - " + jsonScalar(item) + end)
			}
		default:
			out.WriteString(" " + yamlInline(v) + end)
		}
	}
	return out.Bytes()
}

// yamlInline returns a value on one line: as JSON, which is YAML, unless JSON has no such value.
func yamlInline(value any) string {
	_, isTime := value.(time.Time)
	if _, err := json.Marshal(value); err == nil && !isTime {
		return jsonScalar(value)
	}
	var node yaml.Node
	err := node.Encode(value)
	node.Style = yaml.FlowStyle
	text, err2 := yaml.Marshal(&node)
	if err != nil || err2 != nil {
		panic(errors.Join(err, err2))
	}
	return strings.TrimSpace(string(text))
}

// yamlKey returns a name that is a string in YAML, which has other words for true.
func yamlKey(name string) string {
	var v any
	words := []string{"y", "n", "yes", "no", "on", "off"}
	if yaml.Unmarshal([]byte(name), &v) != nil || v != any(name) ||
		slices.Contains(words, strings.ToLower(name)) {
		return jsonScalar(name)
	}
	return name
}
