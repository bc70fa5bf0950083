package secret

import (
	"bytes"
	"encoding/json"
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
	for _, v := range []any{s, &s, h} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
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

func TestEmptyIsTold(t *testing.T) {
	if got := fmt.Sprintf("%v|%q|%#v|%s", String(""), String(""), String(""), String("")); got != `|""|""|` {
		t.Errorf("an empty secret prints as %s", got)
	}
	if got := fmt.Sprintf("%v|%q|%#v", String("x"), String("x"), String("x")); got != `[redacted]|"[redacted]"|"[redacted]"` {
		t.Errorf("a secret prints as %s", got)
	}
}

func TestDecodes(t *testing.T) {
	var v struct{ S String }
	if err := json.Unmarshal([]byte(`{"S":"`+canary+`"}`), &v); err != nil || v.S.Reveal() != canary {
		t.Errorf("%v, %v", v.S.Reveal(), err)
	}
}
