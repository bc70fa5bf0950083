// Package mcphost knows the programs that start MCP servers: where each keeps its list of
// servers on which system, and how an entry looks. Everything that differs between them is
// data, in one table ([All]).
package mcphost

import (
	"maps"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/splice"
)

// Host is a program that starts MCP servers.
type Host struct {
	ID      string
	Name    string
	Aliases []string

	// Linux, MacOS and Windows are the files that may hold the user's servers, in the order in
	// which they are looked for. A path begins with ~ (the home folder), $CONFIG (the folder for
	// configuration of the system) or another variable; one whose variable is not set is left
	// out, and one that begins with a variable of its own wins where that is set. A star
	// stands for any name.
	Linux, MacOS, Windows []string

	// Project is the file in a project's folder; empty if there is none.
	Project string

	// Old are files of earlier versions: they are read, and not written to.
	Old      []string
	OldPath  []string // their Path, where it is another
	Projects string   // the member that has, for each project, an object with servers of its own; only read

	Format   splice.Format
	Strict   bool     // comments are an error there, or worse
	NoSpaces bool     // the path of the command must not hold a space
	Path     []string // of the object that has a member for each server
	Entry    Shape
	Newer    string // ID of the host to be taken in its place where the file has that one\'s Path

	Env   Inheritance
	Tool  string // the host's own command, which adds an entry to the user's file if it is on PATH
	After string // what the user has to do, where that is more than to wait
	By    string // how the user adds a server by hand, where there is no file; else empty

	Source string // of the facts
}

// Shape is how an entry for a local server looks.
type Shape struct {
	First   splice.Object // members before the command
	Command string
	Args    string // "": the command is a list, with the arguments
	Env     string
	Last    splice.Object // members after all others
}

// Inheritance is what of its own environment a host passes on to the servers that it starts.
type Inheritance int

// The kinds of inheritance.
const (
	Basics         Inheritance = iota // the few variables of the official SDKs, or more
	WithoutSecrets                    // all whose name doesn't sound like a secret or a certificate
	PathOnly                          // PATH alone
)

// Manual reports whether the host keeps no file that could be written to.
func (h *Host) Manual() bool { return h.By != "" }

// In returns the host whose shape a file has: a newer version's, or this one's.
func (h *Host) In(text []byte) *Host {
	if newer := Find(h.Newer); newer != nil {
		if members, err := splice.Members(h.Format, text, newer.Path); err == nil && members != nil {
			return newer
		}
	}
	return h
}

// Find returns the host of this ID or other name, nil if there is none.
func Find(name string) *Host {
	name = strings.ToLower(name)
	for _, h := range All() {
		if h.ID == name || strings.ToLower(h.Name) == name {
			return h
		}
		for _, alias := range h.Aliases {
			if alias == name {
				return h
			}
		}
	}
	return nil
}

// IDs returns the IDs of all hosts.
func IDs() []string {
	ids := make([]string, len(All()))
	for i, h := range All() {
		ids[i] = h.ID
	}
	return ids
}

// Server is a local server to start.
type Server struct {
	Command string
	Args    []string
	Env     splice.Object // of strings
}

// nameOf stands for the server's name in a shape.
type nameOf struct{}

// Object returns the entry for a server.
func (s Shape) Object(name string, server Server) splice.Object {
	o := append(splice.Object{}, s.First...)
	for i := range o {
		if o[i].Value == any(nameOf{}) {
			o[i].Value = name
		}
	}
	if s.Args == "" {
		o = append(o, splice.Member{Name: s.Command, Value: append([]string{server.Command}, server.Args...)})
	} else {
		o = append(o, splice.Member{Name: s.Command, Value: server.Command},
			splice.Member{Name: s.Args, Value: server.Args})
	}
	if len(server.Env) > 0 {
		o = append(o, splice.Member{Name: s.Env, Value: server.Env})
	}
	return append(o, s.Last...)
}

// starting are the members that say, in any shape, what an entry is and how its server is started.
var starting = append([]string{"type", "source", "transport", "command", "cmd", "args"}, urls...)

// Keep returns an entry that replaces another one of ours, with the members that the user and the host
// have put into that, as it was decoded. How the server is started is the new entry's.
func (s Shape) Keep(entry splice.Object, before any) splice.Object {
	members, _ := before.(map[string]any)
	for _, m := range object(members) {
		i := slices.IndexFunc(entry, func(other splice.Member) bool { return other.Name == m.Name })
		switch {
		case slices.Contains(starting, m.Name) || slices.Contains([]string{s.Command, s.Args, s.Env}, m.Name):
		case i >= 0:
			entry[i].Value = m.Value
		default:
			entry = append(entry, m)
		}
	}
	return entry
}

// Variables returns the environment variables of an entry, by name. Hosts take numbers, too, and null
// for a variable that is not to be passed on.
func (s Shape) Variables(e Entry) map[string]any {
	members, _ := e.Value.(map[string]any)
	nested, _ := members["command"].(map[string]any) // the oldest form of Zed
	variables := make(map[string]any)
	for _, value := range []any{nested["env"], members[s.Env]} {
		env, _ := value.(map[string]any)
		maps.Copy(variables, env)
	}
	return variables
}
