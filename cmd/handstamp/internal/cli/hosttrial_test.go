package cli

import "testing"

// No part of a URL that may hold a secret is printed, whether the URL could be a server's or not.
func TestShownURL(t *testing.T) {
	for raw, want := range map[string]string{
		"":                                        "",
		"linear":                                  "linear",
		"https://a.example/mcp":                   "https://a.example/mcp",
		"https://a.example/mcp?key=hunter2":       "https://a.example/mcp?…",
		"https://u:hunter2@a.example/mcp":         "https://a.example/mcp",
		"https://hunter2@a.example":               "https://a.example",
		"u:hunter2@a.example/mcp":                 "a.example/mcp",
		"https://u:hun@hunter2@a.example/mcp":     "https://a.example/mcp",
		"https://u:hun/hunter2@a.example/mcp":     "https://…",
		"https://u:hun?hunter2@a.example/mcp":     "https://…",
		"https://u:hun#hunter2@a.example/mcp":     "https://…",
		"https://u:100%hunter2@a.example/mcp":     "https://a.example/mcp",
		"https://a.example/mcp#hunter2":           "https://a.example/mcp",
		"https://a.example/mcp?a=b@hunter2#c":     "https://…",
		"https://a.example/mcp#b@hunter2":         "https://…",
		"https://u:hunter2@a.example/?x=hunter2":  "https://a.example/",
		"ftp://u:hunter2@a.example/x?key=hunter2": "ftp://a.example/x",
		"https://${HOST}/mcp?key=hunter2":         "https://${HOST}/mcp",
		"https://a.example/a b?key=hunter2":       "https://a.example/a b",
	} {
		if got := shownURL(raw); got != want {
			t.Errorf("%s is shown as %s; want %s", raw, got, want)
		}
	}
}
