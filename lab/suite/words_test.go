package suite_test

import (
	"slices"
	"testing"

	"github.com/handstamp/handstamp/lab/suite"
)

func TestWords(t *testing.T) {
	for line, want := range map[string][]string{
		"npx -y mcp-remote {url}": {"npx", "-y", "mcp-remote", "{url}"},
		" a\t'b c'\"d 'e\" ":      {"a", "b cd 'e"},
		`a "" ''`:                 {"a", "", ""},
		`$HOME/x;y`:               {"$HOME/x;y"},
		"":                        nil,
		"  ":                      nil,
		"a 'b":                    nil,
	} {
		got, err := suite.Words(line)
		if (err != nil) != (want == nil) || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v; want %q", line, got, err, want)
		}
	}
}
