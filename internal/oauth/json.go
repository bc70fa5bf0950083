package oauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth is the deepest nesting of a metadata or registration document.
const maxDepth = 32

// object is a JSON object, read more exactly than encoding/json reads one into
// a struct: names are compared byte by byte, repetitions are seen, invalid UTF-8
// is not replaced, and what came before a broken end is kept.
type object struct {
	members  []member
	complete bool // the closing brace was read
}

type member struct {
	name  string
	value json.RawMessage
}

var errNoObject = errors.New("not a JSON object")

// readObject reads the first value in data, which must be an object; a byte
// order mark before it and anything after it are ignored. It fails only if no
// object begins there.
func readObject(data []byte) (object, error) {
	var o object
	dec := json.NewDecoder(bytes.NewReader(trimBOM(data)))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return o, errNoObject
	}
	size := int64(len(trimBOM(data)))
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return o, nil
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return o, nil
		}
		if last := v[len(v)-1]; dec.InputOffset() == size && last >= '0' && last <= '9' {
			return o, nil // a number with the end of the data after it may have had more digits
		}
		o.members = append(o.members, member{name, v})
	}
	t, err := dec.Token()
	o.complete = err == nil && t == json.Delim('}')
	return o, nil
}

// readDocument reads an object that must be whole, with each name once and of
// bounded depth, as documents that decide where secrets go must be.
func readDocument(data []byte) (object, error) {
	o, err := readObject(data)
	if err != nil {
		return o, err
	}
	if !o.complete {
		return o, errors.New("incomplete JSON")
	}
	if !utf8.Valid(data) {
		return o, errors.New("invalid UTF-8")
	}
	if depth(data) > maxDepth {
		return o, errors.New("JSON nested too deeply")
	}
	seen := make(map[string]bool, len(o.members))
	for _, m := range o.members {
		if seen[m.name] {
			return o, errors.New("the member " + strconv.Quote(Sanitize(m.name)) + " twice")
		}
		seen[m.name] = true
	}
	return o, nil
}

// depth returns the deepest nesting of objects and arrays in valid JSON.
func depth(data []byte) int {
	deepest, level, quoted := 0, 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			level++
			deepest = max(deepest, level)
		case c == '}' || c == ']':
			level--
		}
	}
	return deepest
}

// raw returns the last value of a name that is neither null nor an empty string, or nil. An empty
// repetition does not replace an earlier value.
func (o object) raw(name string) json.RawMessage {
	for _, m := range slices.Backward(o.members) {
		if m.name == name && !isBlank(m.value) {
			return m.value
		}
	}
	return nil
}

// has reports whether there is a member of this name, whatever its value.
func (o object) has(name string) bool {
	return slices.ContainsFunc(o.members, func(m member) bool { return m.name == name })
}

// asMap returns the members by their names.
func (o object) asMap() map[string]json.RawMessage {
	members := make(map[string]json.RawMessage, len(o.members))
	for _, m := range o.members {
		members[m.name] = m.value
	}
	return members
}

func isBlank(v json.RawMessage) bool { return len(v) == 0 || v[0] == 'n' || string(v) == `""` }

// text returns a member as text: a string, the digits of a number, or the first
// text in an array; "" for anything else and for invalid UTF-8.
func (o object) text(name string) string { return textOf(o.raw(name)) }

func textOf(v json.RawMessage) string {
	if len(v) == 0 {
		return ""
	}
	switch c := v[0]; {
	case c == '"':
		if !utf8.Valid(v) {
			return ""
		}
		var s string
		if json.Unmarshal(v, &s) != nil {
			return ""
		}
		return s
	case c == '-' || c >= '0' && c <= '9':
		return string(v)
	case c == '[':
		for _, s := range listOf(v) {
			return s
		}
	}
	return ""
}

// list returns a member as a list of texts without empty ones: an array, or a
// single text. It is nil if the member is absent or null, and empty but not nil
// if it is an empty array.
func (o object) list(name string) []string { return listOf(o.raw(name)) }

func listOf(v json.RawMessage) []string {
	if len(v) == 0 {
		return nil
	}
	if v[0] != '[' {
		if s := textOf(v); s != "" {
			return []string{s}
		}
		return nil
	}
	var elements []json.RawMessage
	if json.Unmarshal(v, &elements) != nil {
		return nil
	}
	texts := make([]string, 0, len(elements))
	for _, e := range elements {
		if len(e) > 0 && e[0] != '[' {
			if s := textOf(e); s != "" {
				texts = append(texts, s)
			}
		}
	}
	return texts
}

// flag returns a member as a truth value: true, or "true" as a string.
func (o object) flag(name string) bool {
	v := o.raw(name)
	return string(v) == "true" || strings.EqualFold(textOf(v), "true")
}

// number returns a member as a finite number: a number, or one in a string.
func (o object) number(name string) (float64, bool) {
	v := o.raw(name)
	if len(v) == 0 || v[0] == '[' {
		return 0, false
	}
	s := strings.TrimSpace(textOf(v))
	if s == "" || strings.Trim(s, "0123456789.eE+-") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil && !math.IsInf(n, 0) && !math.IsNaN(n)
}

// checkLinks returns a [*ProtocolError] if a member that holds a URL has another scheme than http
// or https. Such a URL is dangerous wherever it is shown, and a document with one is malicious.
func checkLinks(data []byte, spec string) error {
	dec := json.NewDecoder(bytes.NewReader(trimBOM(data)))
	dec.UseNumber() // a number that no float holds is no mistake here
	var doc any
	if err := dec.Decode(&doc); err != nil {
		return protocolErrorf(spec, "the document is not valid JSON")
	}
	var walk func(name string, v any) error
	walk = func(name string, v any) error {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				if err := walk(k, e); err != nil {
					return err
				}
			}
		case []any:
			for _, e := range v {
				if err := walk(name, e); err != nil {
					return err
				}
			}
		case string:
			if holdsURL(name) && hasForeignScheme(v) {
				err := protocolErrorf(spec, "the document's %s is %q, which is no web address",
					Sanitize(name), Sanitize(v))
				err.Unsafe = true
				return err
			}
		}
		return nil
	}
	return walk("", doc)
}

func holdsURL(name string) bool {
	switch name {
	case "issuer", "authorization_servers", "service_documentation", "resource_documentation":
		return true
	}
	return strings.HasSuffix(name, "_uri") || strings.HasSuffix(name, "_url") || strings.HasSuffix(name, "_endpoint")
}
