package record

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestScannerCutsWhereJSONDoes(t *testing.T) {
	s := jsonScanner{[]byte(" { \"a\\\"}\" : [ \"]\\\\\", {\"b\":[]} ] ,\n\"\\u0062\":-1.5e3\t, \"c\":null,\"\":\"\"} ")}
	if !s.enter('{') {
		t.Fatal("it is an object")
	}
	var parts []string
	for s.more('}') {
		name, value := s.member()
		parts = append(parts, name, string(value))
	}
	want := []string{`a"}`, `[ "]\\", {"b":[]} ]`, "b", "-1.5e3", "c", "null", "", `""`}
	if !slices.Equal(parts, want) {
		t.Errorf("%q, want %q", parts, want)
	}
	list := jsonScanner{[]byte(want[1])}
	if list.enter('{') || !list.enter('[') {
		t.Fatal("it is an array")
	}
	parts = nil
	for list.more(']') {
		parts = append(parts, string(list.value()))
	}
	if want := []string{`"]\\"`, `{"b":[]}`}; !slices.Equal(parts, want) {
		t.Errorf("%q, want %q", parts, want)
	}
	for _, empty := range []string{"[]", "[ \n]"} {
		if list := (jsonScanner{[]byte(empty)}); !list.enter('[') || list.more(']') {
			t.Errorf("%q has an element", empty)
		}
	}
}

// FuzzDecodeString compares with encoding/json.
func FuzzDecodeString(f *testing.F) {
	for _, text := range []string{
		`""`, `"a"`, `"\""`, `"\\"`, `"\/"`, `"\\\""`, `"\n\t\u0041"`, `"a\"b\\c\u00e9"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\\u0041"`,
		"\"\xff\"", "\"\\\"\xff\"", `"é\"ü"`, `{}`, `1`, `null`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !valid(data) || isSpace(data[0]) || isSpace(data[len(data)-1]) {
			t.Skip("no value as the scanner cuts it")
		}
		got, ok := decodeString(data)
		var want *string
		err := json.Unmarshal(data, &want)
		if is := err == nil && want != nil; ok != is || ok && got != *want {
			t.Errorf("%q: %q, %t", data, got, ok)
		}
	})
}
