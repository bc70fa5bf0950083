package mcpremote

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// The lists of the programs that start mcp-remote, in their shapes.
func TestCommands(t *testing.T) {
	const u = "https://mcp.example.com/mcp"
	around := Surroundings{
		Getenv: func(name string) string {
			return map[string]string{"KEY": "k", "RESOURCE": "https://r.example.com"}[name]
		},
		ReadFile: func(path string) ([]byte, error) {
			return map[string][]byte{"h": []byte("# said twice\nX-A: 1\r\n\nnonsense\nX-B:2\n"), "c": []byte(`{"client_id":"c","client_secret":"${KEY}"}`)}[path], nil
		},
	}
	for name, test := range map[string]struct {
		text string
		want []Command
	}{
		"Claude Desktop": {`{"mcpServers":{"a":{"command":"npx","args":["-y","mcp-remote@latest","` + u + `"]}}}`, []Command{{Server: Server{URL: u}}}},
		"VS Code": {`// mine
			{"servers": {"a": {"type": "stdio", "command": "mcp-remote", "args": ["` + u + `", "3334", /* port */ "--host", "127.0.0.1",],},},}`,
			[]Command{{Server: Server{URL: u}, Port: 3334, Host: "127.0.0.1"}}},
		"opencode": {`{"mcp":{"a":{"command":["npx","mcp-remote","` + u + `","--resource","https://r.example.com"]}}}`,
			[]Command{{Server: Server{URL: u, Resource: "https://r.example.com"}}}},
		"Windows": {`{"a":{"command":"cmd","args":["/c","npx mcp-remote ` + u + ` --header \"X-A: 1\""]}}`,
			[]Command{{Server: Server{URL: u, Headers: map[string]string{"X-A": "1"}}, HeaderFlags: []string{"X-A: 1"}}}},
		"a file of it": {`{"a":{"command":"node","args":["C:\\x\\mcp-remote\\dist\\proxy.js","` + u + `"]}}`, []Command{{Server: Server{URL: u}}}},
		"handstamp":    {`{"a":{"command":"/usr/bin/handstamp","args":["bridge","mcp.example.com/mcp"]}}`, []Command{{Server: Server{URL: u}}}},
		"variables": {`{"a":{"command":"mcp-remote","args":["` + u + `","--resource","${env:RESOURCE}"]}}`,
			[]Command{{Server: Server{URL: u, Resource: "${env:RESOURCE}"}}, {Server: Server{URL: u, Resource: "https://r.example.com"}}}},
		"files": {`{"a":{"command":"mcp-remote","args":["` + u + `","--header-file","h","--static-oauth-client-info","@c","--disable-resource-parameter"]}}`,
			[]Command{{Server: Server{URL: u, Headers: map[string]string{"X-A": "1", "X-B": "2"}},
				HeaderFile: []byte("# said twice\nX-A: 1\r\n\nnonsense\nX-B:2\n"), Client: &Client{ID: "c", Secret: "k"}, OmitResource: true}}},
		"others":       {`{"a":{"command":"handstamp","args":["serve"]},"b":{"command":"npx","args":["-y","other"]},"c":{"url":"` + u + `"}}`, nil},
		"no URL first": {`{"a":{"command":"mcp-remote","args":["--debug","` + u + `"]}}`, nil},
		"not JSON":     {`command = "mcp-remote"`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := Commands([]byte(test.text), "list", around)
			if len(got) != len(test.want) {
				t.Fatalf("%d commands, want %d", len(got), len(test.want))
			}
			for i, c := range got {
				test.want[i].Source = "list"
				if !reflect.DeepEqual(*c, test.want[i]) {
					t.Errorf("%+v, want %+v", *c, test.want[i])
				}
			}
		})
	}
}

func TestParseCommandQuotesNothing(t *testing.T) {
	for _, args := range [][]string{
		{"--header", "Authorization: SECRET"},
		{"SECRET"},
		{"https://mcp.example.com", "--static-oauth-client-info", `{"client_secret":"SECRET"}`},
		{"https://mcp.example.com", "--static-oauth-client-info", "@SECRET"},
		{"https://mcp.example.com", "--header-file", "SECRET"},
	} {
		if c, err := ParseCommand(args, Surroundings{}); err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%v, %v", c, err)
		}
	}
	c, err := ParseCommand([]string{"https://mcp.example.com", "--static-oauth-client-info", `{"client_id":"c","client_secret":"SECRET"}`}, Surroundings{})
	if err != nil || strings.Contains(fmt.Sprintf("%+v", c.Client), "SECRET") {
		t.Errorf("%+v, %v", c, err)
	}
}

// mcp-remote 0.15.1 listens there.
func TestRedirectURI(t *testing.T) {
	for want, c := range map[string]Command{
		"http://localhost:41409/oauth/callback": {},
		"http://127.0.0.1:3334/cb":              {Host: "127.0.0.1", Port: 3334, CallbackPath: "/cb"},
	} {
		if got := c.RedirectURI(hashA); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// A list of servers is a stranger's text: nothing in it makes the reader fail,
// and what is not JSON of a command gives nothing.
func FuzzCommands(f *testing.F) {
	f.Add([]byte(`{"a":{"command":"npx","args":["mcp-remote","https://mcp.example.com/mcp",/* x */],},}`))
	f.Add([]byte(`{"a":{"command":["sh","-c","mcp-remote 'https://a' --header \"x: y\""]}}`))
	f.Add([]byte("\xef\xbb\xbf// c\n{\"a\":\"\\\""))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, c := range Commands(text, "list", Surroundings{}) {
			if !strings.Contains(c.URL, "://") || len(c.Hashes()) == 0 {
				t.Errorf("%+v", c)
			}
		}
		if plain := plainJSON(text); len(plain) != len(text) {
			t.Errorf("%d bytes became %d", len(text), len(plain))
		}
	})
}
