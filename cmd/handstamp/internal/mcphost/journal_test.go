package mcphost

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
