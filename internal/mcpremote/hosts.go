package mcpremote

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
)

// Places are the folders below which programs keep the list of the MCP servers
// that they start. Empty ones are left out.
type Places struct {
	Home   string
	Config string // XDG_CONFIG_HOME, Application Support or %AppData%
	Work   string // of a project
}

// Files returns the files in which programs that start MCP servers list them:
// Claude Desktop and Claude Code, Cursor, VS Code and its kin, Windsurf, Gemini
// CLI, Codex, Zed and others. Most are not there on any one machine.
func (p Places) Files() []string {
	var files []string
	add := func(base string, names ...string) {
		for _, name := range names {
			if base != "" {
				files = append(files, filepath.Join(base, filepath.FromSlash(name)))
			}
		}
	}
	add(p.Home,
		".claude.json", ".claude/settings.json",
		".cursor/mcp.json",
		".codeium/windsurf/mcp_config.json", ".codeium/mcp_config.json",
		".gemini/settings.json",
		".codex/config.toml",
		".copilot/mcp-config.json", ".lmstudio/mcp.json",
		".kiro/settings/mcp.json", ".junie/mcp/mcp.json",
		".aws/amazonq/mcp.json", ".continue/config.yaml",
		".config/opencode/opencode.json", ".config/zed/settings.json",
		".config/goose/config.yaml",
	)
	add(p.Config, "Claude/claude_desktop_config.json", "Zed/settings.json", "goose/config.yaml",
		"opencode/opencode.json")
	for _, editor := range []string{"Code", "Code - Insiders", "VSCodium", "Cursor", "Windsurf"} {
		add(p.Config,
			editor+"/User/mcp.json", editor+"/User/settings.json",
			editor+"/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
			editor+"/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json",
		)
	}
	add(p.Work, ".mcp.json", ".cursor/mcp.json", ".vscode/mcp.json", ".gemini/settings.json",
		".roo/mcp.json", ".kiro/settings/mcp.json")
	return files
}

// Commands returns the command lines of mcp-remote, or of handstamp bridge in its
// place, in a program's list of servers, whatever its shape: any object with args, or
// with a command that is a list. Where a program puts variables into the arguments
// itself, both readings are returned. What cannot be read as JSON, with comments and
// commas as people leave them, gives none; URLs finds something in any text.
func Commands(text []byte, source string, around Surroundings) []*Command {
	var document any
	if json.Unmarshal(plainJSON(text), &document) != nil {
		return nil
	}
	var found []*Command
	var walk func(v any, depth int)
	walk = func(v any, depth int) {
		if depth > maxDepth {
			return
		}
		switch v := v.(type) {
		case map[string]any:
			words := slices.Concat(texts(v["command"]), texts(v["path"]), texts(v["args"]))
			if args, ok := arguments(words); ok {
				found = append(found, readings(args, source, with(around, v["env"]))...)
			}
			for _, name := range slices.Sorted(maps.Keys(v)) {
				walk(v[name], depth+1)
			}
		case []any:
			for _, element := range v {
				walk(element, depth+1)
			}
		}
	}
	walk(document, 0)
	return found
}

// maxDepth bounds the nesting of a list of servers.
const maxDepth = 64

// readings returns what a command line means with its variables as they are and
// with the ones that are set put in.
func readings(args []string, source string, around Surroundings) []*Command {
	var found []*Command
	expanded := make([]string, len(args))
	differs := false
	for i, arg := range args {
		expanded[i] = Expand(arg, around)
		differs = differs || expanded[i] != arg
	}
	for i, args := range [][]string{args, expanded} {
		if c, err := ParseCommand(args, around); err == nil && (i == 0 || differs) {
			c.Source = source
			found = append(found, c)
		}
	}
	return found
}

// with adds the variables that a list of servers sets for one of them.
func with(around Surroundings, env any) Surroundings {
	set, ok := env.(map[string]any)
	if !ok {
		return around
	}
	return Surroundings{ReadFile: around.ReadFile, Getenv: func(name string) string {
		if v, ok := set[name].(string); ok {
			return v
		}
		return around.getenv(name)
	}}
}

// texts returns the strings of a member that is one or a list of them. One in a
// list that is none ends it.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var list []string
		for _, element := range v {
			text, ok := element.(string)
			if !ok {
				return list
			}
			list = append(list, text)
		}
		return list
	}
	return nil
}
