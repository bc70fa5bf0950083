package cli

import (
	"strings"
	"testing"
)

// FuzzConfig checks that no configuration makes the parser panic, and that an
// error is one line without the value of a secret.
func FuzzConfig(f *testing.F) {
	f.Add(`{"servers":{"a":{"url":"https://a.example"}}}`)
	f.Add(`{"servers":{"a":{"url":"https://a.example","client_secret":"hunter2"}}}`)
	f.Add(`{"servers":{"":null}} {}`)
	f.Add("{\n\"servers\":[\n")
	f.Fuzz(func(t *testing.T, text string) {
		conf, err := parseConfig([]byte(text))
		if err == nil {
			for alias, s := range conf.Servers {
				if _, err := parseURL(s.URL); err != nil || alias == "" {
					t.Errorf("server %q with the URL %q was accepted", alias, s.URL)
				}
			}
			return
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("the error has more than one line: %q", err)
		}
	})
}

// FuzzURL checks that what is accepted is a URL of a server, whatever was typed.
func FuzzURL(f *testing.F) {
	for _, s := range []string{
		"mcp.example.com/mcp", "https://mcp.example.com", "http://[::1]:80/", "javascript:alert(1)", "https://a@b/",
		"//host", "https:host", "host:99999", "https://%zz", "-x", "HTTPS://EXAMPLE.com",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := parseURL(s)
		if err != nil {
			return
		}
		if (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" || u.User != nil || u.Fragment != "" || clean(s) != s {
			t.Errorf("%q was accepted as %q", s, u)
		}
	})
}
