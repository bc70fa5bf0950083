package mcphost

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/splice"
	"github.com/handstamp/handstamp/internal/proctest"
)

var linear = Server{Command: "/opt/handstamp", Args: []string{"bridge", "https://mcp.linear.app/mcp"}}

// texts that a host's file may have, by format. They lack the section, or have it in some way.
var odd = map[splice.Format][]string{
	splice.JSON: {
		"", "\n", "{}", "{ }", "{}\n", "{\n}\n", "{\n\n}", "\ufeff{}", "{\r\n}\r\n", "{ /* none */ }", "{\n  // none\n}\n",
		"{\n\t\"SECTION\": {}\n}\n", "{\n  \"SECTION\": { }\n}", "{\n  \"SECTION\": {\n  }\n}", "{\"SECTION\":{}}", "{\"a\":1}",
		"{\n  \"a\": 1, // c\n  \"SECTION\": {\n    // d\n    \"x\": {\"command\": \"y\"}, // e\n  }, // f\n}",
		"// top\n{\n    \"SECTION\": {\n        \"x\": {\"command\": \"é\"} /* e */\n    } }",
		"{\r\n\t\"SECTION\": {\r\n\t\t\"x\": {\"url\": \"https://x\"}\r\n\t}\r\n}",
	},
	splice.TOML: {
		"", "\n", "a = 1", "a = 1\n", "# c\n\n[b]\nx = '''\n[SECTION.y]\n'''\n", "[SECTION]\n", "[SECTION.x]\ncommand = 'y'\n\n# end\n\n\n",
		"\ufeff[SECTION.x]\r\nurl = 'é'\r\n",
	},
	splice.YAML: {
		"", "\n", "a: 1", "a: 1\n", "# c\n", "SECTION:\n", "SECTION: {}\n", "SECTION:   {}   # none\nb: 1\n", "---\nSECTION:\n    # c\n    x:\n        cmd: y\n\nb: |\n  x\n",
		"\ufeffSECTION:\r\n  x:\r\n    cmd: é", "SECTION:\n  x:\n    cmd: y\n# end",
	},
}

func section(h *Host, text string) string {
	if len(h.Path) == 2 { // opencode 2
		text = strings.ReplaceAll(text, "\"SECTION\": {", "\"mcp\": {\"timeout\": 1}, \"z\": {")
		return strings.ReplaceAll(text, "\"SECTION\":{", "\"mcp\":{\"servers\":{}}, \"z\": {")
	}
	return strings.ReplaceAll(text, "SECTION", h.Path[0])
}

func TestMain(m *testing.M) {
	proctest.Prepare()
	os.Exit(m.Run())
}

// Connect and disconnect leave each host's file as it was, byte by byte, and a missing one
// missing, with the folders above it.
func TestConnectDisconnectLeavesTheFile(t *testing.T) {
	for _, h := range All() {
		if h.Manual() {
			continue
		}
		t.Run(h.ID, func(t *testing.T) {
			t.Parallel()
			for n, text := range odd[h.Format] {
				text = section(h, text)
				dir := t.TempDir()
				file := filepath.Join(dir, "a", "b", "file")
				e := &Editor{Folder: filepath.Join(dir, "state")}
				p := Place{file, h.Format, h.Path}
				if n > 0 { // else it is missing
					write(t, file, text, 0o640)
				}
				c, err := e.Put(context.Background(), p, "linear", h.Entry.Object("linear", linear), false)
				if err != nil {
					t.Fatalf("%q: %v", text, err)
				}
				if n > 0 {
					backup, err := os.ReadFile(c.Backup)
					if err != nil || string(backup) != text {
						t.Errorf("backup %q, %v; want %q", backup, err, text)
					}
				}
				entries, err := h.Entries(c.After, "")
				if err != nil || len(entries) == 0 || !has(entries, "linear", "https://mcp.linear.app/mcp") {
					t.Errorf("%q: entries %+v, %v", c.After, entries, err)
				}
				if _, err := e.Remove(context.Background(), p, "linear"); err != nil {
					t.Fatalf("%q: %v", text, err)
				}
				got, err := os.ReadFile(file)
				if n == 0 {
					if _, err := os.Stat(filepath.Join(dir, "a")); !os.IsNotExist(err) {
						t.Errorf("a file that was missing is there: %q, %v", got, err)
					}
					continue
				}
				if err != nil || string(got) != text {
					t.Errorf("%q became %q, %v\n%s", text, got, err, c.After)
				}
				if info, _ := os.Stat(file); info.Mode().Perm() != 0o640 {
					t.Errorf("mode %v", info.Mode())
				}
				left, _ := filepath.Glob(filepath.Join(dir, "a", "b", ".*"))
				if len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			}
		})
	}
}

func has(entries []Entry, name, url string) bool {
	for _, e := range entries {
		if e.Name == name && e.Kind == Ours && e.URL == url {
			return true
		}
	}
	return false
}

func write(t *testing.T, file, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// Entries leave the text as it was in whatever order they go, byte by byte.
func TestEntriesGoInAnyOrder(t *testing.T) {
	for _, id := range []string{"cursor", "codex", "goose"} {
		h := Find(id)
		p := Place{Format: h.Format, Path: h.Path}
		for _, text := range odd[h.Format] {
			text = section(h, text)
			for _, order := range []string{"abc", "acb", "bac", "bca", "cab", "cba"} {
				j, now := &journal{Entries: make(map[string]hunk)}, []byte(text)
				var err error
				for _, name := range []string{"a", "b", "c"} {
					if now, err = j.put(p, now, name, h.Entry.Object(name, linear), false); err != nil {
						t.Fatalf("%s, %q: %v", h.ID, text, err)
					}
				}
				for _, name := range order {
					if now, _, err = j.takeBack(p, now, string(name)); err != nil {
						t.Fatalf("%s, %q: %v", h.ID, text, err)
					}
				}
				if string(now) != text {
					t.Errorf("%s, %s: %q became %q", h.ID, order, text, now)
				}
			}
		}
	}
}

// A file that has nothing in it but our entry stays, unless we have made it: it may be the target of a link.
func TestEmptyFileStays(t *testing.T) {
	for _, id := range []string{"cursor", "codex", "goose"} {
		for _, noted := range []bool{true, false} {
			h, dir, ctx := Find(id), t.TempDir(), context.Background()
			file := filepath.Join(dir, "file")
			write(t, file, "", 0o600)
			p := Place{file, h.Format, h.Path}
			e := &Editor{Folder: filepath.Join(dir, "state")}
			if _, err := e.Put(ctx, p, "linear", h.Entry.Object("linear", linear), false); err != nil {
				t.Fatal(err)
			}
			if !noted { // of another installation
				e = &Editor{Folder: filepath.Join(dir, "another")}
			}
			if _, err := e.Remove(ctx, p, "linear"); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(file)
			if err != nil || noted && len(got) > 0 {
				t.Errorf("%s, noted %v: %q, %v", id, noted, got, err)
			}
		}
	}
}

// Two entries go in any order, and the user may edit between: only our entries go.
func TestOnlyOursGo(t *testing.T) {
	for name, test := range map[string]struct {
		host       string
		text, want string
		edit       func(string) string
		first      string
	}{
		"first first":  {host: "cursor", text: "{\n  \"a\": 1\n}\n", want: "{\n  \"a\": 1\n}\n", first: "linear"},
		"last first":   {host: "cursor", text: "{\n  \"a\": 1\n}\n", want: "{\n  \"a\": 1\n}\n", first: "notion"},
		"TOML":         {host: "codex", text: "a = 1\n", want: "a = 1\n", first: "linear"},
		"TOML, last":   {host: "codex", text: "a = 1\n", want: "a = 1\n", first: "notion"},
		"YAML":         {host: "goose", text: "a: 1\n", want: "a: 1\n", first: "linear"},
		"YAML, last":   {host: "goose", text: "a: 1\n", want: "a: 1\n", first: "notion"},
		"missing file": {host: "cursor", first: "linear"},
		"the user adds one": {host: "cursor", text: "{\n  \"a\": 1\n}\n", first: "linear",
			edit: func(s string) string {
				return strings.Replace(s, "\"mcpServers\": {", "\"mcpServers\": {\n    \"mine\": {}, // mine", 1)
			},
			want: "{\n  \"a\": 1,\n  \"mcpServers\": {\n    \"mine\": {} // mine\n  }\n}\n"},
		"the user changes ours": {host: "codex", text: "a = 1\n[b]\n", first: "linear",
			edit: func(s string) string {
				return strings.Replace(s, "startup_timeout_sec = 60", "startup_timeout_sec = 90 # more\nenabled = false", 1) + "\n# mine\n[c]\n"
			},
			want: "a = 1\n[b]\n\n# mine\n[c]\n"},
		"the user adds to the file": {host: "zed", text: "// top\n{}\n", first: "notion",
			edit: func(s string) string { return strings.Replace(s, "{", "{\n  \"theme\": \"x\", // t", 1) },
			want: "// top\n{\n  \"theme\": \"x\" // t\n}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			h, dir, ctx := Find(test.host), t.TempDir(), context.Background()
			file := filepath.Join(dir, "x", "file")
			e, p := &Editor{Folder: filepath.Join(dir, "state")}, Place{file, h.Format, h.Path}
			if test.text != "" {
				write(t, file, test.text, 0o600)
			}
			for _, name := range []string{"linear", "notion"} {
				if _, err := e.Put(ctx, p, name, h.Entry.Object(name, linear), false); err != nil {
					t.Fatal(err)
				}
			}
			if test.edit != nil {
				text, _ := os.ReadFile(file)
				write(t, file, test.edit(string(text)), 0o600)
			}
			second := map[string]string{"linear": "notion", "notion": "linear"}[test.first]
			for _, name := range []string{test.first, second} {
				if _, err := e.Remove(ctx, p, name); err != nil {
					t.Fatal(err)
				}
			}
			got, err := os.ReadFile(file)
			if test.want == "" {
				if !os.IsNotExist(err) {
					t.Errorf("%q, %v", got, err)
				}
			} else if string(got) != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "state", "*.json")); len(left) > 0 {
				t.Errorf("notes are left: %v", left)
			}
		})
	}
}

// A link stays a link, and a dry run writes nothing.
func TestLinksAndDryRun(t *testing.T) {
	dir, ctx, h := t.TempDir(), context.Background(), Find("cursor")
	file, link := filepath.Join(dir, "real.json"), filepath.Join(dir, "link.json")
	write(t, file, "{}", 0o644)
	if err := os.Symlink("real.json", link); err != nil {
		t.Skip(err)
	}
	e, p := &Editor{Folder: filepath.Join(dir, "state"), DryRun: true}, Place{link, h.Format, h.Path}
	c, err := e.Put(ctx, p, "linear", h.Entry.Object("linear", linear), false)
	if err != nil || !c.Changed() {
		t.Fatal(c, err)
	}
	if text, _ := os.ReadFile(file); string(text) != "{}" || exists(e.Folder) {
		t.Errorf("a dry run wrote %q", text)
	}
	e.DryRun = false
	if _, err := e.Put(ctx, p, "linear", h.Entry.Object("linear", linear), false); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(file)
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 || !bytes.Equal(text, c.After) {
		t.Errorf("%v, %v, %q", info, err, text)
	}
}

// An entry that is written again, and then removed, leaves what was there before the first time.
func TestWrittenAgain(t *testing.T) {
	dir, ctx, h := t.TempDir(), context.Background(), Find("cursor")
	const text = "{\n  \"mcpServers\": {\n    \"linear\": { \"url\": \"https://mcp.linear.app/mcp\" }\n  }\n}\n"
	file := filepath.Join(dir, "file")
	write(t, file, text, 0o600)
	e, p := &Editor{Folder: filepath.Join(dir, "state")}, Place{file, h.Format, h.Path}
	for _, command := range []string{"/old/handstamp", "/new/handstamp", "/new/handstamp"} {
		s := Server{Command: command, Args: linear.Args}
		if _, err := e.Put(ctx, p, "linear", h.Entry.Object("linear", s), command != "/old/handstamp"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.Remove(ctx, p, "linear"); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(file); string(got) != text {
		t.Errorf("%q, want %q", got, text)
	}
}

// An entry of ours that is not noted, of another installation perhaps, is replaced and then
// removed, not brought back.
func TestOursIsNotBroughtBack(t *testing.T) {
	dir, ctx, h := t.TempDir(), context.Background(), Find("cursor")
	file := filepath.Join(dir, "file")
	write(t, file, "{\n  \"mcpServers\": {\n    \"a\": {}\n  }\n}\n", 0o600)
	p := Place{file, h.Format, h.Path}
	for n, command := range []string{"/old/handstamp", "/new/handstamp"} {
		e := &Editor{Folder: filepath.Join(dir, command)}
		s := Server{Command: command, Args: linear.Args}
		if _, err := e.Put(ctx, p, "linear", h.Entry.Object("linear", s), n > 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := (&Editor{Folder: filepath.Join(dir, "/new/handstamp")}).Remove(ctx, p, "linear"); err != nil {
		t.Fatal(err)
	}
	const want = "{\n  \"mcpServers\": {\n    \"a\": {}\n  }\n}\n"
	if got, _ := os.ReadFile(file); string(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Entries that several processes write at the same time are all there, and all go.
func TestEditorsWaitForEachOther(t *testing.T) {
	dir, ctx, h := t.TempDir(), context.Background(), Find("zed")
	const text = "{\n  \"theme\": \"x\" // t\n}\n"
	file := filepath.Join(dir, "file")
	write(t, file, text, 0o600)
	p := Place{file, h.Format, h.Path}
	each := func(do func(e *Editor, name string) error) {
		done := make(chan error)
		for _, name := range []string{"a", "b", "c", "d"} {
			go func() { done <- do(&Editor{Folder: filepath.Join(dir, "state")}, name) }()
		}
		for range 4 {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	}
	each(func(e *Editor, name string) error {
		_, err := e.Put(ctx, p, name, h.Entry.Object(name, linear), false)
		return err
	})
	now, _ := os.ReadFile(file)
	if entries, err := h.Entries(now, ""); err != nil || len(entries) != 4 {
		t.Errorf("%+v, %v", entries, err)
	}
	each(func(e *Editor, name string) error {
		_, err := e.Remove(ctx, p, name)
		return err
	})
	if got, _ := os.ReadFile(file); string(got) != text {
		t.Errorf("%q, want %q", got, text)
	}
}

// An entry that another program has written since it was looked at is neither replaced nor removed.
func TestEntryThatIsNotMeantStays(t *testing.T) {
	ctx, h, dir := context.Background(), Find("cursor"), t.TempDir()
	file := filepath.Join(dir, "file")
	const text = `{"mcpServers": {"linear": {"command": "theirs"}}}`
	write(t, file, text, 0o600)
	e, p := &Editor{Folder: filepath.Join(dir, "state")}, Place{file, h.Format, h.Path}
	e.Meant = func(entry any) bool { return entry == nil }
	_, putErr := e.Put(ctx, p, "linear", h.Entry.Object("linear", linear), false)
	_, removeErr := e.Remove(ctx, p, "linear")
	if !errors.Is(putErr, ErrChanging) || !errors.Is(removeErr, ErrChanging) {
		t.Error(putErr, removeErr)
	}
	if got, _ := os.ReadFile(file); string(got) != text {
		t.Errorf("%s", got)
	}
}

// What another program has written meanwhile is not overwritten.
func TestChangedMeanwhile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "new", 0o600)
	if err := replaceFile(file, []byte("ours"), 0o600, []byte("old")); !errors.Is(err, ErrChanging) {
		t.Error(err)
	}
	if got, _ := os.ReadFile(file); string(got) != "new" {
		t.Errorf("%q", got)
	}
}

// A file that its user has made read-only stays as it is, and so does one that is no file.
func TestNotWritable(t *testing.T) {
	dir, ctx, h := t.TempDir(), context.Background(), Find("cursor")
	file := filepath.Join(dir, "file")
	write(t, file, "{}", 0o400)
	for _, path := range []string{file, dir} {
		e, p := &Editor{Folder: filepath.Join(dir, "state")}, Place{path, h.Format, h.Path}
		if _, err := e.Put(ctx, p, "a", h.Entry.Object("a", linear), false); err == nil {
			t.Errorf("%s was written", path)
		}
	}
	if got, _ := os.ReadFile(file); string(got) != "{}" {
		t.Errorf("%q", got)
	}
}

// Connect and disconnect give every text back that connect takes.
func FuzzConnectDisconnect(f *testing.F) {
	for i, h := range All() {
		for _, text := range odd[h.Format] {
			f.Add(i, section(h, text))
		}
	}
	f.Fuzz(func(t *testing.T, i int, text string) {
		h := All()[uint(i)%uint(len(All()))]
		if entries, err := h.Entries([]byte(text), ""); err != nil || has(entries, "linear", linear.Args[1]) {
			return
		}
		after, err := splice.Put(h.Format, []byte(text), h.Path, "linear", h.Entry.Object("linear", linear))
		if err != nil {
			return
		}
		if _, err := h.Entries(after, ""); err != nil || !splice.OnlyDiffers(h.Format, []byte(text), after, h.Path, "linear") {
			t.Fatalf("%q became %q: %v", text, after, err)
		}
		p := Place{"", h.Format, h.Path}
		if back, ok := newHunk([]byte(text), after).undo(after, p.onlyTakesBack(after, "linear")); !ok || string(back) != text {
			t.Fatalf("%q became %q, and %q", text, after, back)
		}
	})
}

// An entry that the user has removed is not remembered: what is made afterwards is removed.
func TestRemovedByTheUser(t *testing.T) {
	dir, ctx, h := t.TempDir(), context.Background(), Find("cursor")
	file := filepath.Join(dir, "file")
	write(t, file, "{}", 0o600)
	e, p := &Editor{Folder: filepath.Join(dir, "state")}, Place{file, h.Format, h.Path}
	if _, err := e.Put(ctx, p, "linear", h.Entry.Object("linear", linear), false); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Put(ctx, p, "notion", h.Entry.Object("notion", linear), false); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Remove(ctx, p, "notion"); err != nil || exists(file) {
		t.Errorf("the file is still there; %v", err)
	}
}
