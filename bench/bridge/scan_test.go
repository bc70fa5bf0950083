package main

import "testing"

func TestMember(t *testing.T) {
	for _, test := range []struct{ object, name, want string }{
		{`{"id":7,"method":"ping"}`, "id", `7`},
		{` { "method" : "ping" , "id" : "a,b" } `, "id", `"a,b"`},
		{`{"params":{"id":1,"list":[{"id":2},"]"]},"id":3}`, "id", `3`},
		{`{"text":"a \"quote\" and \\","id":4}`, "id", `4`},
		{`{"text":"\\\\\"","id":5}`, "text", `"\\\\\""`},
		{`{"a":[],"b":{},"c":null,"d":-1.5e3}`, "d", `-1.5e3`},
		{`{"a":{}}`, "a", `{}`},
		{`{}`, "id", ``},
		{`[{"id":1}]`, "id", ``},
		{``, "id", ``},
		{`{"id`, "id", ``},
		{`{"id":`, "id", ``},
		{`{"a":"\`, "id", ``},
	} {
		if got := string(member([]byte(test.object), test.name)); got != test.want {
			t.Errorf("member(%s, %s) = %q, want %q", test.object, test.name, got, test.want)
		}
	}
}
