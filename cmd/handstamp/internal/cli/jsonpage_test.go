//go:build unix

package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"filippo.io/age"
)

// shape is the members of a JSON object by their paths, with the types of their values. A path
// that ends in an asterisk stands for whatever is below it.
type shape map[string]string

// add adds the members of a value, which is at a path.
func (s shape) add(path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		if path != "" {
			s[path] = "object"
		}
		for name, member := range v {
			s.add(strings.TrimPrefix(path+"."+name, "."), member)
		}
	case []any:
		s[path] = "array"
		for _, element := range v {
			s.add(path+"[]", element)
		}
	case string:
		s[path] = "string"
	case bool:
		s[path] = "true, false"
	case float64:
		s[path] = "number"
	}
}

var documentedRow = regexp.MustCompile("^\\| `([^`]+)` \\| ([^|]+) \\| .+ \\|$")

// documentedShapes reads the tables of docs/json.md, by their headings.
func documentedShapes(t *testing.T) map[string]shape {
	t.Helper()
	text, err := os.ReadFile("../../../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	shapes, heading := make(map[string]shape), ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if title, ok := strings.CutPrefix(line, "## "); ok {
			heading = strings.Trim(title, "`")
			shapes[heading] = make(shape)
		} else if row := documentedRow.FindStringSubmatch(line); row != nil {
			shapes[heading][row[1]] = row[2]
		}
	}
	return shapes
}

// covers returns the documented path that stands for a path: itself, one that ends in an asterisk,
// or one whose type is a server, which has members of its own.
func (s shape) covers(path string, server shape) (string, bool) {
	if _, ok := s[path]; ok {
		return path, true
	}
	for name, kind := range s {
		prefix, open := strings.CutSuffix(name, "*")
		rest, below := strings.CutPrefix(path, prefix)
		if strings.HasSuffix(kind, "server") {
			_, open = server.covers(strings.TrimPrefix(rest, "."), nil)
		}
		if open && below {
			return name, true
		}
	}
	return "", false
}

// jsonSample is a command whose output has a documented shape.
type jsonSample struct {
	heading string
	args    []string
	member  string // the part of the output that the heading is about, "" for all
	stderr  bool   // its lines there are meant
	serves  bool   // it runs until it is stopped
	code    int
}

// runUntilStopped runs handstamp and stops it when it has written a line.
func (c *command) runUntilStopped(args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	cmd, stdin, out, errOut := c.start(args...)
	stdin.Close()
	line, _ := out.ReadString('\n')
	_ = cmd.Process.Signal(syscall.SIGTERM)
	rest, _ := io.ReadAll(out)
	problems, _ := io.ReadAll(errOut)
	return line + string(rest), string(problems), c.wait(cmd)
}

// exportedLogin returns flags of an import: a login that was exported from another home.
func (c *command) exportedLogin() []string {
	c.t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		c.t.Fatal(err)
	}
	dir := c.t.TempDir()
	other := &command{t: c.t, home: filepath.Join(dir, "home"), server: c.server}
	other.login()
	sealed, _ := other.mustRun("export", c.server.MCPURL(), "--recipient", identity.Recipient().String())
	key := writeFile(c.t, dir, "key.txt", identity.String())
	return []string{writeFile(c.t, dir, "login.age", sealed), "--identity", key}
}

func writeFile(t *testing.T, dir, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What each command prints with --json is one object, as docs/json.md has it: no member is missing
// there, and none is there that is never printed.
func TestJSONPage(t *testing.T) {
	c := newCommand(t)
	url := c.server.MCPURL()
	pages := t.TempDir()
	document := writeFile(t, t.TempDir(), "client.json",
		`{"client_id": "https://example.com/client.json", "redirect_uris": ["http://127.0.0.1/callback"]}`)
	sealed := append([]string{"import"}, c.exportedLogin()...)
	home := homeWithHost(t)
	c.env = []string{"MCP_REMOTE_CONFIG_DIR=" + t.TempDir(), "HOME=" + home, "USERPROFILE=" + home}
	page := c.serve()
	seen := make(map[string]shape)
	for _, sample := range []jsonSample{
		{heading: "An error", args: []string{"token", url}, member: "error", stderr: true, code: exitLogin},
		{heading: "An error", args: []string{"login", url, "--nosuch"}, member: "error", stderr: true, code: exitUsage},
		{heading: "handstamp", args: nil},
		{heading: "handstamp login (standard error)", args: []string{"login", url}, stderr: true},
		{heading: "handstamp login", args: []string{"login", url}},
		{heading: "handstamp status", args: []string{"status"}},
		{heading: "A server", args: []string{"status"}, member: "servers[]"},
		{heading: "A server", args: []string{"status", url}},
		{heading: "handstamp", args: nil},
		{heading: "handstamp token", args: []string{"token", url}},
		{heading: "An event", args: []string{"token", url, "--refresh", "-v"}, member: "event", stderr: true},
		{heading: "handstamp import FILE.age", args: append(sealed, "--profile", "second")},
		{heading: "handstamp tools", args: []string{"tools", url}},
		{heading: "handstamp call", args: []string{"call", url, "echo", "text=hello"}},
		{heading: "handstamp doctor", args: []string{"doctor", url}},
		{heading: "handstamp doctor", args: []string{"doctor", "http://127.0.0.1:1/mcp"}, code: exitUnreachable},
		{heading: "handstamp serve", args: []string{"serve", "--no-browser"}},
		{heading: "handstamp caller add", args: []string{"caller", "add", "web", "--tenant", "acme", "--user", "ada"}},
		{heading: "handstamp caller ls", args: []string{"caller", "ls"}},
		{heading: "handstamp caller remove", args: []string{"caller", "remove", "web"}},
		{heading: "handstamp store info", args: []string{"store", "info"}},
		{heading: "handstamp store migrate", args: []string{"store", "migrate", filepath.Join(pages, "moved"), "--dry-run"}},
		{heading: "handstamp logout", args: []string{"logout", url}},
		{heading: "handstamp logout --all", args: []string{"logout", "--all"}},
		{heading: "handstamp add", args: []string{"add", "linear", url}},
		{heading: "handstamp show", args: []string{"show", "linear"}},
		{heading: "handstamp client ls", args: []string{"client", "ls"}},
		{heading: "handstamp client connect", args: []string{"client", "connect", "cursor", "linear"}},
		{heading: "handstamp client connect", args: []string{"client", "connect", "jetbrains", "linear"}},
		{heading: "handstamp client disconnect", args: []string{"client", "disconnect", "cursor", "linear"}},
		{heading: "handstamp import HOST", args: []string{"import", "cursor"}},
		{heading: "handstamp remove", args: []string{"remove", "linear"}},
		{heading: "handstamp demo", args: []string{"demo"}},
		{heading: "handstamp import mcp-remote", args: []string{"import", "mcp-remote"}},
		{heading: "handstamp lab list", args: []string{"lab", "list"}},
		{heading: "handstamp lab run", args: []string{"lab", "run", "--personality", "none-first", "--condition", "warm", "--processes", "1"}},
		{heading: "handstamp lab serve", args: []string{"lab", "serve", "--personality", "machine-key"}, serves: true},
		{heading: "handstamp client-document check", args: []string{"client-document", "check", document},
			code: exitProtocol},
		{heading: "handstamp man", args: []string{"man", pages}},
		{heading: "handstamp version", args: []string{"version"}},
	} {
		t.Run(cmp.Or(strings.Join(sample.args, " "), "overview"), func(t *testing.T) {
			run := c.run
			if sample.serves {
				run = c.runUntilStopped
			}
			out, problems, code := run(append(slices.Clone(sample.args), "--json")...)
			if code != sample.code {
				t.Fatalf("exit code %d, want %d\n%s", code, sample.code, problems)
			}
			if sample.stderr {
				out = problems
			} else if strings.TrimSpace(problems) != "" && sample.args != nil && sample.args[0] != "login" {
				t.Errorf("standard error: %s", problems)
			}
			if seen[sample.heading] == nil {
				seen[sample.heading] = make(shape)
			}
			objects := []string{out}
			if sample.stderr {
				objects = slices.Collect(strings.Lines(out))
			}
			for _, object := range objects {
				for path, kind := range shapeOf(t, object) {
					if rest, ok := strings.CutPrefix(path, sample.member+"."); ok {
						seen[sample.heading][rest] = kind
					} else if sample.member == "" {
						seen[sample.heading][path] = kind
					}
				}
			}
		})
	}
	page.stop()
	shapes := documentedShapes(t)
	compareShapes(t, shapes, seen)
	seen[resealHeading] = nil // of TestKeyChangesWithoutDowntime
	for heading, members := range shapes {
		if _, ok := seen[heading]; !ok && len(members) > 0 {
			t.Errorf("docs/json.md has %q, which no command of this test prints", heading)
		}
	}
}

const resealHeading = "handstamp store reseal"

// shapeOf returns the members of a text that is one JSON object.
func shapeOf(t *testing.T, text string) shape {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	all := make(shape)
	all.add("", object)
	return all
}

// Each command has its table in docs/json.md, but those that print the same without --json.
func TestJSONPageHasEveryCommand(t *testing.T) {
	same := []string{"bridge", "client-document new", "completion", "exec", "export", "help"}
	headings := slices.Collect(maps.Keys(documentedShapes(t)))
	for _, cmd := range documented(wholeTree(t)) {
		path := cmd.CommandPath()
		group := cmd.HasParent() && cmd.HasAvailableSubCommands() && cmd.Name() != "import"
		_, name, _ := strings.Cut(path, " ")
		if group || cmd.IsAdditionalHelpTopicCommand() || slices.Contains(same, name) {
			continue
		}
		if !slices.ContainsFunc(headings, func(h string) bool { return h == path || strings.HasPrefix(h, path+" ") }) {
			t.Errorf("docs/json.md lacks %s", path)
		}
	}
}

// What a command has found out or done before it fails is on standard output, as one object, and what
// ends it on standard error.
func TestResultsBeforeAnErrorAreNotLost(t *testing.T) {
	c := newCommand(t)
	c.login()
	url := c.server.MCPURL()
	c.mustRun("login", url, "--profile", "work")
	shapes := documentedShapes(t)
	wantError := func(stderr string, code, want int) {
		t.Helper()
		if code != want || shapeOf(t, stderr)["error.message"] == "" {
			t.Errorf("exit code %d, want %d: %s", code, want, stderr)
		}
	}
	stdout, stderr, code := c.run("doctor", url, "--json", "--bundle", filepath.Join(c.home, "missing", "bundle.json"))
	wantError(stderr, code, exitUsage)
	compareShapes(t, shapes, map[string]shape{"handstamp doctor": shapeOf(t, stdout)})

	c.makeNewer()
	stdout, stderr, code = c.run("logout", url, "--json")
	wantError(stderr, code, exitStore)
	if stdout != "" {
		t.Errorf("of the one login that stays: %s", stdout)
	}
	stdout, stderr, code = c.run("logout", "--all", "--json")
	wantError(stderr, code, exitStore)
	compareShapes(t, shapes, map[string]shape{"handstamp logout --all": shapeOf(t, stdout)})
	var all struct{ Servers []logoutOutput }
	if err := json.Unmarshal([]byte(stdout), &all); err != nil || len(all.Servers) != 2 {
		t.Fatalf("%v: %s", err, stdout)
	}
	for _, s := range all.Servers {
		switch stays := s.Profile == "default"; {
		case stays && (s.Error == nil || s.Error.Exit != exitStore || s.Server != url):
			t.Errorf("the login that stays is %+v", s)
		case !stays && (s.Error != nil || !s.WasSignedIn || !s.Revoked):
			t.Errorf("the one that does not is %+v", s)
		}
	}
}

// compareShapes compares what is documented with what was printed. A member whose type begins with
// "maybe" need not have been seen.
func compareShapes(t *testing.T, documented, seen map[string]shape) {
	t.Helper()
	for heading, members := range seen {
		known, met := maps.Clone(documented[heading]), make(map[string]bool)
		if known["*"] == "server" {
			delete(known, "*")
			maps.Copy(known, documented["A server"])
		}
		var missing bytes.Buffer
		for _, path := range slices.Sorted(maps.Keys(members)) {
			kind := members[path]
			name, ok := known.covers(path, documented["A server"])
			if !ok {
				fmt.Fprintf(&missing, "| `%s` | %s |  |\n", path, kind)
				continue
			}
			met[name] = true
			if want := strings.TrimPrefix(known[name], "maybe "); name == path && want != kind && want != "server" {
				t.Errorf("%s: %s is %s, and documented as %s", heading, path, kind, want)
			}
		}
		if missing.Len() > 0 {
			t.Errorf("docs/json.md lacks under %q:\n%s", heading, &missing)
		}
		for name, kind := range known {
			if !met[name] && !strings.HasPrefix(kind, "maybe ") {
				t.Errorf("%s: %s is documented, and not printed", heading, name)
			}
		}
	}
}

// homeWithHost returns a home folder in which Cursor has a remote server.
func homeWithHost(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	err := os.Mkdir(filepath.Join(home, ".cursor"), 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(home, ".cursor", "mcp.json"),
			[]byte(`{"mcpServers": {"notion": {"url": "https://mcp.notion.com/mcp"}}}`), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return home
}
