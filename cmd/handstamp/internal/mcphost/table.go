package mcphost

import (
	"sync"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/splice"
)

// What several hosts share.
var (
	plain   = Shape{Command: "command", Args: "args", Env: "env"}
	servers = []string{"mcpServers"}
)

// typed is plain with a type.
func typed(word string) Shape {
	return Shape{First: splice.Object{{Name: "type", Value: word}}, Command: "command", Args: "args", Env: "env"}
}

// All returns the hosts, the best known first.
func All() []*Host { return all() }

// all is made on first use: few commands need it.
var all = sync.OnceValue(func() []*Host {
	var all []*Host
	for _, part := range [][]Host{best(), further(), manual()} {
		for i := range part {
			all = append(all, &part[i])
		}
	}
	return all
})

func best() []Host {
	return []Host{
		{
			ID: "claude-desktop", Name: "Claude Desktop", Aliases: []string{"claude"},
			Linux: []string{"$CONFIG/Claude/claude_desktop_config.json"},
			MacOS: []string{"$CONFIG/Claude/claude_desktop_config.json"},
			Windows: []string{
				"$LOCALAPPDATA/Packages/Claude_*/LocalCache/Roaming/Claude/claude_desktop_config.json",
				"$CONFIG/Claude/claude_desktop_config.json",
			},
			Format: splice.JSON, Strict: true, Path: servers, Entry: plain,
			After:  "quit Claude Desktop completely and start it again",
			Source: "https://modelcontextprotocol.io/docs/develop/connect-local-servers",
		},
		{
			ID: "claude-code", Name: "Claude Code",
			Linux:   []string{"$CLAUDE_CONFIG_DIR/.claude.json", "~/.claude.json"},
			MacOS:   []string{"$CLAUDE_CONFIG_DIR/.claude.json", "~/.claude.json"},
			Windows: []string{"$CLAUDE_CONFIG_DIR/.claude.json", "~/.claude.json"},
			Project: ".mcp.json", Old: []string{"~/.claude/settings.json"}, Projects: "projects",
			Format: splice.JSON, Strict: true, Path: servers, Entry: typed("stdio"),
			Tool: "claude", After: "start a new session of Claude Code",
			Source: "https://code.claude.com/docs/en/mcp",
		},
		{
			ID: "cursor", Name: "Cursor",
			Linux: []string{"~/.cursor/mcp.json"}, MacOS: []string{"~/.cursor/mcp.json"},
			Windows: []string{"~/.cursor/mcp.json"}, Project: ".cursor/mcp.json",
			Old:    []string{"$CONFIG/Cursor/User/mcp.json", "$CONFIG/Cursor/User/settings.json"},
			Format: splice.JSON, Strict: true, Path: servers, Entry: plain,
			Source: "https://cursor.com/docs/mcp",
		},
		{
			ID: "vscode", Name: "VS Code", Aliases: []string{"code", "vs-code"},
			Linux: []string{
				"$CONFIG/Code/User/mcp.json", "~/.var/app/com.visualstudio.code/config/Code/User/mcp.json",
				"~/.vscode-server/data/User/mcp.json",
			},
			MacOS: []string{"$CONFIG/Code/User/mcp.json"}, Windows: []string{"$CONFIG/Code/User/mcp.json"},
			Project: ".vscode/mcp.json", Old: []string{"$CONFIG/Code/User/settings.json"},
			OldPath: []string{"mcp", "servers"},
			Format:  splice.JSON, Path: []string{"servers"}, Entry: typed("stdio"),
			After:  "start the server in VS Code with MCP: List Servers",
			Source: "https://code.visualstudio.com/docs/copilot/reference/mcp-configuration",
		},
		{
			ID: "vscode-insiders", Name: "VS Code Insiders",
			Linux:   []string{"$CONFIG/Code - Insiders/User/mcp.json"},
			MacOS:   []string{"$CONFIG/Code - Insiders/User/mcp.json"},
			Windows: []string{"$CONFIG/Code - Insiders/User/mcp.json"},
			Project: ".vscode/mcp.json", Old: []string{"$CONFIG/Code - Insiders/User/settings.json"},
			OldPath: []string{"mcp", "servers"},
			Format:  splice.JSON, Path: []string{"servers"}, Entry: typed("stdio"),
			After:  "start the server in VS Code with MCP: List Servers",
			Source: "https://code.visualstudio.com/docs/copilot/reference/mcp-configuration",
		},
		{
			ID: "vscodium", Name: "VSCodium", Aliases: []string{"codium"},
			Linux:   []string{"$CONFIG/VSCodium/User/mcp.json", "$CONFIG/Code - OSS/User/mcp.json"},
			MacOS:   []string{"$CONFIG/VSCodium/User/mcp.json", "$CONFIG/Code - OSS/User/mcp.json"},
			Windows: []string{"$CONFIG/VSCodium/User/mcp.json", "$CONFIG/Code - OSS/User/mcp.json"},
			Project: ".vscode/mcp.json", Old: []string{"$CONFIG/VSCodium/User/settings.json"},
			OldPath: []string{"mcp", "servers"},
			Format:  splice.JSON, Path: []string{"servers"}, Entry: typed("stdio"),
			After:  "start the server in VSCodium with MCP: List Servers",
			Source: "https://code.visualstudio.com/docs/copilot/reference/mcp-configuration",
		},
		{
			ID: "copilot-cli", Name: "Copilot CLI", Aliases: []string{"copilot"},
			Linux:   []string{"$COPILOT_HOME/mcp-config.json", "~/.copilot/mcp-config.json"},
			MacOS:   []string{"$COPILOT_HOME/mcp-config.json", "~/.copilot/mcp-config.json"},
			Windows: []string{"$COPILOT_HOME/mcp-config.json", "~/.copilot/mcp-config.json"},
			Project: ".mcp.json",
			Format:  splice.JSON, Strict: true, Path: servers, Env: PathOnly,
			Entry: Shape{First: splice.Object{{Name: "type", Value: "local"}}, Command: "command", Args: "args",
				Env: "env", Last: splice.Object{{Name: "tools", Value: []string{"*"}}}},
			Source: "https://docs.github.com/en/copilot/how-tos/copilot-cli/customize-copilot/add-mcp-servers",
		},
		{
			ID: "codex", Name: "Codex", Aliases: []string{"codex-cli", "chatgpt"},
			Linux:   []string{"$CODEX_HOME/config.toml", "~/.codex/config.toml"},
			MacOS:   []string{"$CODEX_HOME/config.toml", "~/.codex/config.toml"},
			Windows: []string{"$CODEX_HOME/config.toml", "~/.codex/config.toml"},
			Project: ".codex/config.toml",
			Format:  splice.TOML, Path: []string{"mcp_servers"},
			Entry: Shape{Command: "command", Args: "args", Env: "env",
				Last: splice.Object{{Name: "startup_timeout_sec", Value: 60}}},
			After:  "restart Codex",
			Source: "https://developers.openai.com/codex/mcp",
		},
		{
			ID: "gemini", Name: "Gemini CLI", Aliases: []string{"gemini-cli"},
			Linux:   []string{"$GEMINI_CLI_HOME/.gemini/settings.json", "~/.gemini/settings.json"},
			MacOS:   []string{"$GEMINI_CLI_HOME/.gemini/settings.json", "~/.gemini/settings.json"},
			Windows: []string{"$GEMINI_CLI_HOME/.gemini/settings.json", "~/.gemini/settings.json"},
			Project: ".gemini/settings.json",
			Format:  splice.JSON, Path: servers, Entry: plain, Env: WithoutSecrets,
			After:  "run /mcp reload in Gemini CLI",
			Source: "https://github.com/google-gemini/gemini-cli/blob/main/docs/tools/mcp-server.md",
		},
		{
			ID: "antigravity", Name: "Antigravity",
			Linux:   []string{"~/.gemini/config/mcp_config.json"},
			MacOS:   []string{"~/.gemini/config/mcp_config.json"},
			Windows: []string{"~/.gemini/config/mcp_config.json"},
			Project: ".agents/mcp_config.json", Old: []string{"~/.gemini/antigravity/mcp_config.json"},
			Format: splice.JSON, Strict: true, Path: servers, Entry: plain, Env: WithoutSecrets,
			After:  "press Refresh in Antigravity's list of MCP servers",
			Source: "https://developer.mescius.com/blogs/google-antigravity-cli",
		},
		{
			ID: "devin", Name: "Devin Desktop", Aliases: []string{"devin-desktop", "devin-cli"},
			Linux: []string{"~/.config/devin/mcp_config.json"}, MacOS: []string{"~/.config/devin/mcp_config.json"},
			Windows: []string{"$CONFIG/devin/mcp_config.json"}, Project: ".devin/mcp_config.json",
			Format: splice.JSON, Strict: true, Path: servers, Entry: plain,
			After:  "press Refresh in Devin's list of MCP servers",
			Source: "https://docs.sevalla.com/ai-agents/windsurf",
		},
		{
			ID: "windsurf", Name: "Windsurf",
			Linux: []string{"~/.codeium/windsurf/mcp_config.json"}, MacOS: []string{"~/.codeium/windsurf/mcp_config.json"},
			Windows: []string{"~/.codeium/windsurf/mcp_config.json"}, Old: []string{"~/.codeium/mcp_config.json"},
			Format: splice.JSON, Strict: true, Path: servers, Entry: plain,
			After:  "press Refresh in Windsurf's list of MCP servers; since June 2026 Windsurf is Devin Desktop (handstamp client connect devin)",
			Source: "https://docs.windsurf.com/windsurf/cascade/mcp",
		},
		{
			ID: "zed", Name: "Zed",
			Linux: []string{"$XDG_CONFIG_HOME/zed/settings.json", "~/.config/zed/settings.json"}, MacOS: []string{"~/.config/zed/settings.json"},
			Windows: []string{"$CONFIG/Zed/settings.json"}, Project: ".zed/settings.json",
			Old:    []string{"$CONFIG/Zed/settings.json"},
			Format: splice.JSON, Path: []string{"context_servers"},
			Entry:  Shape{First: splice.Object{{Name: "source", Value: "custom"}}, Command: "command", Args: "args", Env: "env"},
			Source: "https://zed.dev/docs/ai/mcp",
		},
		{
			ID: "cline", Name: "Cline",
			Linux:   clineFiles,
			MacOS:   clineFiles,
			Windows: clineFiles,
			Old:     inEditors("saoudrizwan.claude-dev/settings/cline_mcp_settings.json"),
			Format:  splice.JSON, Strict: true, Path: servers, Entry: typed("stdio"),
			Source: "https://github.com/cline/cline/blob/main/sdk/packages/shared/src/storage/paths.ts",
		},
		{
			ID: "goose", Name: "Goose",
			Linux:   []string{"$XDG_CONFIG_HOME/goose/config.yaml", "~/.config/goose/config.yaml"},
			MacOS:   []string{"~/.config/goose/config.yaml"},
			Windows: []string{"$CONFIG/Block/goose/config/config.yaml"},
			Format:  splice.YAML, Path: []string{"extensions"},
			Entry: Shape{
				First: splice.Object{{Name: "type", Value: "stdio"}, {Name: "name", Value: nameOf{}},
					{Name: "description", Value: ""}, {Name: "enabled", Value: true}},
				Command: "cmd", Args: "args", Env: "envs",
				Last: splice.Object{{Name: "timeout", Value: 300}}},
			After:  "start a new session of Goose",
			Source: "https://block.github.io/goose/docs/guides/config-files",
		},
		{
			ID: "lmstudio", Name: "LM Studio", Aliases: []string{"lm-studio"},
			Linux:   []string{"~/.lmstudio/mcp.json", "~/.cache/lm-studio/mcp.json"},
			MacOS:   []string{"~/.lmstudio/mcp.json", "~/.cache/lm-studio/mcp.json"},
			Windows: []string{"~/.lmstudio/mcp.json", "~/.cache/lm-studio/mcp.json"},
			Format:  splice.JSON, Strict: true, Path: servers, Entry: plain,
			Source: "https://lmstudio.ai/docs/app/mcp",
		},
		{
			ID: "opencode", Name: "opencode", Aliases: []string{"opencode-1"},
			Linux: opencodeFiles, MacOS: opencodeFiles, Windows: opencodeFiles, Project: "opencode.json",
			Format: splice.JSON, Path: []string{"mcp"}, Entry: opencodeShape("enabled", true),
			Newer: "opencode-2",
			After: "restart opencode", Source: "https://opencode.ai/docs/mcp-servers",
		},
		{
			ID: "opencode-2", Name: "opencode 2", Aliases: []string{"opencode2"},
			Linux: opencodeFiles, MacOS: opencodeFiles, Windows: opencodeFiles, Project: "opencode.json",
			Format: splice.JSON, Path: []string{"mcp", "servers"}, Entry: opencodeShape("disabled", false),
			After: "restart opencode", Source: "https://opencode.ai/v2/docs/mcp-servers",
		},
	}
}

// inEditors returns where an extension of VS Code and its kin keeps a file.
func inEditors(file string) []string {
	var files []string
	for _, editor := range []string{"Code", "Code - Insiders", "VSCodium", "Cursor", "Windsurf"} {
		files = append(files, "$CONFIG/"+editor+"/User/globalStorage/"+file)
	}
	return files
}

var (
	clineFiles = []string{
		"$CLINE_MCP_SETTINGS_PATH", "$CLINE_DATA_DIR/settings/cline_mcp_settings.json",
		"$CLINE_DIR/data/settings/cline_mcp_settings.json", "~/.cline/data/settings/cline_mcp_settings.json",
	}
	opencodeFiles = []string{
		"$OPENCODE_CONFIG_DIR/opencode.jsonc", "$OPENCODE_CONFIG_DIR/opencode.json",
		"$XDG_CONFIG_HOME/opencode/opencode.jsonc", "$XDG_CONFIG_HOME/opencode/opencode.json",
		"~/.config/opencode/opencode.jsonc", "~/.config/opencode/opencode.json",
	}
)

// opencodeShape is an entry of opencode, whose default of 5 s is short for a server that is
// far away.
func opencodeShape(word string, on bool) Shape {
	return Shape{First: splice.Object{{Name: "type", Value: "local"}}, Command: "command", Env: "environment",
		Last: splice.Object{{Name: word, Value: on}, {Name: "timeout", Value: 60000}}}
}
