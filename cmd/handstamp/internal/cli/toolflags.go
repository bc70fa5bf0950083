package cli

import (
	"path"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// toolFilter says which tools of a server may be seen and called.
type toolFilter struct {
	allow, deny []string // globs
	ignore      []string // globs of mcp-remote, for which upper and lower case are one
}

func (f *toolFilter) bind(flags *pflag.FlagSet) {
	repeatedVar(flags, &f.allow, "allow-tool",
		"let only tools through that match this `glob` (may be repeated)")
	repeatedVar(flags, &f.deny, "deny-tool",
		"let no tool through that matches this `glob` (may be repeated)")
}

// match returns what decides about a tool; nil lets all through. What is denied
// stays denied, even if it is allowed as well.
func (f *toolFilter) match() (func(name string) bool, error) {
	for _, glob := range slices.Concat(f.allow, f.deny, f.ignore) {
		if _, err := path.Match(glob, ""); err != nil {
			return nil, usage("%q is not a pattern: write * for any characters, ? for one, "+
				"[abc] for one of them", glob)
		}
	}
	if len(f.allow)+len(f.deny)+len(f.ignore) == 0 {
		return nil, nil
	}
	ignore := make([]string, 0, len(f.ignore))
	for _, glob := range f.ignore {
		ignore = append(ignore, strings.ToLower(glob))
	}
	return func(name string) bool {
		return (len(f.allow) == 0 || matches(f.allow, name)) && !matches(f.deny, name) &&
			!matches(ignore, strings.ToLower(name))
	}, nil
}

func matches(globs []string, name string) bool {
	for _, glob := range globs {
		// A slash is a character like others in a tool's name.
		if ok, _ := path.Match(strings.ReplaceAll(glob, "/", "\x00"),
			strings.ReplaceAll(name, "/", "\x00")); ok {
			return true
		}
	}
	return false
}
