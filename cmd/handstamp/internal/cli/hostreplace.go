package cli

import (
	"maps"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/mcphost"
)

// noteLost notes what an entry for the same server has, and the one that replaces it has not.
// Only names are noted: the values may be secrets.
func (c *connectCommand) noteLost(e mcphost.Entry) {
	if !c.force || !c.same(e) {
		return
	}
	var lost []string
	switch e.Kind {
	case mcphost.MCPRemote:
		lost = c.lostFlags(e.Args)
	case mcphost.Remote:
		lost = c.lostHeaders(e.Headers)
	}
	if len(lost) > 0 {
		c.result.Notes = append(c.result.Notes, "the entry that it replaces has "+list(lost, "and")+
			": give what the bridge needs after --")
	}
}

// lostFlags returns the flags of mcp-remote that the bridge does not get.
func (c *connectCommand) lostFlags(args []string) []string {
	var lost []string
	for _, flag := range flagNames(args) {
		if !slices.Contains(flagNames(c.server.Args), flag) {
			lost = append(lost, clean(flag))
		}
	}
	return lost
}

// flagNames returns the flags among the words of a command line, sorted, each once.
func flagNames(words []string) []string {
	var names []string
	for _, word := range words {
		if name, _, _ := strings.Cut(word, "="); strings.HasPrefix(name, "--") && name != "--" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// lostHeaders returns the headers of an MCP host that the bridge does not send, behind a word
// that says what they are.
func (c *connectCommand) lostHeaders(headers map[string]string) []string {
	var lost []string
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		sent := func(other string) bool { return strings.EqualFold(name, other) }
		if !slices.ContainsFunc(slices.Collect(maps.Keys(c.target.config.Headers)), sent) {
			lost = append(lost, clean(name))
		}
	}
	if slices.Contains(flagNames(c.server.Args), "--header") || len(lost) == 0 {
		return nil
	}
	noun := "the header "
	if len(lost) > 1 {
		noun = "the headers "
	}
	lost[0] = noun + lost[0]
	return lost
}
