package mcphost

import "github.com/handstamp/handstamp/cmd/handstamp/internal/splice"

func further() []Host {
	return []Host{
		{
			ID: "kiro", Name: "Kiro",
			Linux: []string{"~/.kiro/settings/mcp.json"}, MacOS: []string{"~/.kiro/settings/mcp.json"},
			Windows: []string{"~/.kiro/settings/mcp.json"}, Project: ".kiro/settings/mcp.json",
			Format: splice.JSON, Strict: true, Path: servers, Entry: plain,
			Source: "https://kiro.dev/docs/mcp/configuration",
		},
		{
			ID: "amazon-q", Name: "Amazon Q CLI", Aliases: []string{"amazonq", "q"},
			Linux: []string{"~/.aws/amazonq/mcp.json"}, MacOS: []string{"~/.aws/amazonq/mcp.json"},
			Windows: []string{"~/.aws/amazonq/mcp.json"}, Project: ".amazonq/mcp.json",
			Format: splice.JSON, Strict: true, Path: servers, Entry: plain,
			After:  "restart Amazon Q; an agent of your own needs \"useLegacyMcpJson\": true to see this server",
			Source: "https://github.com/aws/amazon-q-developer-cli/blob/main/docs/agent-format.md",
		},
		{
			ID: "qwen", Name: "Qwen Code", Aliases: []string{"qwen-code"},
			Linux: []string{"~/.qwen/settings.json"}, MacOS: []string{"~/.qwen/settings.json"},
			Windows: []string{"~/.qwen/settings.json"}, Project: ".qwen/settings.json",
			Format: splice.JSON, Path: servers, Env: WithoutSecrets,
			Entry: Shape{Command: "command", Args: "args", Env: "env",
				Last: splice.Object{{Name: "discoveryTimeoutMs", Value: 60000}}},
			After:  "restart Qwen Code",
			Source: "https://github.com/QwenLM/qwen-code/blob/main/docs/users/features/mcp.md",
		},
		{
			ID: "roo", Name: "Roo Code", Aliases: []string{"roo-code", "roo-cline"},
			Linux: rooFiles, MacOS: rooFiles, Windows: rooFiles, Project: ".roo/mcp.json",
			Old:    inEditors("rooveterinaryinc.roo-cline/settings/mcp_settings.json"),
			Format: splice.JSON, Strict: true, Path: servers, Entry: plain,
			After:  "restart the server in Roo Code's list; Roo Code had its last release in May 2026",
			Source: "https://docs.roocode.com/features/mcp/using-mcp-in-roo",
		},
		{
			ID: "junie", Name: "Junie",
			Linux: []string{"~/.junie/mcp/mcp.json"}, MacOS: []string{"~/.junie/mcp/mcp.json"},
			Windows: []string{"~/.junie/mcp/mcp.json"}, Project: ".junie/mcp/mcp.json",
			Format: splice.JSON, Strict: true, Path: servers, Entry: plain,
			Source: "https://www.jetbrains.com/help/junie/model-context-protocol-mcp.html",
		},
		{
			ID: "warp", Name: "Warp",
			Linux: []string{"~/.warp/.mcp.json"}, MacOS: []string{"~/.warp/.mcp.json"},
			Windows: []string{"~/.warp/.mcp.json"}, Project: ".warp/.mcp.json",
			Format: splice.JSON, Strict: true, Path: servers, Entry: plain,
			Source: "https://docs.warp.dev/agents/capabilities/mcp",
		},
		{
			ID: "amp", Name: "Amp",
			Linux:   []string{"$XDG_CONFIG_HOME/amp/settings.json", "~/.config/amp/settings.json"},
			MacOS:   []string{"~/.config/amp/settings.json"},
			Windows: []string{"$CONFIG/amp/settings.json", "~/.config/amp/settings.json"},
			Project: ".amp/settings.json",
			Format:  splice.JSON, Path: []string{"amp.mcpServers"}, Entry: plain,
			Source: "https://ampcode.com/manual",
		},
		{
			ID: "kimi", Name: "Kimi CLI", Aliases: []string{"kimi-cli"},
			Linux:   []string{"$KIMI_SHARE_DIR/mcp.json", "~/.kimi/mcp.json"},
			MacOS:   []string{"$KIMI_SHARE_DIR/mcp.json", "~/.kimi/mcp.json"},
			Windows: []string{"$KIMI_SHARE_DIR/mcp.json", "~/.kimi/mcp.json"},
			Format:  splice.JSON, Strict: true, Path: servers, Entry: plain,
			Source: "https://github.com/MoonshotAI/kimi-cli/blob/main/docs/en/customization/mcp.md",
		},
		{
			ID: "factory", Name: "Factory Droid", Aliases: []string{"droid"},
			Linux: []string{"~/.factory/mcp.json"}, MacOS: []string{"~/.factory/mcp.json"},
			Windows: []string{"~/.factory/mcp.json"}, Project: ".factory/mcp.json",
			Format: splice.JSON, Strict: true, Path: servers, Entry: typed("stdio"),
			Source: "https://docs.factory.ai/cli/configuration/mcp",
		},
		{
			ID: "trae", Name: "Trae",
			Linux: []string{"$CONFIG/Trae/User/mcp.json"}, MacOS: []string{"$CONFIG/Trae/User/mcp.json"},
			Windows: []string{"$CONFIG/Trae/User/mcp.json"}, Project: ".trae/mcp.json",
			Format: splice.JSON, Strict: true, Path: servers, Entry: plain, NoSpaces: true,
			Source: "https://www.volcengine.com/docs/86677/2137601",
		},
		{
			ID: "augment", Name: "Auggie", Aliases: []string{"auggie"},
			Linux: []string{"~/.augment/settings.json"}, MacOS: []string{"~/.augment/settings.json"},
			Windows: []string{"~/.augment/settings.json"},
			Format:  splice.JSON, Strict: true, Path: servers, Entry: plain,
			Source: "https://docs.augmentcode.com/cli/integrations",
		},
		{
			ID: "qoder", Name: "Qoder",
			Linux: []string{"~/.qoder/mcp.json"}, MacOS: []string{"~/.qoder/mcp.json"},
			Windows: []string{"$CONFIG/Qoder/SharedClientCache/mcp.json"},
			Format:  splice.JSON, Strict: true, Path: servers, Entry: plain,
			Source: "https://github.com/stacklok/toolhive/blob/main/pkg/client/config.go",
		},
		{
			ID: "air", Name: "JetBrains Air",
			Project: ".air/mcp.json",
			Format:  splice.JSON, Strict: true, Path: servers, Entry: plain,
			Source: "https://www.jetbrains.com/help/air/mcp-servers.html",
		},
	}
}

var rooFiles = []string{
	"$CONFIG/Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json",
}

// manual are the hosts without a file that a program may write to.
func manual() []Host {
	return []Host{
		{
			ID: "jetbrains", Name: "JetBrains AI Assistant", Aliases: []string{"intellij"},
			Format: splice.JSON, Path: servers, Entry: plain,
			By: "open Settings | Tools | AI Assistant | Model Context Protocol (MCP), press Add, " +
				"and paste this as JSON",
			Source: "https://www.jetbrains.com/help/ai-assistant/mcp.html",
		},
		{
			ID: "raycast", Name: "Raycast",
			Format: splice.JSON, Path: servers, Entry: plain,
			By:     "run Install MCP Server in Raycast, and fill in the command and its arguments",
			Source: "https://manual.raycast.com/ai/model-context-protocol",
		},
		{
			ID: "cherry-studio", Name: "Cherry Studio", Aliases: []string{"cherry"},
			Format: splice.JSON, Path: servers, Entry: plain,
			By:     "open Settings | MCP Servers, press Add, and import this as JSON",
			Source: "https://github.com/CherryHQ/cherry-studio/issues/6537",
		},
		{
			ID: "continue", Name: "Continue",
			Old:    []string{"~/.continue/config.yaml"},
			Format: splice.JSON, Path: servers, Entry: plain,
			By:     "save this as .continue/mcpServers/handstamp.json in the folder of your project",
			Source: "https://docs.continue.dev/customize/deep-dives/mcp",
		},
	}
}
