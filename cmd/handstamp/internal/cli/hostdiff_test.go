package cli

import (
	"strings"
	"testing"
)

// No line of a diff has what may be a secret, whichever text it is of; what we write is shown.
func TestDiffHasNoSecret(t *testing.T) {
	entry := "{\n  \"m\": {\n    \"new\": {\n      \"args\": [\n        \"https://auth.example/mcp\",\n" +
		"        \"https://a.example/mcp?k=hunter2\"\n      ],\n" +
		"      \"env\": {\n        \"HANDSTAMP_STORE_KEY_FILE\": \"/keys\"\n      }\n    }\n  }\n}\n"
	for name, test := range map[string]struct{ before, after, shown string }{
		"ours":                     {"{}\n", entry, "+        \"HANDSTAMP_STORE_KEY_FILE\": \"/keys\"\n"},
		"ours, a URL":              {"{}\n", entry, "+        \"https://auth.example/mcp\",\n"},
		"ours, a URL with a query": {"{}\n", entry, "+        \"https: …\n"},
		"an entry that gets a comma": {
			"{\"m\": {\n  \"here\": {\"command\": \"x\", \"env\": {\"API_KEY\": \"hunter2\"}}\n}}\n",
			"{\"m\": {\n  \"here\": {\"command\": \"x\", \"env\": {\"API_KEY\": \"hunter2\"}},\n  \"new\": {}\n}}\n",
			"+  \"here\": …\n"},
		"one line": {
			`{"m": {"here": {"env": {"API_KEY": "hunter2"}}}}`, `{"m": {"here": {"env": {"API_KEY": "hunter2"}}, "new": {}}}`,
			"+{\"m\": …\n"},
		"one that comes back": {
			"{\"m\": {\n  \"here\": {}\n}}\n",
			"{\"m\": {\n  \"here\": {\n    \"url\": \"https://u:hunter2@a.example\",\n    \"Authorization\": \"Bearer hunter2\"\n  }\n}}\n",
			"+    \"Authorization\": …\n"},
		"a query": {
			"{\"m\": {}}\n", "{\"m\": {\n  \"here\": {\"url\": \"https://a.example/mcp?k=hunter2\"}\n}}\n", "+  \"here\": …\n"},
		"a flag's value beside it": {
			"{\n  \"args\": [\n    \"--api-key\",\n    \"hunter2\",\n    \"-y\"\n  ]\n}\n",
			"{\n  \"args\": [\n    \"--api-key\",\n    \"hunter2\",\n    \"-n\"\n  ]\n}\n", "     \"--api-key\",\n     …\n-    \"-y\"\n"},
		"a word of it alone":  {"a: 1\nargs:\n  - Bearer hunter2\n", "a: 2\nargs:\n  - Bearer hunter2\n", "   …\n"},
		"another word for it": {"a: 1\nDB_PASS: hunter2\n", "a: 2\nDB_PASS: hunter2\n", " DB_PASS: …\n"},
		"a flag's value on the next line": {"{\n  \"args\": [\"--api-key\",\n    \"hunter2\"],\n  \"a\": 1\n}\n",
			"{\n  \"args\": [\"--api-key\",\n    \"hunter2\"],\n  \"a\": 2\n}\n", "     …\n-  \"a\": 1\n"},
		"a value below": {"{\n\"API_KEY\":\n\"hunter2\",\n\"a\": 1\n}\n", "{\n\"API_KEY\":\n\"hunter2\",\n\"a\": 2\n}\n", " …\n-\"a\": 1\n"},
		"a list": {"{\n  \"tokens\": [\n    \"hunter2\",\n    \"hunter2\"\n  ],\n  \"a\": 1\n}\n",
			"{\n  \"tokens\": [\n    \"hunter2\",\n    \"hunter2\"\n  ],\n  \"a\": 2\n}\n", "     …\n   ],\n-  \"a\": 1\n"},
		"an object far above": {"{\n  \"secrets\": {\n    \"a\": \"hunter2\",\n    \"b\": \"hunter2\",\n    \"c\": \"hunter2\"\n  },\n  \"a\": 1\n}\n",
			"{\n  \"secrets\": {\n    \"a\": \"hunter2\",\n    \"b\": \"hunter2\",\n    \"c\": \"hunter2\"\n  },\n  \"a\": 2\n}\n", "     …\n   },\n"},
		"YAML, a block": {"API_KEY: >- # c\n  hunter2\n\n  hunter2\na: 1\n", "API_KEY: >- # c\n  hunter2\n\n  hunter2\na: 2\n", "   …\n-a: 1\n"},
		"YAML, a list":  {"api_keys:\n- hunter2\n- hunter2\na: 1\n", "api_keys:\n- hunter2\n- hunter2\na: 2\n", " …\n-a: 1\n"},
		"TOML, lines":   {"token = \"\"\"\nhunter2\nhunter2\"\"\"\na = 1\n", "token = \"\"\"\nhunter2\nhunter2\"\"\"\na = 2\n", " …\n-a = 1\n"},
		"TOML":          {"", "[m.here]\nenv = { TOKEN = \"hunter2\" }\n", "+env = …\n"},
	} {
		got := unifiedDiff("file", []byte(test.before), []byte(test.after), entry)
		if strings.Contains(got, "hunter2") || !strings.Contains(got, test.shown) {
			t.Errorf("%s: %s\nwant %q", name, got, test.shown)
		}
	}
}
