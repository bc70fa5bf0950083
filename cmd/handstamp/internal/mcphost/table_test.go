package mcphost

import (
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/splice"
)

// The page has what the table has. After a change: go test -run TestPageIsCurrent -update.
func TestPageIsCurrent(t *testing.T) {
	const begin, end = "<!-- the table: begin -->\n", "<!-- the table: end -->\n"
	page := filepath.Join("..", "..", "..", "..", "docs", "hosts.md")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("the page has no place for the table")
	}
	want := before + begin + markdown() + end + after
	if *update {
		write(t, page, want, 0o644)
	} else if string(text) != want {
		t.Error("docs/hosts.md is not what the table says: go test -run TestPageIsCurrent -update")
	}
}

// markdown returns the table for users.
func markdown() string {
	var out strings.Builder
	out.WriteString("| host | name | file: Linux; macOS; Windows | of a project | where in it | source |\n|---|---|---|---|---|---|\n")
	for _, h := range All() {
		files := []string{paths(h.Linux), paths(h.MacOS), paths(h.Windows)}
		if files[0] == files[1] && files[1] == files[2] {
			files = files[:1]
		}
		file := strings.Join(files, "; ")
		if h.Manual() {
			file = "no file: " + strings.ReplaceAll(h.By, "|", "→") // a pipe would end the cell
		}
		if len(h.Old) > 0 {
			file += ". Old, only read: " + paths(h.Old)
		}
		project := ""
		if h.Project != "" {
			project = "`" + h.Project + "`"
		}
		out.WriteString("| " + strings.Join([]string{
			"`" + h.ID + "`", h.Name, file, project, formats[h.Format] + " `" + strings.Join(h.Path, "` → `") + "`",
			"[source](" + h.Source + ")",
		}, " | ") + " |\n")
	}
	return out.String()
}

var formats = map[splice.Format]string{splice.JSON: "JSON", splice.TOML: "TOML", splice.YAML: "YAML"}

func paths(patterns []string) string {
	if len(patterns) == 0 {
		return "none"
	}
	return "`" + strings.Join(patterns, "`, `") + "`"
}

// Every row is complete, and no name means two hosts.
func TestTableIsSound(t *testing.T) {
	names := make(map[string]string)
	for _, h := range All() {
		for _, name := range append([]string{h.ID, strings.ToLower(h.Name)}, h.Aliases...) {
			if other := names[name]; other != "" && other != h.ID {
				t.Errorf("%q is %s and %s", name, other, h.ID)
			}
			names[name] = h.ID
		}
		if !regexp.MustCompile(`^[a-z][a-z0-9-]*$`).MatchString(h.ID) || h.Format == nil || len(h.Path) == 0 || h.Entry.Command == "" || h.Entry.Env == "" {
			t.Errorf("%s is not complete", h.ID)
		}
		if u, err := url.Parse(h.Source); err != nil || u.Scheme != "https" {
			t.Errorf("%s has no source", h.ID)
		}
		files := len(h.Linux) + len(h.MacOS) + len(h.Windows)
		if h.Manual() != (files == 0 && h.Project == "") {
			t.Errorf("%s has %d files, and is added to by hand: %v", h.ID, files, h.Manual())
		}
		if h.Newer != "" && Find(h.Newer) == nil {
			t.Errorf("%s: there is no %s", h.ID, h.Newer)
		}
		for _, pattern := range append(append(append(h.Old, h.Linux...), h.MacOS...), h.Windows...) {
			if !strings.HasPrefix(pattern, "~/") && !regexp.MustCompile(`^\$[A-Z_]+(/|$)`).MatchString(pattern) {
				t.Errorf("%s: %q begins nowhere", h.ID, pattern)
			}
		}
	}
}

// Where the files are, by system, with the variables that move them.
func TestLocate(t *testing.T) {
	home := t.TempDir()
	for _, dir := range []string{"AppData/Local/Packages/Claude_pzs8sxrjxfjjc", "old/Code/User/globalStorage/saoudrizwan.claude-dev/settings"} {
		if err := os.MkdirAll(filepath.Join(home, filepath.FromSlash(dir)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	old := filepath.Join(home, "old/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json")
	write(t, old, "{}", 0o600)
	write(t, filepath.Join(home, ".cache/lm-studio/mcp.json"), "{}", 0o600)
	write(t, filepath.Join(home, ".config/opencode/opencode.json"), "{}", 0o600)
	for _, test := range []struct {
		host, os string
		env      map[string]string
		want     string
		old      bool
	}{
		{host: "claude-desktop", os: "linux", want: ".config/Claude/claude_desktop_config.json"},
		{host: "claude-desktop", os: "darwin", want: "Library/Application Support/Claude/claude_desktop_config.json"},
		{host: "claude-desktop", os: "windows", env: map[string]string{"APPDATA": "AppData/Roaming"}, want: "AppData/Roaming/Claude/claude_desktop_config.json"},
		{host: "claude-desktop", os: "windows", env: map[string]string{"APPDATA": "AppData/Roaming", "LOCALAPPDATA": "AppData/Local"},
			want: "AppData/Local/Packages/Claude_pzs8sxrjxfjjc/LocalCache/Roaming/Claude/claude_desktop_config.json"},
		{host: "claude-code", os: "linux", want: ".claude.json"},
		{host: "claude-code", os: "linux", env: map[string]string{"CLAUDE_CONFIG_DIR": "c"}, want: "c/.claude.json"},
		{host: "vscode", os: "linux", want: ".config/Code/User/mcp.json"},
		{host: "vscode", os: "linux", env: map[string]string{"XDG_CONFIG_HOME": "x"}, want: "x/Code/User/mcp.json"},
		{host: "codex", os: "darwin", env: map[string]string{"CODEX_HOME": "x"}, want: "x/config.toml"},
		{host: "gemini", os: "windows", env: map[string]string{"GEMINI_CLI_HOME": "x"}, want: "x/.gemini/settings.json"},
		{host: "zed", os: "darwin", want: ".config/zed/settings.json"},
		{host: "zed", os: "windows", env: map[string]string{"APPDATA": "r"}, want: "r/Zed/settings.json"},
		{host: "goose", os: "windows", env: map[string]string{"APPDATA": "r"}, want: "r/Block/goose/config/config.yaml"},
		{host: "cline", os: "linux", env: map[string]string{"XDG_CONFIG_HOME": "old"}, want: ".cline/data/settings/cline_mcp_settings.json", old: true},
		{host: "cline", os: "linux", env: map[string]string{"CLINE_DIR": "c"}, want: "c/data/settings/cline_mcp_settings.json"},
		{host: "cline", os: "linux", env: map[string]string{"CLINE_MCP_SETTINGS_PATH": "c/x.json", "CLINE_DIR": "c"}, want: "c/x.json"},
		{host: "lmstudio", os: "linux", want: ".cache/lm-studio/mcp.json"},
		{host: "opencode", os: "linux", want: ".config/opencode/opencode.json"},
		{host: "opencode", os: "linux", env: map[string]string{"OPENCODE_CONFIG_DIR": "o"}, want: "o/opencode.jsonc"},
		{host: "devin", os: "windows", env: map[string]string{"APPDATA": "r"}, want: "r/devin/mcp_config.json"},
		{host: "kimi", os: "linux", env: map[string]string{"KIMI_SHARE_DIR": "k"}, want: "k/mcp.json"},
	} {
		m := Machine{OS: test.os, Getenv: func(name string) string {
			if dir, ok := test.env[name]; ok {
				return filepath.Join(home, filepath.FromSlash(dir))
			}
			return map[string]string{"HOME": home, "USERPROFILE": home}[name]
		}}
		at := m.Locate(Find(test.host))
		if want := filepath.Join(home, filepath.FromSlash(test.want)); at.File != want {
			t.Errorf("%s on %s, %v: %s, want %s", test.host, test.os, test.env, at.File, want)
		}
		if test.old && !reflect.DeepEqual(at.Old, []string{old}) {
			t.Errorf("%s: old files %v, want %s", test.host, at.Old, old)
		}
	}
	nowhere := Machine{OS: "linux", Getenv: func(string) string { return "" }}
	if at := nowhere.Locate(Find("cursor")); at.File != "" || at.Installed {
		t.Errorf("without a home folder: %+v", at)
	}
}

// What hosts pass on to a server that they start.
func TestBare(t *testing.T) {
	environ := []string{"HOME=/h", "PATH=/p", "SSL_CERT_FILE=/c", "API_KEY=k", "LANG=C", "HTTPS_PROXY=http://u:p@proxy"}
	for _, test := range []struct {
		kind Inheritance
		want []string
	}{
		{Basics, []string{"HOME=/h", "PATH=/p"}},
		{WithoutSecrets, []string{"HOME=/h", "PATH=/p", "LANG=C"}},
		{PathOnly, []string{"PATH=/p"}},
	} {
		if got := test.kind.Bare(environ); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%v: %v, want %v", test.kind, got, test.want)
		}
	}
}

// Entries of servers as hosts and users write them.
func TestEntries(t *testing.T) {
	const u = "https://mcp.example.com/mcp"
	for name, test := range map[string]struct {
		host, text string
		want       Entry
	}{
		"url":               {"cursor", `{"mcpServers":{"a":{"url":"` + u + `","headers":{"X":"1"}}}}`, Entry{Kind: Remote, URL: u, Headers: map[string]string{"X": "1"}}},
		"httpUrl":           {"gemini", `{"mcpServers":{"a":{"httpUrl":"` + u + `"}}}`, Entry{Kind: Remote, URL: u}},
		"serverUrl":         {"windsurf", `{"mcpServers":{"a":{"serverUrl":"` + u + `"}}}`, Entry{Kind: Remote, URL: u}},
		"serverUrl first":   {"antigravity", `{"mcpServers":{"a":{"command":"x","serverUrl":"` + u + `"}}}`, Entry{Kind: Remote, URL: u}},
		"uri":               {"goose", "extensions:\n  a:\n    type: streamable_http\n    uri: " + u, Entry{Kind: Remote, URL: u}},
		"nested transport":  {"cline", `{"mcpServers":{"a":{"transport":{"type":"streamableHttp","url":"` + u + `"}}}}`, Entry{Kind: Remote, URL: u}},
		"TOML":              {"codex", "[mcp_servers.a]\nurl = '" + u + "'\nhttp_headers = { X = '1' }", Entry{Kind: Remote, URL: u, Headers: map[string]string{"X": "1"}}},
		"mcp-remote":        {"cursor", `{"mcpServers":{"a":{"command":"npx","args":["-y","mcp-remote@latest","` + u + `","--header","X: 1"]}}}`, Entry{Kind: MCPRemote, URL: u, Headers: map[string]string{"X": "1"}}},
		"mcp-remote, list":  {"opencode", `{"mcp":{"a":{"type":"local","command":["npx","mcp-remote","` + u + `"]}}}`, Entry{Kind: MCPRemote, URL: u}},
		"mcp-remote, shell": {"cursor", `{"mcpServers":{"a":{"command":"cmd","args":["/c","npx mcp-remote ` + u + `"]}}}`, Entry{Kind: MCPRemote, URL: u}},
		"bridge":            {"zed", `{"context_servers":{"a":{"command":{"path":"/x/handstamp","args":["bridge","` + u + `"]}}}}`, Entry{Kind: Ours, URL: u}},
		"bridge by npx":     {"cursor", `{"mcpServers":{"a":{"command":"npx","args":["-y","handstamp@0.1","bridge","` + u + `"]}}}`, Entry{Kind: Ours, URL: u}},
		"bridge on Windows": {"cursor", `{"mcpServers":{"a":{"command":"C:\\x\\handstamp.exe","args":["bridge","linear"]}}}`, Entry{Kind: Ours, URL: "linear"}},
		"other name":        {"cursor", `{"mcpServers":{"a":{"command":"/x/hs-1.2","args":["bridge","` + u + `"]}}}`, Entry{Kind: Ours, URL: u}},
		"another program":   {"cursor", `{"mcpServers":{"a":{"command":"/x/other","args":["bridge","` + u + `"]}}}`, Entry{Kind: Local}},
		"socket":            {"vscode", `{"servers":{"a":{"type":"http","url":"unix:///x"}}}`, Entry{}},
		"local":             {"vscode", `{"servers":{"a":{"command":"x"}}}`, Entry{Kind: Local}},
	} {
		entries, err := Find(test.host).Entries([]byte(test.text), "/x/hs-1.2")
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var got Entry
		if len(entries) > 0 {
			got = entries[0]
		}
		if got.Kind != test.want.Kind || got.URL != test.want.URL || len(got.Headers) != len(test.want.Headers) || got.Headers["X"] != test.want.Headers["X"] {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}
