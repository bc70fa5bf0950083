package record

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"
	"unicode/utf8"

	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/sealed"
)

// Decode reads what Encode wrote, in this version or a newer one: members it
// does not know go to the Unknown of their object, and the Version tells
// whether the record may be replaced. Names are compared exactly; null is the
// same as absent. Anything else that Encode cannot have written gives an error
// that wraps store.ErrCorrupt and shows nothing of the data; or ErrNewer, if the data
// says that it is of a version that may well have written it; or the error of
// sealed.NeedsKey for a record that is sealed.
func Decode(data []byte) (*Record, error) {
	r := new(Record)
	err := r.decode(data)
	if err == nil && (r.Version < 1 || r.Key.Server == "") {
		err = errors.New("it has no version or no key")
	}
	if err == nil {
		return r, nil
	}
	if sealedErr := sealed.NeedsKey(data); sealedErr != nil {
		return nil, sealedErr
	}
	return nil, r.unreadable(err)
}

// decode decodes into a zero record. That the data is JSON is found out once for all of it.
func (r *Record) decode(data []byte) error {
	bad := &misfit{problem: "is no JSON object"}
	if valid(data) {
		bad = decodeStruct(data, reflect.ValueOf(r).Elem())
	}
	if bad == nil {
		return nil
	}
	return bad
}

// misfit is a part of a record that is not what it has to be.
type misfit struct {
	place   string // in the record: ".clients[0].client_id"
	problem string
}

func (m *misfit) Error() string { return "record" + m.place + " " + m.problem }

// in returns m as it is seen from the object or the array around it.
func (m *misfit) in(place string) *misfit { return &misfit{place + m.place, m.problem} }

// unreadable returns the error for a record that is not used for a reason.
func (r *Record) unreadable(reason error) error {
	if r.Version > SchemaVersion {
		return fmt.Errorf("%w and cannot be read: %w", ErrNewer, reason)
	}
	return fmt.Errorf("%w: %w", store.ErrCorrupt, reason)
}

// decodeStruct decodes an object into a zero struct, in the order of the struct's fields: the
// version comes first.
func decodeStruct(data []byte, v reflect.Value) *misfit {
	values := jsonScanner{data}
	if !values.enter('{') {
		return &misfit{problem: "is no JSON object"}
	}
	l := layoutOf(v.Type())
	known := make([][]byte, len(l.members))
	var others Unknown
	for values.more('}') {
		name, raw := values.member()
		if i, ok := l.places[name]; ok {
			known[i] = raw
		} else if l.unknown >= 0 {
			if others == nil {
				others = make(Unknown)
			}
			others[name] = compact(raw)
		}
	}
	for i, m := range l.members {
		if known[i] == nil || string(known[i]) == "null" {
			continue
		}
		if bad := decode(known[i], v.Field(m.index)); bad != nil {
			return bad.in("." + m.name)
		}
	}
	if others != nil {
		v.Field(l.unknown).Set(reflect.ValueOf(others))
	}
	return nil
}

// decode decodes into a zero value.
func decode(raw json.RawMessage, v reflect.Value) *misfit {
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		if x.UnmarshalJSON(raw) != nil || !x.Equal(inYearsOfJSON(x.UTC())) {
			return &misfit{problem: "is no time"}
		}
		*x = x.UTC()
		return nil
	case *secret.String:
		s, ok := decodeSecret(raw)
		if *x = secret.String(s); !ok || x.IsPlaceholder() {
			return &misfit{problem: "is no secret"}
		}
		return nil
	case *json.RawMessage:
		*x = compact(raw)
		return nil
	}
	switch v.Kind() {
	case reflect.Struct:
		return decodeStruct(raw, v)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return decodeStruct(raw, v.Elem())
	case reflect.Slice:
		return decodeSlice(raw, v)
	case reflect.String:
		if text, ok := decodeString(raw); ok {
			v.SetString(text)
			return nil
		}
	case reflect.Bool:
		if text := string(raw); text == "true" || text == "false" {
			v.SetBool(text == "true")
			return nil
		}
	default:
		if json.Unmarshal(raw, v.Addr().Interface()) == nil {
			return nil
		}
	}
	return &misfit{problem: "is no " + v.Kind().String()}
}

func decodeSlice(raw json.RawMessage, v reflect.Value) *misfit {
	values := jsonScanner{raw}
	if !values.enter('[') {
		return &misfit{problem: "is no array"}
	}
	for i := 0; values.more(']'); i++ {
		element := values.value()
		place := func() string { return fmt.Sprintf("[%d]", i) }
		if string(element) == "null" {
			return &misfit{place(), "is null"}
		}
		decoded := reflect.New(v.Type().Elem()).Elem()
		if bad := decode(element, decoded); bad != nil {
			return bad.in(place())
		}
		v.Set(reflect.Append(v, decoded))
	}
	return nil
}

// decodeString reads a string as encoding/json does.
func decodeString(raw json.RawMessage) (text string, ok bool) {
	if raw[0] != '"' {
		return "", false
	}
	if inner := raw[1 : len(raw)-1]; utf8.Valid(inner) {
		if text, ok := unescape(inner); ok {
			return text, true
		}
	}
	return text, json.Unmarshal(raw, &text) == nil
}

// unescape returns the text of a string whose escapes are those of JSON within a string; others are
// rare.
func unescape(inner []byte) (text string, ok bool) {
	at := bytes.IndexByte(inner, '\\')
	if at < 0 {
		return string(inner), true
	}
	unescaped := make([]byte, 0, len(inner))
	for ; at >= 0; at = bytes.IndexByte(inner, '\\') {
		c := inner[at+1]
		if c != '"' && c != '\\' && c != '/' {
			return "", false
		}
		unescaped = append(append(unescaped, inner[:at]...), c)
		inner = inner[at+2:]
	}
	return string(append(unescaped, inner...)), true
}

// decodeSecret reads a string, or the object with the base64 of one that is not valid UTF-8.
func decodeSecret(raw json.RawMessage) (text string, ok bool) {
	if text, ok := decodeString(raw); ok {
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
	compacted := make(json.RawMessage, 0, len(raw))
	for len(raw) > 0 {
		n := 1
		if raw[0] == '"' {
			n = stringLength(raw)
		}
		if !isSpace(raw[0]) {
			compacted = append(compacted, raw[:n]...)
		}
		raw = raw[n:]
	}
	return compacted
}
