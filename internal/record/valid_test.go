package record

import (
	"encoding/json"
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
