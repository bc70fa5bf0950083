package mcphost

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/splice"
)

// What an entry has replaced comes back, wherever else the file has the same text, and whatever of
// it the entry has, too.
func TestReplacedEntryComesBack(t *testing.T) {
	// The entry as it is written on one line, and with a member of the user's.
	const ours = `{"command":"/opt/handstamp","args":["bridge","https://mcp.linear.app/mcp"]}`
	more := strings.Replace(ours, "}", `,"disabled":true}`, 1)
	for name, test := range map[string]struct {
		text string
		edit func(string) string // after the entry is written
	}{
		"empty":                  {text: `{"mcpServers":{"linear":{}}}`},
		"empty, beside the same": {text: `{"mcpServers":{"a":` + ours + `,"linear":{}}}`},
		"with more members":      {text: `{"mcpServers":{"linear":` + more + `}}`},
		"with fewer":             {text: `{"mcpServers":{"linear":{"command":"/opt/handstamp"}}}`},
		"a longer command":       {text: `{"mcpServers":{"linear":{"command":"/opt/handstamp-too","args":["bridge","https://mcp.linear.app/mcp"]}}}`},
		"null":                   {text: `{"mcpServers":{"linear":null,"b":{}}}`},
		"copied": {
			text: `{"mcpServers":{"linear":{},"b":{}}}`,
			edit: func(s string) string { return strings.Replace(s, `{"linear"`, `{"copy":`+ours+`,"linear"`, 1) },
		},
		"copied into a comment": {
			text: `{"mcpServers":{"linear":{},"b":{}}}`,
			edit: func(s string) string {
				return strings.Replace(s, `{"linear"`, `{/*"linear":`+ours+`*/"linear"`, 1)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, h, dir := context.Background(), Find("cursor"), t.TempDir()
			file := filepath.Join(dir, "mcp.json")
			write(t, file, test.text, 0o600)
			e, p := &Editor{Folder: filepath.Join(dir, "state")}, Place{file, h.Format, h.Path}
			if _, err := e.Put(ctx, p, "linear", h.Entry.Object("linear", linear), false); err != nil {
				t.Fatal(err)
			}
			want := test.text
			if test.edit != nil {
				text, _ := os.ReadFile(file)
				write(t, file, test.edit(string(text)), 0o600)
				want = test.edit(want)
			}
			if _, err := e.Remove(ctx, p, "linear"); err != nil {
				t.Fatal(err)
			}
			if got, _ := os.ReadFile(file); string(got) != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

// A host that rewrites its file keeps what is in it, not the bytes: what an entry has replaced
// comes back with its content, also if the entry has been written twice or edited.
func TestReplacedEntryComesBackFromAnotherText(t *testing.T) {
	for name, test := range map[string]struct {
		host, text string
		want       string // the entry
	}{
		"JSON": {"cursor", `{"mcpServers":{"linear":{"url":"https://mcp.linear.app/mcp","n":1.50,"x":[{"a":null}],"h":{"k":["v"]}}}}`,
			`{"h":{"k":["v"]},"n":1.50,"url":"https://mcp.linear.app/mcp","x":[{"a":null}]}`},
		"TOML": {"codex", "[mcp_servers.linear]\nurl = 'https://mcp.linear.app/mcp'\nenv_vars = ['A', {name = 'B'}]\n[mcp_servers.linear.http_headers]\nA = 'b'\n",
			`{"env_vars":["A",{"name":"B"}],"http_headers":{"A":"b"},"url":"https://mcp.linear.app/mcp"}`},
		"YAML": {"goose", "extensions:\n  linear:\n    uri: https://mcp.linear.app/mcp\n    timeout: 300\n    enabled: true\n    bundled: null\n" +
			"    headers: {}\n    tools: []\n",
			`{"bundled":null,"enabled":true,"headers":{},"timeout":300,"tools":[],"uri":"https://mcp.linear.app/mcp"}`},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, h, dir := context.Background(), Find(test.host), t.TempDir()
			file := filepath.Join(dir, "file")
			write(t, file, test.text, 0o600)
			e, p := &Editor{Folder: filepath.Join(dir, "state")}, Place{file, h.Format, h.Path}
			for n, command := range []string{"/old/handstamp", "/new/handstamp"} {
				s := Server{Command: command, Args: linear.Args}
				if _, err := e.Put(ctx, p, "linear", h.Entry.Object("linear", s), n > 0); err != nil {
					t.Fatal(err)
				}
				text, _ := os.ReadFile(file)
				write(t, file, strings.ReplaceAll(string(text), "handstamp\"", "handstamp-too\""), 0o600)
			}
			if !e.Replaced(p, "linear") {
				t.Error("not noted")
			}
			if c, err := e.Remove(ctx, p, "linear"); err != nil || c.Lost {
				t.Fatal(c, err)
			}
			text, _ := os.ReadFile(file)
			members, err := splice.Members(h.Format, text, h.Path)
			if got, _ := json.Marshal(members["linear"]); err != nil || string(got) != test.want {
				t.Errorf("%v, %s from\n%s", err, got, text)
			}
			if left, _ := filepath.Glob(filepath.Join(e.Folder, "*.json")); left != nil || e.Replaced(p, "linear") {
				t.Errorf("still noted: %v", left)
			}
		})
	}
}

// What cannot be brought back is reported.
func TestReplacedTextIsLost(t *testing.T) {
	ctx, h, dir := context.Background(), Find("cursor"), t.TempDir()
	file := filepath.Join(dir, "file")
	write(t, file, `{"mcpServers":{"linear":"mine"}}`, 0o600)
	e, p := &Editor{Folder: filepath.Join(dir, "state")}, Place{file, h.Format, h.Path}
	if _, err := e.Put(ctx, p, "linear", h.Entry.Object("linear", linear), false); err != nil {
		t.Fatal(err)
	}
	write(t, file, `{"mcpServers":{"linear":{"command":"handstamp","args":["bridge","x"]}}}`, 0o600)
	if c, err := e.Remove(ctx, p, "linear"); err != nil || !c.Lost {
		t.Error(c, err)
	}
}

// An edit that fails, or is killed between notes and file, leaves notes that fit the file.
func TestNotesOfAnEditThatFails(t *testing.T) {
	const text = "{\n  \"mcpServers\": {\n    \"linear\": { \"url\": \"https://mcp.linear.app/mcp\" }\n  }\n}\n"
	h := Find("cursor")
	for name, edit := range map[string]func(j *journal, p Place, before []byte) ([]byte, error){
		"removed": func(j *journal, p Place, before []byte) ([]byte, error) {
			after, _, err := j.takeBack(p, before, "linear")
			return after, err
		},
		"written again": func(j *journal, p Place, before []byte) ([]byte, error) {
			s := Server{Command: "/new/handstamp", Args: linear.Args}
			return j.put(p, before, "linear", h.Entry.Object("linear", s), true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, dir := context.Background(), t.TempDir()
			file := filepath.Join(dir, "file")
			write(t, file, text, 0o600)
			e, p := &Editor{Folder: filepath.Join(dir, "state")}, Place{file, h.Format, h.Path}
			for _, name := range []string{"linear", "notion"} {
				if _, err := e.Put(ctx, p, name, h.Entry.Object(name, linear), false); err != nil {
					t.Fatal(err)
				}
			}
			before, _ := os.ReadFile(file)
			for range 3 {
				was, j := e.readJournal(file), e.readJournal(file)
				after, err := edit(j, p, before)
				if err != nil {
					t.Fatal(err)
				}
				c := &Change{File: file, Before: []byte("what the file does not have"), After: after}
				if err := e.write(c, was, j, 0o600); !errors.Is(err, ErrChanging) {
					t.Fatal(err)
				}
			}
			for _, name := range []string{"linear", "notion"} {
				if _, err := e.Remove(ctx, p, name); err != nil {
					t.Fatal(err)
				}
			}
			if got, _ := os.ReadFile(file); string(got) != text {
				t.Errorf("%s", got)
			}
		})
	}
}
