package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretIsNotSeen(t *testing.T) {
	const value = "hush-hush"
	s := Secret(value)
	holder := struct {
		S Secret
		P *Secret
		M map[string]Secret
		A []any
	}{s, &s, map[string]Secret{"k": s}, []any{s, &s}}

	var seen bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10s", "%-20v", "% x", "%#q", "%U"} {
		fmt.Fprintf(&seen, verb+" "+verb+"\n", s, holder)
	}
	fmt.Fprintln(&seen, s, holder, fmt.Errorf("failed with %v", s))
	for _, handler := range []slog.Handler{slog.NewTextHandler(&seen, nil), slog.NewJSONHandler(&seen, nil)} {
		slog.New(handler).Info("message", "secret", s, "holder", holder, "list", []Secret{s})
	}
	if err := json.NewEncoder(&seen).Encode(holder); err == nil {
		t.Error("a secret was encoded")
	}
	for _, form := range []string{value, fmt.Sprintf("%x", value), fmt.Sprintf("%X", value), fmt.Sprintf("% x", value)} {
		if strings.Contains(seen.String(), form) {
			t.Errorf("%q is to be seen in\n%s", form, seen.String())
		}
	}
	if !strings.Contains(seen.String(), "[redacted]") {
		t.Error("nothing is redacted")
	}
	if s.Reveal() != value {
		t.Errorf("Reveal = %q", s.Reveal())
	}
	if Secret("").String() != "" {
		t.Error("no secret looks like one")
	}
}

func TestSecretIsRead(t *testing.T) {
	var got struct{ Token Secret }
	if err := json.Unmarshal([]byte(`{"token":"hush"}`), &got); err != nil {
		t.Fatal(err)
	}
	if got.Token.Reveal() != "hush" {
		t.Errorf("read as %q", got.Token.Reveal())
	}
}
