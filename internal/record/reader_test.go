package record

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// FuzzValid compares with encoding/json.
func FuzzValid(f *testing.F) {
	for _, text := range []string{
		`{"a":[1,-0.5e+3,true,false,null,"\u00e9\n"]}`, " [ ] ", "{ }", `{"a" : {"b":[{}]} }`, `""`, "0", "-", "01", "1.", ".5", "1e",
		"tru", `"\x"`, `"\u12g4"`, "\"\x01\"", "\"\x1f\"", "\"\x7f\"", "\"\xff\"", `{"a":1,}`, "[1,]", "[,]", `{"a"}`, `{1:2}`, "[1 2]", "", " ", "nullx", "\"",
		`"\`, `"\u12`, "{", "[", "[[]", "\ufeff{}", "1\n\r\t ", "\v1", `"\U0041"`, "1E5", "-0", "[-]", `"\u00C3"`, "\"\\u\x10123\"",
		strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth),
		strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1),
		`{"a":` + strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth-1) + `}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, want := valid(data), json.Valid(data); got != want {
			t.Errorf("%q: %t, want %t", data, got, want)
		}
	})
}

func TestReaderCutsWhereJSONDoes(t *testing.T) {
	r := jsonReader{data: []byte(" { \"a\\\"}\" : [ \"]\\\\\", {\"b\":[]} ] ,\n\"\\u0062\":-1.5e3\t, \"c\":null,\"\":\"\"} ")}
	if r.enter('[') || !r.enter('{') {
		t.Fatal("it is an object")
	}
	var parts []string
	for first := true; r.more('}', first); first = false {
		parts = append(parts, string(r.name()), string(r.value()))
	}
	want := []string{`"a\"}"`, `[ "]\\", {"b":[]} ]`, `"\u0062"`, "-1.5e3", `"c"`, "null", `""`, `""`}
	if !slices.Equal(parts, want) || !r.ended() {
		t.Errorf("%q, want %q", parts, want)
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
