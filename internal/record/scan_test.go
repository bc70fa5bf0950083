package record

import (
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
