package record

import (
	"bytes"
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

var (
	timeType    = reflect.TypeFor[time.Time]()
	secretType  = reflect.TypeFor[secret.String]()
	rawType     = reflect.TypeFor[json.RawMessage]()
	unknownType = reflect.TypeFor[Unknown]()
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
	if r.Version == 0 {
		versioned := *r
		versioned.Version = SchemaVersion
		r = &versioned
	}
	var flat, out bytes.Buffer
	if err := encodeStruct(&flat, reflect.ValueOf(r).Elem()); err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	if err := json.Indent(&out, flat.Bytes(), "", "  "); err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	return out.Bytes(), nil
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
	index  int
	name   string
	omit   bool // leave out the zero value
	base64 bool // a Secret of any bytes
}

// membersOf returns the members of a struct and the index of its Unknown field.
func membersOf(t reflect.Type) (members []member, unknown int) {
	unknown = -1
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Type == unknownType {
			unknown = i
			continue
		}
		if f.Tag.Get("json") == "-" {
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		m := member{index: i, name: name, base64: f.Tag.Get("store") == "base64"}
		for option := range strings.SplitSeq(options, ",") {
			m.omit = m.omit || option == "omitempty" || option == "omitzero"
		}
		members = append(members, m)
	}
	return members, unknown
}

func encodeStruct(b *bytes.Buffer, v reflect.Value) error {
	members, unknown := membersOf(v.Type())
	known := make(map[string]bool, len(members))
	separator := byte('{')
	start := func(name string) {
		b.WriteByte(separator)
		separator = ','
		encodeString(b, name)
		b.WriteByte(':')
	}
	for _, m := range members {
		known[m.name] = true
		field := v.Field(m.index)
		if m.omit && (field.IsZero() || field.Kind() == reflect.Slice && field.Len() == 0) {
			continue
		}
		start(m.name)
		if err := encodeValue(b, field, m); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	if unknown >= 0 {
		others := v.Field(unknown).Interface().(Unknown)
		for _, name := range slices.Sorted(maps.Keys(others)) {
			if known[name] {
				continue
			}
			start(name)
			if err := encodeRaw(b, others[name]); err != nil {
				return fmt.Errorf("unknown member %q: %w", name, err)
			}
		}
	}
	if separator == '{' {
		b.WriteByte('{')
	}
	b.WriteByte('}')
	return nil
}

func encodeValue(b *bytes.Buffer, v reflect.Value, m member) error {
	switch v.Type() {
	case timeType:
		return encodeTime(b, v.Interface().(time.Time))
	case secretType:
		encodeSecret(b, v.Interface().(secret.String).Reveal(), m.base64)
		return nil
	case rawType:
		return encodeRaw(b, v.Bytes())
	}
	switch v.Kind() {
	case reflect.String:
		encodeString(b, v.String())
	case reflect.Bool, reflect.Int, reflect.Uint64:
		fmt.Fprint(b, v.Interface())
	case reflect.Struct:
		return encodeStruct(b, v)
	case reflect.Pointer:
		if v.IsNil() {
			b.WriteString("null")
			return nil
		}
		return encodeStruct(b, v.Elem())
	case reflect.Slice:
		b.WriteByte('[')
		for i := range v.Len() {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := encodeValue(b, v.Index(i), member{}); err != nil {
				return fmt.Errorf("element %d: %w", i, err)
			}
		}
		b.WriteByte(']')
	default:
		return fmt.Errorf("the codec does not know %s", v.Type())
	}
	return nil
}

func encodeString(b *bytes.Buffer, s string) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false) // URLs stay readable
	e.Encode(s)            // a string into a Buffer cannot fail
	b.Truncate(b.Len() - 1)
}

// encodeSecret writes a secret so that no byte of it is lost: one that JSON
// cannot hold as a string becomes an object with the base64 of it.
func encodeSecret(b *bytes.Buffer, s string, inBase64 bool) {
	switch {
	case inBase64:
		encodeString(b, base64.StdEncoding.EncodeToString([]byte(s)))
	case utf8.ValidString(s):
		encodeString(b, s)
	default:
		b.WriteString(`{"base64":`)
		encodeString(b, base64.StdEncoding.EncodeToString([]byte(s)))
		b.WriteByte('}')
	}
}

// RFC 3339 has years of four digits.
var lastTime = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

func encodeTime(b *bytes.Buffer, t time.Time) error {
	t = t.UTC()
	if t.Year() > 9999 {
		t = lastTime
	} else if t.Year() < 1 {
		t = time.Time{}
	}
	text, err := t.MarshalJSON()
	b.Write(text)
	return err
}

func encodeRaw(b *bytes.Buffer, raw json.RawMessage) error {
	if len(raw) == 0 {
		b.WriteString("null")
		return nil
	}
	if !json.Valid(raw) {
		return errors.New("not valid JSON")
	}
	return json.Compact(b, raw)
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
		if err := decodeValue(raw, v.Field(m.index), m, where+"."+m.name); err != nil {
			return err
		}
	}
	if unknown < 0 {
		return nil
	}
	for name, raw := range object {
		object[name] = compact(raw)
	}
	if len(object) > 0 {
		v.Field(unknown).Set(reflect.ValueOf(Unknown(object)))
	}
	return nil
}

func decodeValue(raw json.RawMessage, v reflect.Value, m member, where string) error {
	switch v.Type() {
	case timeType:
		var t time.Time
		if json.Unmarshal(raw, &t) != nil || t.UTC().Year() < 1 || t.UTC().Year() > 9999 {
			return fmt.Errorf("%s is no time", where)
		}
		v.Set(reflect.ValueOf(t.UTC()))
		return nil
	case secretType:
		s, ok := decodeSecret(raw, m.base64)
		if !ok || secret.String(s).IsPlaceholder() {
			return fmt.Errorf("%s is no secret", where)
		}
		v.SetString(s)
		return nil
	case rawType:
		v.SetBytes(compact(raw))
		return nil
	}
	switch v.Kind() {
	case reflect.Struct:
		return decodeStruct(raw, v, where)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return decodeStruct(raw, v.Elem(), where)
	case reflect.Slice:
		var elements []json.RawMessage
		if json.Unmarshal(raw, &elements) != nil {
			return fmt.Errorf("%s is no array", where)
		}
		if len(elements) == 0 {
			return nil
		}
		v.Set(reflect.MakeSlice(v.Type(), len(elements), len(elements)))
		for i, element := range elements {
			if string(element) == "null" {
				return fmt.Errorf("%s[%d] is null", where, i)
			}
			if err := decodeValue(element, v.Index(i), member{}, fmt.Sprintf("%s[%d]", where, i)); err != nil {
				return err
			}
		}
		return nil
	}
	if json.Unmarshal(raw, v.Addr().Interface()) != nil {
		return fmt.Errorf("%s is no %s", where, v.Kind())
	}
	return nil
}

func decodeSecret(raw json.RawMessage, inBase64 bool) (string, bool) {
	var s string
	if !inBase64 && len(raw) > 0 && raw[0] == '{' {
		var object map[string]string
		var ok bool
		if json.Unmarshal(raw, &object) != nil || len(object) != 1 {
			return "", false
		}
		if s, ok = object["base64"]; !ok {
			return "", false
		}
		inBase64 = true
	} else if json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	if !inBase64 {
		return s, true
	}
	decoded, err := base64.StdEncoding.DecodeString(s)
	return string(decoded), err == nil
}

// compact returns a copy of valid JSON without insignificant space.
func compact(raw json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	json.Compact(&b, raw) // raw comes from the JSON decoder
	return b.Bytes()
}
