package record

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
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

// Decode reads what Encode wrote, in this version or a newer one: members it
// does not know go to the Unknown of their object, and the Version tells
// whether the record may be replaced. Names are compared exactly; null is the
// same as absent. Anything else that Encode cannot have written gives an error
// that wraps store.ErrCorrupt and shows nothing of the data; or ErrNewer, if the data
// says that it is of a version that may well have written it.
func Decode(data []byte) (*Record, error) {
	r := new(Record)
	err := decodeStruct(data, reflect.ValueOf(r).Elem(), "record")
	if err == nil && (r.Version < 1 || r.Key.Server == "") {
		err = errors.New("it has no version or no key")
	}
	if err != nil {
		return nil, r.unreadable(err)
	}
	return r, nil
}

// unreadable returns the error for a record that is not used for a reason.
func (r *Record) unreadable(reason error) error {
	if r.Version > SchemaVersion {
		return fmt.Errorf("%w and cannot be read: %w", ErrNewer, reason)
	}
	return fmt.Errorf("%w: %w", store.ErrCorrupt, reason)
}

// A member is a field of a record's struct as its json tag describes it.
type member struct {
	index int
	name  string
	omit  bool // leave out the zero value
}

// membersOf returns the members of a struct and the index of its Unknown field.
func membersOf(t reflect.Type) (members []member, unknown int) {
	unknown = -1
	for i := range t.NumField() {
		f := t.Field(i)
		switch name, options, _ := strings.Cut(f.Tag.Get("json"), ","); {
		case f.Type == reflect.TypeFor[Unknown]():
			unknown = i
		case name != "-":
			members = append(members, member{i, name, strings.HasPrefix(options, "omit")})
		}
	}
	return members, unknown
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
	members, unknown := membersOf(v.Type())
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
	known := make(map[string]bool, len(members))
	for _, m := range members {
		known[m.name] = true
		field := v.Field(m.index)
		if m.omit && (field.IsZero() || field.Kind() == reflect.Slice && field.Len() == 0) {
			continue
		}
		if err := add(m.name, field); err != nil {
			return nil, err
		}
	}
	if unknown >= 0 {
		others := v.Field(unknown).Interface().(Unknown)
		for _, name := range slices.Sorted(maps.Keys(others)) {
			if known[name] {
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

// decodeStruct decodes into a zero struct. where names the object in errors.
func decodeStruct(data []byte, v reflect.Value, where string) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil || object == nil {
		return fmt.Errorf("%s is no JSON object", where)
	}
	members, unknown := membersOf(v.Type())
	for _, m := range members {
		raw, ok := object[m.name]
		delete(object, m.name)
		if !ok || string(raw) == "null" {
			continue
		}
		if err := decode(raw, v.Field(m.index), where+"."+m.name); err != nil {
			return err
		}
	}
	for name, raw := range object {
		object[name] = compact(raw)
	}
	if unknown >= 0 && len(object) > 0 {
		v.Field(unknown).Set(reflect.ValueOf(Unknown(object)))
	}
	return nil
}

// decode decodes into a zero value.
func decode(raw json.RawMessage, v reflect.Value, where string) error {
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		if json.Unmarshal(raw, x) != nil || !x.Equal(inYearsOfJSON(x.UTC())) {
			return fmt.Errorf("%s is no time", where)
		}
		*x = x.UTC()
		return nil
	case *secret.String:
		s, ok := decodeSecret(raw)
		if *x = secret.String(s); !ok || x.IsPlaceholder() {
			return fmt.Errorf("%s is no secret", where)
		}
		return nil
	case *json.RawMessage:
		*x = compact(raw)
		return nil
	}
	switch v.Kind() {
	case reflect.Struct:
		return decodeStruct(raw, v, where)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return decodeStruct(raw, v.Elem(), where)
	case reflect.Slice:
		return decodeSlice(raw, v, where)
	}
	if json.Unmarshal(raw, v.Addr().Interface()) != nil {
		return fmt.Errorf("%s is no %s", where, v.Kind())
	}
	return nil
}

func decodeSlice(raw json.RawMessage, v reflect.Value, where string) error {
	var elements []json.RawMessage
	if json.Unmarshal(raw, &elements) != nil {
		return fmt.Errorf("%s is no array", where)
	}
	if len(elements) > 0 {
		v.Set(reflect.MakeSlice(v.Type(), len(elements), len(elements)))
	}
	for i, element := range elements {
		place := fmt.Sprintf("%s[%d]", where, i)
		if string(element) == "null" {
			return fmt.Errorf("%s is null", place)
		}
		if err := decode(element, v.Index(i), place); err != nil {
			return err
		}
	}
	return nil
}

// decodeSecret reads a string, or the object with the base64 of one that is not valid UTF-8.
func decodeSecret(raw json.RawMessage) (text string, ok bool) {
	if json.Unmarshal(raw, &text) == nil {
		return text, true
	}
	var object map[string]string
	if json.Unmarshal(raw, &object) != nil || len(object) != 1 {
		return "", false
	}
	encoded, ok := object["base64"]
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	return string(decoded), ok && err == nil
}

// compact returns a copy of valid JSON without insignificant space.
func compact(raw json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	json.Compact(&b, raw) // raw comes from the JSON decoder
	return b.Bytes()
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
