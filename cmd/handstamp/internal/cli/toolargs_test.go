package cli

import (
	"encoding/json"
	"testing"
)

func TestToolArguments(t *testing.T) {
	for schema, want := range map[string]string{
		`{}`:                                "",
		`{"type":"object","properties":{}}`: "",
		`{"properties":{"b":{"type":"integer"},"a":{"type":"string"},"c":{}},"required":["b"]}`:           "b integer, a string (optional), c (optional)",
		`{"properties":{"z":{"type":["string","null"]},"y":{"type":"array"}},"required":["z","unknown"]}`: "z string|null, y array (optional)",
		`{"properties":{"x\u001b[2J":{"type":"string\n"}}}`:                                               "x\ufffd[2J string  (optional)",
	} {
		var one tool
		if err := json.Unmarshal([]byte(schema), &one.InputSchema); err != nil {
			t.Fatal(err)
		}
		if got := one.arguments(); got != want {
			t.Errorf("%s is shown as %q, want %q", schema, got, want)
		}
	}
}
