package oauth

import "testing"

func TestStandardURL(t *testing.T) {
	for raw, want := range map[string]string{
		"https://mcp.example.com":            "https://mcp.example.com/",
		"https://mcp.example.com/":           "https://mcp.example.com/",
		"https://mcp.example.com/mcp":        "https://mcp.example.com/mcp",
		"https://mcp.example.com/mcp/":       "https://mcp.example.com/mcp/",
		"https://mcp.example.com/a%2Fb":      "https://mcp.example.com/a%2Fb",
		"HTTPS://MCP.Example.COM/Path":       "https://mcp.example.com/Path",
		"https://mcp.example.com:443":        "https://mcp.example.com/",
		"https://mcp.example.com:/mcp":       "https://mcp.example.com/mcp",
		"https://mcp.example.com:8443":       "https://mcp.example.com:8443/",
		"http://127.0.0.1:80/mcp":            "http://127.0.0.1/mcp",
		"http://[::1]:80":                    "http://[::1]/",
		"http://[::1]:8080":                  "http://[::1]:8080/",
		"https://mcp.example.com?tenant=7":   "https://mcp.example.com/?tenant=7",
		"https://mcp.example.com/m?a=B#frag": "https://mcp.example.com/m?a=B#frag",
		"urn:example:mcp":                    "urn:example:mcp",
		"https://user@mcp.example.com":       "https://user@mcp.example.com",
		"":                                   "",
	} {
		if got := StandardURL(raw); got != want {
			t.Errorf("StandardURL(%q) = %q, want %q", raw, got, want)
		}
	}
}
