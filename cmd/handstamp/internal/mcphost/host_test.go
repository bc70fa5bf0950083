package mcphost

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/splice"
)

// An entry of ours that is written again keeps what its user and its host have put into it, in each
// format; how the bridge is started is not theirs.
func TestKeep(t *testing.T) {
	for name, test := range map[string]struct{ host, text, want string }{
		"JSON": {"cline", `{"mcpServers":{"linear":{"command":"/old","args":["x"],"env":{"A":"b"},"cmd":"y",` +
			`"autoApprove":[],"disabled":true,"timeout":1.50,"oauth":{"scopes":["a"],"none":null}}}}`,
			`{"args":["bridge","https://mcp.linear.app/mcp"],"autoApprove":[],"command":"/opt/handstamp","disabled":true,` +
				`"oauth":{"none":null,"scopes":["a"]},"timeout":1.50,"type":"stdio"}`},
		"JSON, a member of the shape": {"copilot-cli", `{"mcpServers":{"linear":{"type":"local","command":"/old","args":[],"tools":["get"]}}}`,
			`{"args":["bridge","https://mcp.linear.app/mcp"],"command":"/opt/handstamp","tools":["get"],"type":"local"}`},
		"JSON, a list": {"opencode", `{"mcp":{"linear":{"type":"local","command":["/old"],"enabled":false,"timeout":5}}}`,
			`{"command":["/opt/handstamp","bridge","https://mcp.linear.app/mcp"],"enabled":false,"timeout":5,"type":"local"}`},
		"TOML": {"codex", "[mcp_servers.linear]\ncommand = '/old'\nargs = ['x']\nstartup_timeout_sec = 90\nenabled_tools = ['a']\n" +
			"[mcp_servers.linear.tools.search]\napproval_mode = 'approve'\n",
			`{"args":["bridge","https://mcp.linear.app/mcp"],"command":"/opt/handstamp","enabled_tools":["a"],` +
				`"startup_timeout_sec":90,"tools":{"search":{"approval_mode":"approve"}}}`},
		"JSON, connected to by the host before": {"vscode", `{"servers":{"linear":{"type":"http","url":"u","command":"/old","args":[],"dev":{}}}}`,
			`{"args":["bridge","https://mcp.linear.app/mcp"],"command":"/opt/handstamp","dev":{},"type":"stdio"}`},
		"YAML": {"goose", "extensions:\n  linear:\n    type: stdio\n    name: linear\n    cmd: /old\n    args: [x]\n    enabled: false\n" +
			"    timeout: 10\n    available_tools: []\n",
			`{"args":["bridge","https://mcp.linear.app/mcp"],"available_tools":[],"cmd":"/opt/handstamp","description":"","enabled":false,` +
				`"name":"linear","timeout":10,"type":"stdio"}`},
	} {
		t.Run(name, func(t *testing.T) {
			h, file := Find(test.host), filepath.Join(t.TempDir(), "file")
			write(t, file, test.text, 0o600)
			e, p := &Editor{Folder: filepath.Join(t.TempDir(), "state")}, Place{file, h.Format, h.Path}
			put := func() *Change {
				text, _ := os.ReadFile(file)
				members, err := splice.Members(h.Format, text, h.Path)
				if err != nil {
					t.Fatal(err)
				}
				entry := h.Entry.Keep(h.Entry.Object("linear", linear), members["linear"])
				c, err := e.Put(context.Background(), p, "linear", entry, true)
				if err != nil {
					t.Fatal(err)
				}
				return c
			}
			put()
			text, _ := os.ReadFile(file)
			members, err := splice.Members(h.Format, text, h.Path)
			if got, _ := json.Marshal(members["linear"]); err != nil || string(got) != test.want {
				t.Errorf("%v, %s, want %s", err, got, test.want)
			}
			if c := put(); c.Changed() {
				t.Errorf("changed again: %s", c.After)
			}
		})
	}
}

// Values of every type that a format has are kept as they are.
func TestKeepEachType(t *testing.T) {
	for host, text := range map[string]string{
		"cline": `{"mcpServers":{"linear":{"command":"/old","args":[],"a":[1,"x",{"b":[null]}],"c":[],"d":{},"e":1.50,"f":[["x"]]}}}`,
		"codex": "[mcp_servers.linear]\ncommand = '/old'\nenv_vars = ['A', {name = 'B', 'a b' = [1]}]\nwhen = 1979-05-27T07:32:00.5-07:00\n" +
			"day = 1979-05-27\ntime = 07:32:00\nlocal = 1979-05-27T07:32:00\nwhole = 30.0\nbig = 1e300\nlimit = -inf\n" +
			"none = []\nempty = {}\n",
		"goose": "extensions:\n  linear:\n    cmd: /old\n    headers: {}\n    list: []\n    limit: .inf\n    when: 1979-05-27\n    n: 1.5\n" +
			"    codes: {1: a, true: [b, \"yes\"]}\n    more: [{a: b}, 1, [\"no\"]]\n    none: null\n",
	} {
		h := Find(host)
		members, err := splice.Members(h.Format, []byte(text), h.Path)
		if err != nil {
			t.Fatal(err)
		}
		before := members["linear"].(map[string]any)
		entry := h.Entry.Keep(h.Entry.Object("linear", linear), before)
		after, err := splice.Put(h.Format, []byte(text), h.Path, "linear", entry)
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		members, _ = splice.Members(h.Format, after, h.Path)
		for name, value := range before {
			if now := members["linear"].(map[string]any)[name]; !reflect.DeepEqual(now, value) && !slices.Contains(starting, name) {
				t.Errorf("%s: %s is %#v, want %#v", host, name, now, value)
			}
		}
	}
}

// An entry has variables that are no texts, and in the oldest form of Zed.
func TestVariables(t *testing.T) {
	for host, text := range map[string]string{
		"vscode": `{"servers":{"linear":{"command":"handstamp","args":["bridge","x"],"env":{"A":"b","N":1,"NULL":null}}}}`,
		"zed":    `{"context_servers":{"linear":{"command":{"path":"handstamp","args":["bridge","x"],"env":{"A":"b","N":1,"NULL":null}}}}}`,
	} {
		h := Find(host)
		entries, err := h.Entries([]byte(text), "")
		if err != nil || len(entries) != 1 {
			t.Fatal(entries, err)
		}
		if got, _ := json.Marshal(h.Entry.Variables(entries[0])); string(got) != `{"A":"b","N":1,"NULL":null}` {
			t.Errorf("%s: %s", host, got)
		}
	}
}

// An entry that a host has written in another form is left as it is.
func TestSameEntryInAnotherFormStays(t *testing.T) {
	h, file := Find("cursor"), filepath.Join(t.TempDir(), "file")
	write(t, file, "{\"mcpServers\": {\n\t\"linear\": { \"args\": [\"bridge\", \"https://mcp.linear.app/mcp\"], // mine\n\t\"command\": \"/opt/handstamp\" }}}", 0o600)
	e, p := &Editor{Folder: filepath.Join(t.TempDir(), "state")}, Place{file, h.Format, h.Path}
	c, err := e.Put(context.Background(), p, "linear", h.Entry.Object("linear", linear), true)
	if err != nil || c.Changed() {
		t.Errorf("%v, %s", err, c.After)
	}
}
