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

	"github.com/handstamp/handstamp/internal/prettyjson"
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
	e := newEncoder()
	if err := e.encode(reflect.ValueOf(versioned)); err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	return prettyjson.Indent(e.flat.Bytes()), nil
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

// encoder writes values as JSON without space between them.
type encoder struct {
	flat   bytes.Buffer
	leaves *json.Encoder // to flat; with URLs that stay readable
}

func newEncoder() *encoder {
	e := new(encoder)
	e.leaves = json.NewEncoder(&e.flat)
	e.leaves.SetEscapeHTML(false)
	return e
}

func (e *encoder) encode(v reflect.Value) error {
	switch x := v.Interface().(type) {
	case time.Time:
		return e.leaf(inYearsOfJSON(x.UTC()))
	case secret.String:
		if text := x.Reveal(); utf8.ValidString(text) {
			return e.leaf(text)
		}
		return e.leaf(map[string][]byte{"base64": []byte(x.Reveal())}) // no byte of it is lost
	case json.RawMessage:
		if len(x) == 0 {
			e.flat.WriteString("null")
			return nil
		}
	}
	switch kind := v.Kind(); {
	case kind == reflect.Struct:
		return e.object(v)
	case kind == reflect.Pointer && !v.IsNil():
		return e.object(v.Elem())
	case kind == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8:
		return e.array(v)
	}
	return e.leaf(v.Interface())
}

func (e *encoder) array(v reflect.Value) error {
	e.flat.WriteByte('[')
	for i := range v.Len() {
		if i > 0 {
			e.flat.WriteByte(',')
		}
		if err := e.encode(v.Index(i)); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
	}
	e.flat.WriteByte(']')
	return nil
}

func (e *encoder) object(v reflect.Value) error {
	l := layoutOf(v.Type())
	before := byte('{')
	add := func(name string, field reflect.Value) error {
		e.flat.WriteByte(before)
		before = ','
		if err := e.leaf(name); err != nil {
			return err
		}
		e.flat.WriteByte(':')
		if err := e.encode(field); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	for _, m := range l.members {
		field := v.Field(m.index)
		if m.omit && (field.IsZero() || field.Kind() == reflect.Slice && field.Len() == 0) {
			continue
		}
		if err := add(m.name, field); err != nil {
			return err
		}
	}
	if l.unknown >= 0 {
		others := v.Field(l.unknown).Interface().(Unknown)
		for _, name := range slices.Sorted(maps.Keys(others)) {
			if _, known := l.places[name]; known {
				continue
			}
			if err := add(name, reflect.ValueOf(others[name])); err != nil {
				return err
			}
		}
	}
	if before == '{' {
		e.flat.WriteByte('{')
	}
	e.flat.WriteByte('}')
	return nil
}

// leaf writes a value as encoding/json has it.
func (e *encoder) leaf(x any) error {
	if err := e.leaves.Encode(x); err != nil {
		return err
	}
	e.flat.Truncate(e.flat.Len() - len("\n"))
	return nil
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
