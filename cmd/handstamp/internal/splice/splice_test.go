package splice

import (
	"errors"
	"strings"
	"testing"
)

var entry = Object{
	{"command", "/opt/handstamp"}, {"args", []string{"bridge", "https://mcp.example.com/mcp"}},
	{"env", Object{{"HANDSTAMP_HOME", "/srv/ü \"x\""}}},
}

// What is put in comes out again, and every other byte stays: comments, order, indentation,
// line ends, byte order mark, a missing line end.
func TestPutRemove(t *testing.T) {
	for name, test := range map[string]struct {
		format Format
		path   []string
		text   string
		prune  int
		want   string // of Put; "" is not compared
		lossy  string // of Remove, where white space around nothing is not kept
	}{
		"object": {JSON, []string{"mcpServers"}, "{\n  \"mcpServers\": {\n    \"a\": {\"url\": \"u\"}\n  },\n  \"z\": 1\n}\n", 0,
			"{\n  \"mcpServers\": {\n    \"a\": {\"url\": \"u\"},\n    \"new\": {\n      \"command\": \"/opt/handstamp\",\n      \"args\": [\n        \"bridge\",\n        \"https://mcp.example.com/mcp\"\n      ],\n      \"env\": {\n        \"HANDSTAMP_HOME\": \"/srv/ü \\\"x\\\"\"\n      }\n    }\n  },\n  \"z\": 1\n}\n", ""},
		"tabs":                 {JSON, []string{"servers"}, "{\n\t\"inputs\": [],\n\t\"servers\": {\n\t\t\"a\": {}\n\t}\n}", 0, "", ""},
		"tabs, empty":          {JSON, []string{"servers"}, "{\n\t\"inputs\": [],\n\t\"servers\": {}\n}", 0, "{\n\t\"inputs\": [],\n\t\"servers\": {\n\t\t\"new\": {\n\t\t\t\"command\": \"/opt/handstamp\",\n\t\t\t\"args\": [\n\t\t\t\t\"bridge\",\n\t\t\t\t\"https://mcp.example.com/mcp\"\n\t\t\t],\n\t\t\t\"env\": {\n\t\t\t\t\"HANDSTAMP_HOME\": \"/srv/ü \\\"x\\\"\"\n\t\t\t}\n\t\t}\n\t}\n}", ""},
		"one line":             {JSON, []string{"m"}, `{"m":{"a":{"url":"u"}}}`, 0, `{"m":{"a":{"url":"u"},"new":{"command":"/opt/handstamp","args":["bridge","https://mcp.example.com/mcp"],"env":{"HANDSTAMP_HOME":"/srv/ü \"x\""}}}}`, ""},
		"one line, empty":      {JSON, []string{"m"}, `{"m":{}}`, 0, "", ""},
		"one line, spaces":     {JSON, []string{"m"}, `{ "m": { "a": { "url": "u" } } }`, 0, "", ""},
		"missing section":      {JSON, []string{"m"}, "{\n  \"a\": 1\n}\n", 1, "", ""},
		"missing sections":     {JSON, []string{"mcp", "servers"}, "{\n  \"a\": 1\n}\n", 2, "", ""},
		"missing, one line":    {JSON, []string{"mcp", "servers"}, "{\"a\":1}\n", 2, "", ""},
		"inner missing":        {JSON, []string{"mcp", "servers"}, "{\n  \"mcp\": {}\n}\n", 1, "", ""},
		"dotted key":           {JSON, []string{"amp.mcpServers"}, "{\n  \"amp.x\": 1\n}\n", 1, "", ""},
		"empty object":         {JSON, []string{"m"}, "{}", 1, "", ""},
		"empty object, line":   {JSON, []string{"m"}, "{}\n", 1, "", ""},
		"open object":          {JSON, []string{"m"}, "{\n}\n", 1, "", "{}\n"},
		"line end missing":     {JSON, []string{"m"}, "{\n    \"m\": {\n        \"a\": {}\n    }\n}", 0, "", ""},
		"CRLF":                 {JSON, []string{"m"}, "{\r\n  \"m\": {\r\n    \"a\": {} // c\r\n  }\r\n}\r\n", 0, "", ""},
		"CRLF, missing":        {JSON, []string{"m"}, "{\r\n  \"b\": 1\r\n}\r\n", 1, "", ""},
		"BOM":                  {JSON, []string{"m"}, "\ufeff{\n  \"m\": {\n    \"a\": {}\n  }\n}\n", 0, "", ""},
		"comment after":        {JSON, []string{"m"}, "{\n  \"m\": {\n    \"a\": {} // the last\n  } /* m */\n} // end", 0, "", ""},
		"comments between":     {JSON, []string{"m"}, "// first\n{\n  \"m\": {\n    // one\n    \"a\": {} /* x */ , // y\n    // two\n    \"b\": { /* in */ }\n    // end\n  }\n}\n", 0, "", ""},
		"comments alone":       {JSON, []string{"m"}, "{\n  \"m\": {\n    // none yet\n  }\n}\n", 0, "", ""},
		"comments, root":       {JSON, []string{"m"}, "{\n  // none yet\n}\n", 1, "", ""},
		"block comments":       {JSON, []string{"m"}, "{\"m\": {\"a\": {} /* , } */ /* b */}}", 0, "", ""},
		"trailing comma":       {JSON, []string{"m"}, "{\n  \"m\": {\n    \"a\": {},\n  },\n}\n", 0, "", ""},
		"trailing and comment": {JSON, []string{"m"}, "{\n  \"m\": {\n    \"a\": {}, // c\n  },\n}\n", 0, "", ""},
		"trailing, missing":    {JSON, []string{"m"}, "{\n  \"a\": 1,\n}\n", 1, "", ""},
		"comment with a brace": {JSON, []string{"m"}, "{\n  \"m\": { // }\n    \"a\": {} // \"new\": {}\n  }\n}", 0, "", ""},
		"unicode":              {JSON, []string{"m"}, "{\n  \"ключ\": \"😀\\u0000\\ud83d\",\n  \"m\": {\n    \"ü\": {}\n  }\n}", 0, "", ""},
		"large numbers":        {JSON, []string{"m"}, "{\"n\": 12345678901234567890.000001e999, \"m\": {\"a\": 1}}", 0, "", ""},

		"table":             {TOML, []string{"mcp_servers"}, "model = \"x\" # c\n\n[mcp_servers.a]\nurl = \"u\"\n", 0, "model = \"x\" # c\n\n[mcp_servers.a]\nurl = \"u\"\n\n[mcp_servers.new]\ncommand = \"/opt/handstamp\"\nargs = [\"bridge\", \"https://mcp.example.com/mcp\"]\nenv = { HANDSTAMP_HOME = \"/srv/ü \\\"x\\\"\" }\n", ""},
		"no table":          {TOML, []string{"mcp_servers"}, "model = \"x\"\n", 0, "", ""},
		"empty TOML":        {TOML, []string{"mcp_servers"}, "", 0, "", ""},
		"comments in TOML":  {TOML, []string{"mcp_servers"}, "# one\n\n# two\n", 0, "", ""},
		"CRLF in TOML":      {TOML, []string{"mcp_servers"}, "a = 1\r\n[mcp_servers.a]\r\nurl = 'u'\r\n", 0, "", ""},
		"BOM in TOML":       {TOML, []string{"mcp_servers"}, "\ufeffa = 1\n", 0, "", ""},
		"no line end, TOML": {TOML, []string{"mcp_servers"}, "a = 1", 0, "", "a = 1\n"},
		"arrays of tables":  {TOML, []string{"mcp_servers"}, "[[x]]\na = 1\n[[x]]\ns = \"\"\"\n# no comment\n\"\"\"\n", 0, "", ""},
		"odd TOML":          {TOML, []string{"mcp_servers"}, "  [ mcp_servers . \"a b\" ] # c\n\targs=[ 'x', # y\n ]\n  when = 1979-05-27T07:32:00Z\n\n\n", 0, "", ""},

		"mapping":           {YAML, []string{"extensions"}, "# top\nextensions:\n  # about a\n  a:\n    type: stdio\nGOOSE_MODEL: x # y\n", 0, "# top\nextensions:\n  new:\n    command: \"/opt/handstamp\"\n    args:\n      - \"bridge\"\n      - \"https://mcp.example.com/mcp\"\n    env:\n      HANDSTAMP_HOME: \"/srv/ü \\\"x\\\"\"\n  # about a\n  a:\n    type: stdio\nGOOSE_MODEL: x # y\n", ""},
		"deep indentation":  {YAML, []string{"extensions"}, "extensions:   # c\n\n        a:\n            cmd: |\n              # text\n               x\n\n# end\n", 0, "", ""},
		"no mapping":        {YAML, []string{"extensions"}, "a: 1\n", 1, "", ""},
		"null":              {YAML, []string{"extensions"}, "extensions:\na: 1\n", 0, "", "extensions: {}\na: 1\n"},
		"braces":            {YAML, []string{"extensions"}, "extensions: {}\na: 1\n", 0, "", ""},
		"empty YAML":        {YAML, []string{"extensions"}, "", 1, "", ""},
		"comments in YAML":  {YAML, []string{"extensions"}, "---\n# one\n", 1, "", ""},
		"CRLF in YAML":      {YAML, []string{"extensions"}, "a: 1\r\nextensions:\r\n  b:\r\n    c: 1\r\n", 0, "", ""},
		"BOM in YAML":       {YAML, []string{"extensions"}, "\ufeffextensions:\n  b:\n    c: 1\n", 0, "", ""},
		"no line end, YAML": {YAML, []string{"extensions"}, "extensions:\n  b:\n    c: 1", 0, "", ""},
		"unicode in YAML":   {YAML, []string{"extensions"}, "\"ключ\": 😀\nextensions:\n  ü: {c: 1}\n", 0, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			put, err := Put(test.format, []byte(test.text), test.path, "new", entry)
			if err != nil {
				t.Fatal(err)
			}
			if test.want != "" && string(put) != test.want {
				t.Errorf("put:\n%s\nwant:\n%s", put, test.want)
			}
			members, err := Members(test.format, put, test.path)
			if members["new"] == nil || err != nil {
				t.Errorf("it is not there: %v, %v", members, err)
			}
			out, err := Remove(test.format, put, test.path, "new", test.prune)
			if err != nil {
				t.Fatalf("%v\n%s", err, put)
			}
			want := test.text
			if test.lossy != "" {
				want = test.lossy
			}
			if string(out) != want {
				t.Errorf("%q\nbecame\n%s\nand\n%q", test.text, put, out)
			}
		})
	}
}

// A member in the middle goes with its comma, and its neighbours keep their comments.
func TestRemoveBetweenOthers(t *testing.T) {
	for name, test := range map[string]struct {
		format     Format
		path       []string
		text, want string
	}{
		"first":  {JSON, []string{"m"}, "{\"m\": {\n  \"new\": {\"x\": [1, 2]}, // of new\n  // of b\n  \"b\": {}\n}}", "{\"m\": { // of new\n  // of b\n  \"b\": {}\n}}"},
		"middle": {JSON, []string{"m"}, "{\"m\": {\n  \"a\": 1, // of a\n  \"new\": {} /* in */ ,\n  \"b\": {}\n}}", "{\"m\": {\n  \"a\": 1, // of a\n  \"b\": {}\n}}"},
		"edited": {JSON, []string{"m"}, "{\"m\": {\n  \"new\": {\"a\": 1,\n\n  // mine\n \"disabled\": true\n  }\n}}", "{\"m\": {}}"},
		"TOML": {TOML, []string{"s"}, "[s.new]\na = 1\n# in\nb = '''\n[s.no]\n'''\n\n# about c\n[s.c]\nx = 1\n[s.new.tools.y]\nz = 1\n",
			"\n# about c\n[s.c]\nx = 1\n"},
		"YAML": {YAML, []string{"e"}, "e:\n  a: 1\n  new:\n    t: |\n      x\n\n      # y\n    args:\n    - b\n\n  # about c\n  c: 1\n",
			"e:\n  a: 1\n\n  # about c\n  c: 1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := Remove(test.format, []byte(test.text), test.path, "new", 0)
			if err != nil || string(out) != test.want {
				t.Errorf("%q, %v; want %q", out, err, test.want)
			}
		})
	}
}

// A comment in an object keeps it from being removed with its last member.
func TestCommentsStayWithTheirObject(t *testing.T) {
	for name, test := range map[string]struct {
		format     Format
		text, want string
	}{
		"JSON":         {JSON, "{\n  \"m\": { // mine\n    \"new\": {}\n  }\n}\n", "{\n  \"m\": { // mine\n  }\n}\n"},
		"YAML, before": {YAML, "m:\n  # mine\n  new:\n    a: 1\nb: 1\n", "m: {}\n  # mine\nb: 1\n"},
		"YAML, behind": {YAML, "m:\n  new:\n    a: 1\n  # mine\nb: 1\n", "  # mine\nb: 1\n"},
		"YAML, beside": {YAML, "m: # mine\n  new:\n    a: 1\nb: 1\n", "m: {} # mine\nb: 1\n"},
		"YAML, none":   {YAML, "m:\n\n  new:\n    a: 1 # in\n\nb: 1\n", "\nb: 1\n"},
		"TOML":         {TOML, "[m]\n# mine\n\n[m.new]\na = 1\n", "[m]\n# mine\n"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := Remove(test.format, []byte(test.text), []string{"m"}, "new", 1)
			if err != nil || string(out) != test.want {
				t.Errorf("%q, %v; want %q", out, err, test.want)
			}
		})
	}
}

// An entry that is there is replaced where it is.
func TestPutReplaces(t *testing.T) {
	for name, test := range map[string]struct {
		format     Format
		path       []string
		text, want string
	}{
		"JSON": {JSON, []string{"m"}, "{\"m\": {\n\t\"a\": {\"url\": \"u\"}, // c\n\t\"b\": 1}}", "{\"m\": {\n\t\"a\": {\n\t  \"k\": true\n\t}, // c\n\t\"b\": 1}}"},
		"TOML": {TOML, []string{"s"}, "[s.a]\nurl = 'u'\n\n[s.b]\n[s.a.x]\ny = 1\n", "[s.a]\nk = true\n\n[s.b]\n"},
		"YAML": {YAML, []string{"e"}, "e:\n  a:\n    url: u\n  b: 1\n", "e:\n  a:\n    k: true\n  b: 1\n"},
	} {
		out, err := Put(test.format, []byte(test.text), test.path, "a", Object{{"k", true}})
		if err != nil || string(out) != test.want {
			t.Errorf("%s: %q, %v; want %q", name, out, err, test.want)
		}
	}
}

// A value that is no object, at the top of a document.
func TestPutWord(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"new":         {"{\n  \"a\": {\n    \"b\": 1\n  }\n}\n", "{\n  \"a\": {\n    \"b\": 1\n  },\n  \"store\": \"<file>\"\n}\n"},
		"replaced":    {"{\n  \"store\": {\"x\": []}, // c\n  \"a\": 1\n}", "{\n  \"store\": \"<file>\", // c\n  \"a\": 1\n}"},
		"on one line": {`{"a":1}`, `{"a":1,"store":"<file>"}`},
		"empty":       {"", "{\n  \"store\": \"<file>\"\n}\n"},
		"BOM, CRLF":   {"\ufeff{\r\n  \"a\": 1\r\n}\r\n", "\ufeff{\r\n  \"a\": 1,\r\n  \"store\": \"<file>\"\r\n}\r\n"},
	} {
		out, err := Put(JSON, []byte(test.text), nil, "store", "<file>")
		if err != nil || string(out) != test.want {
			t.Errorf("%s: %q, %v; want %q", name, out, err, test.want)
		}
	}
	if out, err := Put(YAML, []byte("e:\n  a: 1\n"), []string{"e"}, "b", true); string(out) != "e:\n  b: true\n  a: 1\n" {
		t.Errorf("YAML: %q, %v", out, err)
	}
	if out, err := Put(TOML, nil, []string{"e"}, "b", true); !errors.Is(err, ErrUnsafe) {
		t.Errorf("TOML: %q, %v", out, err)
	}
}

// Names that need quotes, or that mean something else without them.
func TestNames(t *testing.T) {
	for _, name := range []string{"My Server", "a.b", "ü", "no", "null", "1", "1.5", "a: b", "#", "'", "\"", "", "~", "-", "a\tb"} {
		for _, f := range []Format{JSON, TOML, YAML} {
			text, err := Put(f, nil, []string{"m"}, name, entry)
			if err != nil {
				t.Errorf("%q: %v", name, err)
				continue
			}
			members, err := Members(f, text, []string{"m"})
			if _, ok := members[name]; !ok || err != nil || len(members) != 1 {
				t.Errorf("%q: %v, %v", name, members, err)
			}
			if _, err := Remove(f, text, []string{"m"}, name, 1); err != nil {
				t.Errorf("%q: %v\n%s", name, err, text)
			}
		}
	}
}

// Where the place isn't found for certain, nothing is returned.
func TestRejected(t *testing.T) {
	for name, test := range map[string]struct {
		format Format
		text   string
		want   error
	}{
		"half":                    {JSON, `{"m": {`, ErrSyntax},
		"no JSON":                 {JSON, `mcp = 1`, ErrSyntax},
		"two documents":           {JSON, `{}{}`, ErrSyntax},
		"only a comment":          {JSON, `// x`, ErrSyntax},
		"single quotes":           {JSON, `{'m': {}}`, ErrSyntax},
		"an array":                {JSON, `[]`, ErrUnsafe},
		"null":                    {JSON, `null`, ErrUnsafe},
		"section null":            {JSON, `{"m": null}`, ErrUnsafe},
		"section array":           {JSON, `{"m": []}`, ErrUnsafe},
		"section twice":           {JSON, `{"m": {}, "m": {}}`, ErrUnsafe},
		"entry twice":             {JSON, `{"m": {"new": {}, "n\u0065w": {}}}`, ErrUnsafe},
		"deep arrays":             {JSON, strings.Repeat("[", 5<<20), ErrSyntax},
		"deep objects":            {JSON, strings.Repeat(`{"a":`, 1<<20), ErrSyntax},
		"deep behind a comment":   {JSON, `{/*/ " */ "m": ` + strings.Repeat("[{\"a\":// \"\n", 1<<20), ErrSyntax},
		"deep behind a quote":     {JSON, `{"\\\"\\": ` + strings.Repeat("[", 5<<20), ErrSyntax},
		"deep in another member":  {JSON, `{"m": {}, "x": ` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + "}", ErrSyntax},
		"deep key of TOML":        {TOML, strings.Repeat("a.", maxDepth) + "a = 1\n", ErrSyntax},
		"deep table of TOML":      {TOML, "[" + strings.Repeat("a.", maxDepth) + "a]\n", ErrSyntax},
		"deep arrays of TOML":     {TOML, "a = " + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + "\n", ErrSyntax},
		"TOML half":               {TOML, `[m`, ErrSyntax},
		"inline table":            {TOML, `m = { a = { url = "u" } }`, ErrUnsafe},
		"dotted keys":             {TOML, `m.a.url = "u"`, ErrUnsafe},
		"array of tables":         {TOML, "[[m]]\nname = 'a'\n", ErrUnsafe},
		"a word":                  {TOML, `m = "x"`, ErrUnsafe},
		"inline entry":            {TOML, "[m]\nnew = { url = 'u' }\n", ErrUnsafe},
		"twice":                   {TOML, "[m.a]\n[m.a]\n", ErrSyntax},
		"YAML half":               {YAML, "m: [", ErrSyntax},
		"flow":                    {YAML, "m: {a: {b: 1}}\n", ErrUnsafe},
		"flow root":               {YAML, "{}\n", ErrUnsafe},
		"anchor":                  {YAML, "m: &x\n  a: 1\nn: *x\n", ErrUnsafe},
		"alias":                   {YAML, "n: &x\n  a: 1\nm: *x\n", ErrUnsafe},
		"merge":                   {YAML, "n: &x\n  a: 1\nm:\n  <<: *x\n", ErrUnsafe},
		"documents":               {YAML, "m:\n  a: 1\n---\nb: 1\n", ErrUnsafe},
		"list":                    {YAML, "m:\n  - a\n", ErrUnsafe},
		"key twice":               {YAML, "m:\n  a: 1\nm:\n  b: 1\n", ErrSyntax},
		"end of the document":     {YAML, "a: 1\n...\n", ErrUnsafe},
		"question mark":           {YAML, "m:\n  ? a\n  : 1\n", ErrUnsafe},
		"YAML's other line ends":  {YAML, "a: \"x\u2028y\"\nm:\n  a: 1\n", nil},
		"other line ends of TOML": {TOML, "a = 1\r[m.a]\r", ErrSyntax},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := Put(test.format, []byte(test.text), []string{"m"}, "new", entry)
			if test.want == nil && err == nil {
				return // found, and proven
			}
			if test.want == nil {
				test.want = ErrUnsafe
			}
			if !errors.Is(err, test.want) || out != nil {
				t.Errorf("%q, %v; want %v", out, err, test.want)
			}
		})
	}
}

// What looks deep in texts and comments, or is beside each other, is not.
func TestDeepEnough(t *testing.T) {
	many := strings.Repeat("[{", 2*maxDepth)
	for _, text := range []string{
		`{"m": {}, "x": "` + many + `\"` + many + `"}`, `{"m": {} /* " ` + many + ` */}`, "{\"m\": {} // \" " + many + "\n}",
		`{"m": {}} // ` + many, `{"m": {}, "x": [` + strings.Repeat("[{}],", 2*maxDepth) + `1]}`,
		`{"m": {}, "x": ` + strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth-1) + "}",
	} {
		if _, err := Put(JSON, []byte(text), []string{"m"}, "new", entry); err != nil {
			t.Errorf("%.60s: %v", text, err)
		}
	}
}

// What is reported of a file that cannot be parsed is where, and nothing of the file itself.
func TestErrorsQuoteNothing(t *testing.T) {
	for text, test := range map[string]struct {
		format Format
		want   string
	}{
		"{\n  \"a\": hunter2}":                   {JSON, ": line 2, column 8"},
		"{\"a\": {hunter2: 1}}":                  {JSON, ": line 1, column 8"},
		"{\"a\": \"hunter2\\q\"}":                {JSON, ": line 1, column 7"},
		"[m.a]\nkey = hunter2\n":                 {TOML, ": line 2, column 7"},
		"[m.a]\nkey = \"hunter2\n":               {TOML, ": line 2, column"},
		"[m.a]\nhunter2 = 1\nhunter2 = 2\n":      {TOML, ": line 3"},
		"hunter2 = 1\n[hunter2]\na = 1\n":        {TOML, ": line 2"},
		"m:\n  a: *hunter2\n":                    {YAML, ""},
		"m:\n  a: !!int hunter2\n":               {YAML, ""},
		"m:\n  a: @hunter2\n":                    {YAML, ": line 2"},
		"m:\n  hunter2: 1\n  hunter2: 2\n":       {YAML, ": line 3"},
		"m:\n  a: {[hunter2]: {}, [hunter2]: 1}": {YAML, ""},
	} {
		for _, do := range []func() error{
			func() error { _, err := Put(test.format, []byte(text), []string{"m"}, "new", entry); return err },
			func() error { _, err := Members(test.format, []byte(text), []string{"m"}); return err },
		} {
			err := do()
			if err == nil || !errors.Is(err, ErrSyntax) || strings.Contains(err.Error(), "hunter2") ||
				!strings.HasPrefix(err.Error(), ErrSyntax.Error()+test.want) {
				t.Errorf("%q: %v", text, err)
			}
		}
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{"{}", "{\"m\":{}}", "{\n\t\"m\": {\n\t\t\"a\": 1, // c\n\t},\n}", "\ufeff{ /* } */ \"m\" : {\"a\":[]/**/} }\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) { there(t, JSON, text) })
}

func FuzzTOML(f *testing.F) {
	for _, s := range []string{"a = 1\n[m.a]\nb = 2 # c\n", "[m]\n[m.x]\r\ns = '''\n[m.new]\n'''", "[[x]]\n# c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) { there(t, TOML, text) })
}

func FuzzYAML(f *testing.F) {
	for _, s := range []string{"m:\n  a: 1\nb: |\n  x\n", "m: {}", "m:\n # c\n b:\n - x\n", "---\nm: &a\n  <<: *b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) { there(t, YAML, text) })
}

// there puts an entry into any text and takes it out again. What comes of it has all lines of
// the text; a second round trip, of a text that needs no empty object made, is exact.
func there(t *testing.T, f Format, text string) {
	path := []string{"m"}
	before, err := Members(f, []byte(text), path)
	if err != nil || before["new"] != nil {
		return
	}
	put, err := Put(f, []byte(text), path, "new", entry)
	if errors.Is(err, ErrUnsafe) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := Remove(f, put, path, "new", 0)
	if errors.Is(err, ErrUnsafe) && len(before) == 0 {
		return // an object that is empty again is not always one that can be written
	}
	if err != nil {
		t.Fatalf("%v\n%q\n%q", err, text, put)
	}
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), "") }
	if len(before) > 0 && squeeze(string(out)) != squeeze(text) {
		t.Fatalf("%q became %q and %q", text, put, out)
	}
}
