package prettyjson_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/handstamp/handstamp/internal/prettyjson"
)

func FuzzIndent(f *testing.F) {
	for _, text := range []string{
		`{"a":[],"b":{},"c":[1,-2e3,null,true,[["x"],{"y":{"z":[{}]}}]],"d":"{[,:]}\"\\\\\"","":""}`,
		`[]`, `{}`, `"\\"`, `0`, `[[[[[[[[1]]]]]]]]`, `{"\"":"é😀"}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var compact, want bytes.Buffer
		if json.Compact(&compact, []byte(text)) != nil {
			return
		}
		if err := json.Indent(&want, compact.Bytes(), "", "  "); err != nil {
			t.Fatal(err)
		}
		if got := prettyjson.Indent(compact.Bytes()); string(got) != want.String() {
			t.Errorf("%s, want %s", got, &want)
		}
	})
}
