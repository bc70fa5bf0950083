package oauth

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/internal/errtype"
)

// badSchemes are what a hostile server may put where a URL belongs.
var badSchemes = []string{
	"javascript:alert(1)", "JavaScript:alert(1)", "java\tscript:alert(1)", "\x01javascript:alert(1)", " javascript:alert(1)",
	"vbscript:x", "data:text/html,x", "file:///etc/passwd", "ftp://example.com/x", "intent://x#Intent;end",
	"ms-settings:", "ms-msdt:/id", "tel:1", "mailto:a@example.com", "ssh://example.com", "about:blank",
	"blob:https://example.com/x", "view-source:https://example.com", "chrome://settings", "x-apple.systempreferences:",
	"search-ms:query=x",
}

func TestCheckEndpoint(t *testing.T) {
	good := []string{
		"https://example.com", "https://example.com/", "https://example.com:8443/a/b?c=d&e=%20f",
		"https://10.0.0.1/token", "https://[2001:db8::1]:8443/x", "https://EXAMPLE.com/x",
		"http://localhost/x", "http://LOCALHOST:8080/x", "http://127.0.0.1:1/x", "http://127.8.9.10/x", "http://[::1]:80/x",
		"https://login.example.com/x(y)/*;v=1,2'3'",
	}
	for _, u := range good {
		if err := CheckEndpoint(u); err != nil {
			t.Errorf("CheckEndpoint(%q) = %v, want nil", u, err)
		}
	}
	bad := append([]string{
		"", "example.com", "/token", "//example.com/token", "https:", "https://", "https:///x", "https:example.com", "https://:443/",
		"http://example.com/x", "http://10.0.0.1/x", "http://localhost.example.com/", "http://127.0.0.1.example.com/", "http://0.0.0.0/",
		"http://0x7f000001/", "http://2130706433/", "http://127.1/",
		"https://user@example.com/", "https://user:pass@example.com/", "https://example.com@evil.example/",
		"https://example.com/#", "https://example.com/#x",
		"https://example.com/ x", "https://example.com/\"x", "https://example.com/`x`", "https://example.com/x\\y", "https://example.com/<x>",
		"https://example.com/{x}", "https://example.com/x|calc", "https://example.com/^x",
		"https://exämple.com/", "https://example.com/\u202e", "https://example.com/%zz", "https://example.com:port/",
		"https://example.com/" + strings.Repeat("x", maxURL),
		"-https://example.com/",
	}, badSchemes...)
	for c := range 0x21 {
		bad = append(bad, fmt.Sprintf("https://example.com/a%cb", c))
	}
	for c := 0x7f; c <= 0xff; c++ {
		bad = append(bad, "https://example.com/a"+string([]byte{byte(c)})+"b")
	}
	for _, u := range bad {
		if err, ok := errtype.As[*ProtocolError](CheckEndpoint(u)); !ok {
			t.Errorf("CheckEndpoint(%q) = %v, want a *ProtocolError", u, err)
		}
	}
}

func TestForeignScheme(t *testing.T) {
	for _, s := range badSchemes {
		if !hasForeignScheme(s) {
			t.Errorf("hasForeignScheme(%q) = false", s)
		}
	}
	for _, s := range []string{"", "docs/index.html", "/docs", "https://example.com", "HTTP://example.com", "//example.com", "a b: c", "?x:y", "1:2", ":x"} {
		if hasForeignScheme(s) {
			t.Errorf("hasForeignScheme(%q) = true", s)
		}
	}
}

func TestOrigin(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"https://a.example/x", "https://a.example/y?z", true},
		{"https://a.example", "https://A.EXAMPLE:443", true},
		{"http://localhost", "http://localhost:80/", true},
		{"https://a.example", "http://a.example", false},
		{"https://a.example", "https://a.example:8443", false},
		{"https://a.example", "https://b.a.example", false},
		{"http://[::1]:1", "http://[::1]:1/x", true},
	} {
		a, _ := url.Parse(tc.a)
		b, _ := url.Parse(tc.b)
		if got := SameOrigin(a, b); got != tc.want {
			t.Errorf("SameOrigin(%q, %q) = %v", tc.a, tc.b, got)
		}
	}
	for _, tc := range []struct {
		path, base string
		want       bool
	}{
		{"/mcp", "/mcp", true},
		{"/mcp/", "/mcp", true},
		{"/mcp", "/mcp/", true},
		{"/mcp/a", "/mcp", true},
		{"/mcp", "", true},
		{"", "/", true},
		{"/mcp", "/", true},
		{"/mcp-evil", "/mcp", false},
		{"/mc", "/mcp", false},
		{"/", "/mcp", false},
		{"/mcp/../a", "/mcp", false},
		{"/mcp/%2E%2e/a", "/mcp", false},
		{"/mcp%2fa", "/mcp", false},
	} {
		if got := PathWithin(tc.path, tc.base); got != tc.want {
			t.Errorf("PathWithin(%q, %q) = %v", tc.path, tc.base, got)
		}
	}
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost": true, "localhost.": true, "127.0.0.1": true, "127.255.0.1": true, "::1": true, "[::1]": true,
		"::ffff:127.0.0.1": true,
		"":                 false, "0.0.0.0": false, "10.0.0.1": false, "localhost.example.com": false, "127.1": false, "::": false,
	} {
		if got := IsLoopback(host); got != want {
			t.Errorf("IsLoopback(%q) = %v", host, got)
		}
	}
}

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
