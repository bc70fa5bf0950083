package secret

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const canary = "c4n4ry-secret"

// TestNothingPrintsIt tries the verbs, nested and by pointer, and the encoders.
func TestNothingPrintsIt(t *testing.T) {
	s := String(canary)
	type holder struct {
		S String
		P *String
		M map[string]String
		L []String
		A any
	}
	h := holder{S: s, P: &s, M: map[string]String{"k": s}, L: []String{s}, A: s}
	var out []string
	for verb := byte('A'); verb <= 'z'; verb++ {
		if verb == 'p' || verb == 'w' {
			continue // fmt asks no method for these
		}
		for _, flags := range []string{"", "+", "#", "-20", "020", " ", ".3"} {
			out = append(out, fmt.Sprintf("%"+flags+string(verb), s), fmt.Sprintf("%"+flags+string(verb), h))
		}
	}
	out = append(out, fmt.Sprint(s, h, &h), errors.Join(fmt.Errorf("x %v", s)).Error())
	for name, encode := range encoders {
		for _, v := range []any{s, &s, holder{S: s}, struct{ S String }{s}, map[string]String{"k": s}} {
			b, err := encode(v)
			if err == nil || strings.Contains(err.Error(), canary) {
				t.Errorf("%s of %T: error %v", name, v, err)
			}
			out = append(out, string(b))
		}
	}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("m", "s", s, "p", &s, "g", slog.GroupValue(slog.Any("s", s)))
	}
	out = append(out, log.String())
	for _, o := range out {
		// A verb that writes hexadecimal digits must not get at it either.
		for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), canary[:3]} {
			if strings.Contains(o, form) {
				t.Errorf("%q shows the secret", o)
			}
		}
	}
	if !strings.Contains(log.String(), redacted) || s.Reveal() != canary {
		t.Error("the secret is not even redacted")
	}
}

func TestEmptyIsNotified(t *testing.T) {
	if got := fmt.Sprintf("%v|%q|%#v|%s", String(""), String(""), String(""), String("")); got != `|""|""|` {
		t.Errorf("an empty secret prints as %s", got)
	}
	if got := fmt.Sprintf("%v|%q|%#v", String("x"), String("x"), String("x")); got != `[redacted]|"[redacted]"|"[redacted]"` {
		t.Errorf("a secret prints as %s", got)
	}
}

// encoders are those of the standard library, each for a way to ask a value for its form.
var encoders = map[string]func(v any) ([]byte, error){
	"json": json.Marshal,
	"xml":  xml.Marshal,
	"gob": func(v any) ([]byte, error) {
		var b bytes.Buffer
		err := gob.NewEncoder(&b).Encode(v)
		return b.Bytes(), err
	},
}

// What holds no secret is encoded, and reads back.
func TestEmptyIsEncoded(t *testing.T) {
	type holder struct {
		Name string
		S    String
	}
	want := holder{Name: "n"}
	b, err := encoders["json"](want)
	var got holder
	if err != nil || json.Unmarshal(b, &got) != nil || got != want {
		t.Errorf("json: %s, %v, %+v", b, err, got)
	}
	b, err = encoders["xml"](want)
	if got = (holder{}); err != nil || xml.Unmarshal(b, &got) != nil || got != want {
		t.Errorf("xml: %s, %v, %+v", b, err, got)
	}
	b, err = encoders["gob"](want)
	if got = (holder{}); err != nil || gob.NewDecoder(bytes.NewReader(b)).Decode(&got) != nil || got != want {
		t.Errorf("gob: %v, %+v", err, got)
	}
}

// What stands for a secret in a log is no secret, and saying so is better than sending it.
func TestPlaceholderIsNotRead(t *testing.T) {
	kept := String("before")
	v := struct{ S *String }{&kept}
	if err := json.Unmarshal([]byte(`{"S":"[redacted]"}`), &v); !errors.Is(err, ErrPlaceholder) || kept != "before" {
		t.Errorf("json: %v, %q", err, kept.Reveal())
	}
	if err := xml.Unmarshal([]byte(`<v><S>[redacted]</S></v>`), &v); !errors.Is(err, ErrPlaceholder) || kept != "before" {
		t.Errorf("xml: %v, %q", err, kept.Reveal())
	}
	if err := kept.UnmarshalBinary([]byte(fmt.Sprint(String(canary)))); !errors.Is(err, ErrPlaceholder) {
		t.Errorf("binary: %v", err)
	}
	for _, good := range []string{"", "redacted", "[redacted] ", "[REDACTED]"} {
		if err := kept.UnmarshalText([]byte(good)); err != nil || kept.Reveal() != good {
			t.Errorf("%q: %v", good, err)
		}
	}
}

func TestDecodes(t *testing.T) {
	var v struct{ S String }
	if err := json.Unmarshal([]byte(`{"S":"`+canary+`"}`), &v); err != nil || v.S.Reveal() != canary {
		t.Errorf("%v, %v", v.S.Reveal(), err)
	}
}
