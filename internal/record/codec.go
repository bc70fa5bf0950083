package record

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/handstamp/handstamp/secret"
)

// Encode returns the record as every durable store keeps it: indented JSON with
// the secrets in the clear and the unknown members in their objects. A Version
// of zero is written as SchemaVersion; a time outside the years that JSON can
// carry is moved to the nearest one inside, since a save must not fail on it.
//
// Decode gives the same record back, except that times are in UTC, JSON
// documents without insignificant space, and strings that are no secrets valid
// UTF-8.
func Encode(r *Record) ([]byte, error) {
	versioned := *r
	versioned.Version = cmp.Or(r.Version, SchemaVersion)
	flat, err := encode(reflect.ValueOf(versioned))
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	var out bytes.Buffer
	err = json.Indent(&out, flat, "", "  ")
	return out.Bytes(), err
}

// A member is a field of a record's struct as its json tag describes it.
type member struct {
	index int
	name  string
	omit  bool // leave out the zero value
}

// layout is what the codec has to know of a struct's type.
type layout struct {
	members []member
	places  map[string]int // of the members, by name
	unknown int            // the index of the Unknown field, or -1
}

// layouts holds the *layout of each type, which takes longer to find out than to use.
var layouts sync.Map

func layoutOf(t reflect.Type) *layout {
	if l, ok := layouts.Load(t); ok {
		return l.(*layout)
	}
	l := &layout{places: make(map[string]int), unknown: -1}
	for i := range t.NumField() {
		f := t.Field(i)
		switch name, options, _ := strings.Cut(f.Tag.Get("json"), ","); {
		case f.Type == reflect.TypeFor[Unknown]():
			l.unknown = i
		case name != "-":
			l.places[name] = len(l.members)
			l.members = append(l.members, member{i, name, strings.HasPrefix(options, "omit")})
		}
	}
	layouts.Store(t, l)
	return l
}

// encode returns a value as JSON.
func encode(v reflect.Value) (json.RawMessage, error) {
	switch x := v.Interface().(type) {
	case time.Time:
		return encodeLeaf(inYearsOfJSON(x.UTC()))
	case secret.String:
		if text := x.Reveal(); utf8.ValidString(text) {
			return encodeLeaf(text)
		}
		return encodeLeaf(map[string][]byte{"base64": []byte(x.Reveal())}) // no byte of it is lost
	case json.RawMessage:
		if len(x) == 0 {
			return json.RawMessage("null"), nil
		}
	}
	switch kind := v.Kind(); {
	case kind == reflect.Struct:
		return encodeStruct(v)
	case kind == reflect.Pointer && !v.IsNil():
		return encodeStruct(v.Elem())
	case kind == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8:
		elements := make([]json.RawMessage, v.Len())
		for i := range elements {
			var err error
			if elements[i], err = encode(v.Index(i)); err != nil {
				return nil, fmt.Errorf("element %d: %w", i, err)
			}
		}
		return encodeLeaf(elements)
	}
	return encodeLeaf(v.Interface())
}

func encodeStruct(v reflect.Value) (json.RawMessage, error) {
	l := layoutOf(v.Type())
	var all []string
	add := func(name string, field reflect.Value) error {
		value, err := encode(field)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		quoted, err := encodeLeaf(name)
		all = append(all, string(quoted)+":"+string(value))
		return err
	}
	for _, m := range l.members {
		field := v.Field(m.index)
		if m.omit && (field.IsZero() || field.Kind() == reflect.Slice && field.Len() == 0) {
			continue
		}
		if err := add(m.name, field); err != nil {
			return nil, err
		}
	}
	if l.unknown >= 0 {
		others := v.Field(l.unknown).Interface().(Unknown)
		for _, name := range slices.Sorted(maps.Keys(others)) {
			if _, known := l.places[name]; known {
				continue
			}
			if err := add(name, reflect.ValueOf(others[name])); err != nil {
				return nil, err
			}
		}
	}
	return json.RawMessage("{" + strings.Join(all, ",") + "}"), nil
}

// encodeLeaf returns a value as encoding/json has it, with URLs that stay readable.
func encodeLeaf(x any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(x)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// RFC 3339 has years of four digits.
var lastTime = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

func inYearsOfJSON(t time.Time) time.Time {
	switch {
	case t.Year() > 9999:
		return lastTime
	case t.Year() < 1:
		return time.Time{}
	}
	return t
}

// Clone returns a copy of the record that shares nothing with it.
func (r *Record) Clone() *Record {
	c := *r
	unshare(reflect.ValueOf(&c).Elem())
	return &c
}

// unshare replaces everything that v refers to by a copy.
func unshare(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		c := reflect.New(v.Type().Elem())
		c.Elem().Set(v.Elem())
		unshare(c.Elem())
		v.Set(c)
	case reflect.Slice:
		if v.IsNil() {
			return
		}
		c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(c, v)
		for i := range c.Len() {
			unshare(c.Index(i))
		}
		v.Set(c)
	case reflect.Map:
		if v.IsNil() {
			return
		}
		c := reflect.MakeMapWithSize(v.Type(), v.Len())
		for key, value := range v.Seq2() {
			element := reflect.New(value.Type()).Elem()
			element.Set(value)
			unshare(element)
			c.SetMapIndex(key, element)
		}
		v.Set(c)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return // a value already
		}
		for i := range v.NumField() {
			unshare(v.Field(i))
		}
	}
}
