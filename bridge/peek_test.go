package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"unicode/utf8"
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

func TestParseRejects(t *testing.T) {
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

// FuzzParse holds the peeking against a whole parser: it takes what that takes, and
// what it finds is what is there. The reference is a map, as a struct would take names in
// any case.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":[1,{"id":2}]}}`, `[{"id":1}]`, `{"id":"\u0031","result":{}}`,
		"{\n\"id\" :\t-1.5e3,\r\"error\":{\"code\":1}}", `{"a":"\\\"","b":[[],{}],"id":null}`, `{"id":1,"id":2}`,
		`{"\u0069d":1,"ID":2,"Id":3,"method":"tools\/call","p\u0061rams":{"n\u0061me":"x","Name":"y"},"\u0070arams":null}`,
		`{"x":NaN}`, `{"x":01}`, `{"x":1.}`, `{"x":-}`, `{"x":1e}`, `{"x":"\x"}`, `{"x":"\u12g4"}`, "{\"x\":\"\t\"}", `{"x":tru}`, `[[[[]]]`, `[1,]`, `{"x":1,}`,
		"\xEF\xBB\xBF{}", "{\"\xff\":\"\xed\xa0\x80\"}", `{"params":{"name":1},"params":[]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := parse(raw)
		raw = bytes.TrimPrefix(raw, []byte("\xEF\xBB\xBF"))
		trimmed := bytes.TrimLeft(raw, " \t\r\n")
		want := json.Valid(raw) && len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[')
		if (err == nil) != want {
			t.Fatalf("%q: %v", raw, err)
		}
		if err != nil {
			return
		}
		if m.mangled == utf8.Valid(raw) {
			t.Errorf("%q is mangled: %v", raw, m.mangled)
		}
		if m.batch {
			return
		}
		checkMembers(t, raw, m)
		// The lenient look finds the same, where it finds anything.
		g := glimpseOf(raw)
		if id := m.id; id != nil && m.twice != "id" && validID(id) && len(id) < longestGlimpse && string(g.id) != string(id) || m.id == nil && g.id != nil {
			t.Errorf("the lenient look finds the id %q, not %q", g.id, id)
		}
		if g.method != (m.seen&hasMethod != 0) || g.outcome != (m.error != nil || m.result != nil && string(m.result) != "null") && m.twice == "" {
			t.Errorf("the lenient look finds a method: %v, an outcome: %v", g.method, g.outcome)
		}
		line := bytes.Clone(raw)
		if oneLine(line); bytes.ContainsAny(line, "\r\n") {
			t.Error("more than one line")
		}
		if compact(raw) != compact(line) {
			t.Errorf("%q became %q", raw, line)
		}
		changed := set(raw, "params", []byte(`"new"`))
		if !json.Valid(changed) || text(member(changed, "params")) != "new" || bytes.Count(cut(changed, "params"), []byte(`"new"`)) != bytes.Count(cut(raw, "params"), []byte(`"new"`)) {
			t.Errorf("set made %q", changed)
		}
		if less := cut(raw, "id"); !json.Valid(less) || member(less, "id") != nil {
			t.Errorf("cut left %q", less)
		}
	})
}

// checkMembers compares what was found in a message with what a decoder finds.
func checkMembers(t *testing.T, raw []byte, m *message) {
	t.Helper()
	var want, params map[string]json.RawMessage
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal(want["params"], &params)
	for name, got := range map[string][]byte{"params": m.params, "result": m.result, "jsonrpc": m.version} {
		if string(got) != string(want[name]) {
			t.Errorf("%s is %q, not %q", name, got, want[name])
		}
	}
	for name, got := range map[string][]byte{"name": m.target, "_meta": m.meta} {
		if string(got) != string(params[name]) {
			t.Errorf("%s is %q, not %q", name, got, params[name])
		}
	}
	for name, got := range map[string][]byte{"id": m.id, "error": m.error} {
		if w := string(want[name]); w != "null" && string(got) != w || w == "null" && got != nil {
			t.Errorf("%s is %q, not %q", name, got, w)
		}
	}
	var method string
	if json.Unmarshal(want["method"], &method) != nil {
		method = ""
	}
	if got := string([]rune(m.name())); got != method || m.method != nil && !m.mangled && !m.is(method) {
		t.Errorf("method is %q, not %q", m.name(), method)
	}
}

// FuzzHeard puts anything into the place of a server's message: what the host would
// get is valid, in one line, and means the same to any reader.
func FuzzHeard(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":1,"result":{},"error":null}`, `{"id":1,"result":1,"result":2}`, "{\"id\":\"\xe2\x82\",\"method\":null,\"error\":{}}",
		`{"jsonrpc":2.0,"id":1,"result":null,"error":null}`, "\xEF\xBB\xBF {\n\"jsonrpc\":\"1.0\",\"method\":\"x\",\"result\":null}\n",
		`{"jsonrpc":"2.0","id":1,"result":{},"error":{}}`, `[{"id":1,"result":0},[1]]`,
		`{"jsonrpc":"2.0","method":"x","params":null,"id":null}`, `{"id":1,"params":null,"result":{"a":1,"_meta":null}}`,
		`{"jsonrpc":"2.0","method":"x","id":null,"params":{"_meta":1,"\u005fmeta":null,"a":null},"error":{"code":1,"message":""}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		valid := json.Valid(raw) && utf8.Valid(raw)
		m, err := readMessage(bytes.Clone(raw))
		if err != nil {
			if valid && !errors.Is(err, errBoth) && !errors.Is(err, errError) && bytes.ContainsAny(raw[:1], "{[") {
				t.Errorf("%q is rejected: %v", raw, err)
			}
			return
		}
		if !json.Valid(m.raw) || !utf8.Valid(m.raw) || bytes.ContainsAny(m.raw, "\r\n") {
			t.Fatalf("%q became %q", raw, m.raw)
		}
		if m.batch {
			return
		}
		if text(m.version) != "2.0" || m.seen&hasResult != 0 && m.seen&hasError != 0 {
			t.Errorf("%q became %q", raw, m.raw)
		}
		if m.twice != "" && m.twice != nameOfTarget {
			t.Errorf("%q became %q", raw, m.raw)
		}
		if string(m.params) == "null" || m.nullMeta != 0 || m.notification() && m.seen&hasID != 0 && !m.outcome() {
			t.Errorf("%q became %q", raw, m.raw)
		}
		checkMembers(t, m.raw, m)
		var before, after map[string]json.RawMessage
		if !valid || json.Unmarshal(raw, &before) != nil || json.Unmarshal(m.raw, &after) != nil {
			return
		}
		for name, value := range after {
			if name != "jsonrpc" && compact(value) != compact(before[name]) && !lacksNullMeta(value, before[name]) {
				t.Errorf("%s of %q became %q", name, raw, value)
			}
		}
	})
}

// lacksNullMeta reports whether an object is another one without its _meta, which is null.
func lacksNullMeta(object, other []byte) bool {
	var got, want map[string]json.RawMessage
	if json.Unmarshal(object, &got) != nil || json.Unmarshal(other, &want) != nil || string(want["_meta"]) != "null" {
		return false
	}
	delete(want, "_meta")
	return maps.EqualFunc(got, want, func(a, b json.RawMessage) bool { return compact(a) == compact(b) })
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
