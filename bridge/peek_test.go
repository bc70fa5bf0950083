package bridge

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name, raw  string
		id, method string
		params     string
		result     string
	}{
		{"request", `{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":[1,{"id":2}]}}`, `1`, `"a"`, `{"x":[1,{"id":2}]}`, ""},
		{"spaces", " {\t\"id\" : \"é\\u0031\" , \"method\":\"a\" } ", `"é\u0031"`, `"a"`, "", ""},
		{"big number", `{"id":123456789012345678901234567890,"method":"a"}`, `123456789012345678901234567890`, `"a"`, "", ""},
		{"fraction", `{"id":1.50,"method":"a"}`, `1.50`, `"a"`, "", ""},
		{"null id", `{"id":null,"method":"a"}`, "", `"a"`, "", ""},
		{"last of several", `{"id":1,"id":2,"method":"a"}`, `2`, `"a"`, "", ""},
		{"quotes and brackets in strings", `{"method":"a","params":{"s":"}\"]\\"},"id":3}`, `3`, `"a"`, `{"s":"}\"]\\"}`, ""},
		{"response", `{"id":7,"result":{"a":1}}`, `7`, "", "", `{"a":1}`},
		{"result that is null", `{"id":7,"result":null}`, `7`, "", "", `null`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := parse([]byte(tt.raw))
			if err != nil {
				t.Fatal(err)
			}
			if string(m.id) != tt.id || string(m.method) != tt.method || string(m.params) != tt.params || string(m.result) != tt.result {
				t.Errorf("id %s, method %s, params %s, result %s", m.id, m.method, m.params, m.result)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, raw := range []string{
		"", " ", "{", `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{"a":1}}`, `{"a":1} x`, `{"a":"b}`, `{"a":[1}`, `[1`, `[1}`, `"a"`, "1", "null", `{a:1}`, `{"a" 1}`, `{"a":,}`,
	} {
		if _, err := parse([]byte(raw)); err == nil {
			t.Errorf("%q is taken for JSON", raw)
		}
	}
}

func TestSplice(t *testing.T) {
	for _, tt := range []struct{ object, name, value, want string }{
		{`{}`, "a", "1", `{"a":1}`},
		{`{ }`, "a", "1", `{"a":1 }`},
		{`{"b":2}`, "a", "1", `{"a":1,"b":2}`},
		{`{"a":{"x":[1,2]},"b":2}`, "a", "1", `{"a":1,"b":2}`},
		{`{"b":2, "a" : "x" }`, "a", "1", `{"b":2, "a" : 1 }`},
	} {
		if got := string(set([]byte(tt.object), tt.name, []byte(tt.value))); got != tt.want {
			t.Errorf("set(%s, %s, %s) = %s", tt.object, tt.name, tt.value, got)
		}
	}
	for _, tt := range []struct{ object, name, want string }{
		{`{"a":1}`, "a", `{}`},
		{`{"a":1,"b":2}`, "a", `{"b":2}`},
		{`{"b":2,"a":1}`, "a", `{"b":2}`},
		{`{"b":2 , "a":1 , "c":3}`, "a", `{"b":2 ,  "c":3}`},
		{`{"a":1,"b":2,"a":3}`, "a", `{"b":2}`},
		{`{"b":2}`, "a", `{"b":2}`},
	} {
		if got := string(cut([]byte(tt.object), tt.name)); got != tt.want {
			t.Errorf("cut(%s, %s) = %s", tt.object, tt.name, got)
		}
	}
	if got := string(setAt([]byte(`{"m":1}`), []byte("true"), "params", "_meta", "k")); got != `{"params":{"_meta":{"k":true}},"m":1}` {
		t.Errorf("setAt made %s", got)
	}
}

// FuzzParse holds the peeking against a whole parser: what it finds is what is
// there, and nothing that is JSON is refused.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":[1,{"id":2}]}}`, `[{"id":1}]`, `{"id":"\u0031","result":{}}`,
		"{\n\"id\" :\t-1.5e3,\r\"error\":{\"code\":1}}", `{"a":"\\\"","b":[[],{}],"id":null}`, `{"id":1,"id":2}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := parse(raw)
		if !json.Valid(raw) {
			return
		}
		trimmed := bytes.TrimSpace(raw)
		if trimmed[0] != '{' && trimmed[0] != '[' {
			if err == nil {
				t.Fatal("a scalar is taken for a message")
			}
			return
		}
		if err != nil {
			t.Fatalf("valid JSON is refused: %v", err)
		}
		if m.batch {
			return
		}
		// Names are compared as they are spelt, so a decoder of maps is the
		// judge only where no name is escaped.
		if bytes.ContainsRune(raw, '\\') {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		for name, got := range map[string][]byte{"params": m.params, "result": m.result} {
			if string(got) != string(want[name]) {
				t.Errorf("%s is %q, not %q", name, got, want[name])
			}
		}
		line := oneLine(bytes.Clone(raw))
		if bytes.ContainsAny(line, "\r\n") {
			t.Error("more than one line")
		}
		if compact(raw) != compact(line) {
			t.Errorf("%q became %q", raw, line)
		}
		changed := set(raw, "params", []byte(`"new"`))
		if !json.Valid(changed) || text(member(changed, "params")) != "new" {
			t.Errorf("set made %q", changed)
		}
		if less := cut(raw, "id"); !json.Valid(less) || member(less, "id") != nil {
			t.Errorf("cut left %q", less)
		}
	})
}

// compact returns valid JSON without the spaces between its tokens: numbers that no
// machine type holds have to stay as they are.
func compact(raw []byte) string {
	var b bytes.Buffer
	_ = json.Compact(&b, raw)
	return b.String()
}

func TestHeaderValue(t *testing.T) {
	for in, want := range map[string]string{
		"us-west1":            "us-west1",
		"":                    "",
		"Hello, 世界":           "=?base64?SGVsbG8sIOS4lueVjA==?=",
		" padded ":            "=?base64?IHBhZGRlZCA=?=",
		"line1\nline2":        "=?base64?bGluZTEKbGluZTI=?=",
		"=?base64?literal?=":  "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=",
		"a b":                 "a b",
		"\x7f":                "=?base64?fw==?=",
		"=?base64?only begin": "=?base64?only begin",
	} {
		if got := headerValue(in); got != want {
			t.Errorf("%q becomes %q, not %q", in, got, want)
		}
	}
}

func TestParameterValue(t *testing.T) {
	p := parameter{path: []string{"a", "b"}, header: "X"}
	for arg, want := range map[string]string{
		`"x"`: "x", `true`: "true", `false`: "false", `42`: "42", `-7`: "-7", `42.0`: "42", `1e2`: "100",
		`9007199254740991`: "9007199254740991",
		`9007199254740992`: "-", `1.5`: "-", `null`: "-", `{}`: "-", `[1]`: "-",
	} {
		got, ok := p.value([]byte(`{"name":"t","arguments":{"a":{"b":` + arg + `}}}`))
		if !ok {
			got = "-"
		}
		if got != want {
			t.Errorf("%s becomes %q, not %q", arg, got, want)
		}
	}
	if _, ok := p.value([]byte(`{"name":"t","arguments":{"a":{}}}`)); ok {
		t.Error("an absent argument has a value")
	}
}

func TestAnnotations(t *testing.T) {
	for _, tt := range []struct {
		name, properties string
		headers          string
		bad              bool
	}{
		{"none", `{"a":{"type":"string"}}`, "", false},
		{"one", `{"a":{"type":"string","x-mcp-header":"A"}}`, "A", false},
		{"nested", `{"a":{"type":"object","properties":{"b":{"type":"integer","x-mcp-header":"B"}}}}`, "B", false},
		{"two", `{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"boolean","x-mcp-header":"B"}}`, "A B", false},
		{"the same but for case", `{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"boolean","x-mcp-header":"a"}}`, "", true},
		{"empty", `{"a":{"type":"string","x-mcp-header":""}}`, "", true},
		{"no text", `{"a":{"type":"string","x-mcp-header":1}}`, "", true},
		{"space", `{"a":{"type":"string","x-mcp-header":"A B"}}`, "", true},
		{"line end", `{"a":{"type":"string","x-mcp-header":"A\r\nB"}}`, "", true},
		{"number", `{"a":{"type":"number","x-mcp-header":"A"}}`, "", true},
		{"object", `{"a":{"type":"object","x-mcp-header":"A"}}`, "", true},
		{"in items", `{"a":{"type":"array","items":{"type":"string","x-mcp-header":"A"}}}`, "", true},
		{"in oneOf", `{"a":{"oneOf":[{"type":"string","x-mcp-header":"A"}]}}`, "", true},
		{"a property of that name", `{"x-mcp-header":{"type":"string"}}`, "", false},
		{"in data", `{"a":{"type":"string","default":{"x-mcp-header":"A"}}}`, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found, err := annotations([]byte(`{"name":"t","inputSchema":{"type":"object","properties":` + tt.properties + `}}`))
			var names []string
			for _, p := range found {
				names = append(names, p.header)
			}
			if (err != nil) != tt.bad || !tt.bad && strings.Join(names, " ") != tt.headers {
				t.Errorf("%v, %v", names, err)
			}
		})
	}
}
