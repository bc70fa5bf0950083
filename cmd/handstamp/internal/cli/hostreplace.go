package cli

import (
	"maps"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/mcphost"
	"github.com/handstamp/handstamp/cmd/handstamp/internal/splice"
)

// keep has what the user and the host have put into an entry of ours stay when it is written again. The
// variables that are written count as they are set now.
func (c *connectCommand) keep(e mcphost.Entry) {
	c.before = e.Value
	missing, variables := c.missingVariables(), c.host.Entry.Variables(e)
	var lost, changed []string
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		i := slices.IndexFunc(c.server.Env, func(m splice.Member) bool { return m.Name == name })
		switch {
		case i >= 0 && c.server.Env[i].Value != variables[name]:
			changed = append(changed, name)
		case i >= 0:
		case slices.Contains(entryVariables, name) && !slices.Contains(missing, name):
			lost = append(lost, name)
		default:
			c.kept = append(c.kept, splice.Member{Name: name, Value: variables[name]})
		}
	}
	if len(lost) > 0 {
		c.result.Notes = append(c.result.Notes, "the entry that it replaces has "+list(lost, "and")+" in its "+
			c.host.Entry.Env+", which the new one has only if it is set here")
	}
	if len(changed) > 0 {
		c.result.Notes = append(c.result.Notes, "the entry that it replaces has another "+list(changed, "and")+
			" in its "+c.host.Entry.Env)
	}
	members, _ := e.Value.(map[string]any)
	if members["enabled"] == false || members["disabled"] == true {
		c.result.Notes = append(c.result.Notes, "the entry is switched off: switch it on in "+c.host.Name)
	}
}

// noteLost notes what an entry for the same login has, and the one that replaces it has not.
// Only names are noted: the values may be secrets.
func (c *connectCommand) noteLost(e mcphost.Entry) {
	if !c.same(e) || !c.force && e.Kind != mcphost.Ours {
		return
	}
	var lost []string
	switch e.Kind {
	case mcphost.MCPRemote, mcphost.Ours:
		lost = c.lostFlags(e.Args)
	case mcphost.Remote:
		lost = c.lostHeaders(e.Headers)
	}
	if len(lost) == 0 {
		return
	}
	c.result.Notes = append(c.result.Notes,
		"the entry that it replaces has "+list(lost, "and")+": give what the bridge needs after --")
}

// lostFlags returns the flags of mcp-remote, or of the bridge, that the bridge does not get, and the callback port.
func (c *connectCommand) lostFlags(args []string) []string {
	var lost []string
	if len(args) > 0 && isPort(args[0]) && !slices.Contains(c.server.Args, args[0]) {
		lost = append(lost, "the callback port "+args[0])
	}
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

// flagValue returns the last value of a flag among the words of a command line.
func flagValue(words []string, flag string) (value string) {
	for i, word := range words {
		switch name, rest, joined := strings.Cut(word, "="); {
		case name != flag:
		case joined:
			value = rest
		case i+1 < len(words):
			value = words[i+1]
		}
	}
	return value
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
