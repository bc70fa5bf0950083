package record

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
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

// decode decodes into a zero record.
func (r *Record) decode(data []byte) error {
	values := &jsonReader{data: data}
	bad := decodeStruct(values, reflect.ValueOf(r).Elem())
	if !values.ended() {
		*r = Record{} // whose version means nothing
		bad = &misfit{problem: "is no JSON object"}
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

// decodeStruct decodes an object into a zero struct: all of it, since the version may come after a
// part that is not what it has to be. Of two members of a name, which both have to fit, the last
// counts.
func decodeStruct(values *jsonReader, v reflect.Value) (bad *misfit) {
	if !values.enter('{') {
		values.value()
		return &misfit{problem: "is no JSON object"}
	}
	l := layoutOf(v.Type())
	i := -1 // of the member before
	for first := true; values.more('}', first); first = false {
		name := values.name()
		place, known := l.place(name[1:len(name)-1], i+1)
		if !known { // or with escapes
			unescaped, _ := decodeString(name)
			if place, known = l.places[unescaped]; !known {
				l.keepUnknown(v, unescaped, values.value())
				continue
			}
		}
		i = place
		field := v.Field(l.members[i].index)
		field.SetZero()
		if values.null() {
			continue
		}
		if wrong := decode(values, field); wrong != nil && bad == nil {
			bad = wrong.in("." + l.members[i].name)
		}
	}
	return bad
}

// place returns the place of a member by its name. It looks from a place on first, since members come
// in the order in which Encode writes them.
func (l *layout) place(name []byte, from int) (place int, known bool) {
	for i := from; i < len(l.members); i++ {
		if l.members[i].name == string(name) {
			return i, true
		}
	}
	place, known = l.places[string(name)]
	return place, known
}

// keepUnknown keeps a member that the struct does not know.
func (l *layout) keepUnknown(v reflect.Value, name string, value []byte) {
	if l.unknown < 0 {
		return
	}
	unknown := v.Field(l.unknown).Addr().Interface().(*Unknown)
	if *unknown == nil {
		*unknown = make(Unknown)
	}
	(*unknown)[name] = compact(value)
}

var (
	timeType   = reflect.TypeFor[time.Time]()
	secretType = reflect.TypeFor[secret.String]()
	rawType    = reflect.TypeFor[json.RawMessage]()
)

// decode decodes into a zero value.
func decode(values *jsonReader, v reflect.Value) *misfit {
	switch v.Type() {
	case timeType:
		x := v.Addr().Interface().(*time.Time)
		if x.UnmarshalJSON(values.value()) != nil || !x.Equal(inYearsOfJSON(x.UTC())) {
			return &misfit{problem: "is no time"}
		}
		*x = x.UTC()
		return nil
	case secretType:
		text, ok := decodeSecret(values.value())
		v.SetString(text)
		if !ok || secret.String(text).IsPlaceholder() {
			return &misfit{problem: "is no secret"}
		}
		return nil
	case rawType:
		v.SetBytes(compact(values.value()))
		return nil
	}
	switch v.Kind() {
	case reflect.Struct:
		return decodeStruct(values, v)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return decodeStruct(values, v.Elem())
	case reflect.Slice:
		return decodeSlice(values, v)
	}
	if !decodeLeaf(values.value(), v) {
		return &misfit{problem: "is no " + v.Kind().String()}
	}
	return nil
}

// decodeLeaf decodes a value that is neither an object nor an array.
func decodeLeaf(raw []byte, v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		text, ok := decodeString(raw)
		v.SetString(text)
		return ok
	case reflect.Bool:
		v.SetBool(string(raw) == "true")
		return v.Bool() || string(raw) == "false"
	case reflect.Int:
		n, err := strconv.ParseInt(string(raw), 10, strconv.IntSize)
		v.SetInt(n)
		return err == nil
	}
	return json.Unmarshal(raw, v.Addr().Interface()) == nil
}

func decodeSlice(values *jsonReader, v reflect.Value) (bad *misfit) {
	if !values.enter('[') {
		values.value()
		return &misfit{problem: "is no array"}
	}
	for i := 0; values.more(']', i == 0); i++ {
		v.Grow(1)
		v.SetLen(i + 1)
		wrong := &misfit{problem: "is null"}
		if !values.null() {
			wrong = decode(values, v.Index(i))
		}
		if wrong != nil && bad == nil {
			bad = wrong.in(fmt.Sprintf("[%d]", i))
		}
	}
	return bad
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
	begin := 0
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '"':
			inString := jsonReader{data: raw, at: i}
			inString.text()
			i = inString.at - 1
		case isSpace(c):
			compacted = append(compacted, raw[begin:i]...)
			begin = i + 1
		}
	}
	return append(compacted, raw[begin:]...)
}
