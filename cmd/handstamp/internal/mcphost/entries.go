package mcphost

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/splice"
	"github.com/handstamp/handstamp/internal/mcpremote"
)

// Kind is what an entry of a host starts or connects to.
type Kind string

// The kinds of entries.
const (
	Local     Kind = "local"      // a server on this machine
	Remote    Kind = "remote"     // the host connects to a server itself
	MCPRemote Kind = "mcp-remote" // npx mcp-remote does it
	Ours      Kind = "handstamp"  // handstamp bridge does it
)

// Entry is a server in a host's list.
type Entry struct {
	Name    string
	Kind    Kind
	URL     string            // of a remote server; Ours: as it is given to the bridge
	Headers map[string]string // that are sent to it; they may hold secrets
	Args    []string          // Ours, MCPRemote: what follows the URL
	Client  *mcpremote.Client // that mcp-remote is given; nil: none
	Value   any               // as it was decoded
	Project string            // for which alone the entry is, as the file names it; "": for all
}

// Entries returns the servers in a host's file, by name. self is the path of this program,
// which may have any name.
func (h *Host) Entries(text []byte, self string) ([]Entry, error) {
	members, err := splice.Members(h.Format, text, h.Path)
	if err == nil && members == nil && h.OldPath != nil {
		members, err = splice.Members(h.Format, text, h.OldPath)
	}
	if err != nil {
		return nil, err
	}
	return newEntries(members, "", self), nil
}

// EntriesOfProjects returns the servers in a host's file that are for one project each.
func (h *Host) EntriesOfProjects(text []byte, self string) []Entry {
	if h.Projects == "" {
		return nil
	}
	projects, err := splice.Members(h.Format, text, []string{h.Projects})
	if err != nil {
		return nil
	}
	var entries []Entry
	for _, project := range slices.Sorted(maps.Keys(projects)) {
		members, _ := projects[project].(map[string]any)
		for _, name := range h.Path {
			members, _ = members[name].(map[string]any)
		}
		entries = append(entries, newEntries(members, project, self)...)
	}
	return entries
}

func newEntries(members map[string]any, project, self string) []Entry {
	var entries []Entry
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if object, ok := members[name].(map[string]any); ok {
			if e := newEntry(name, object, self); e.Kind != "" {
				e.Project = project
				entries = append(entries, e)
			}
		}
	}
	return entries
}

func newEntry(name string, object map[string]any, self string) Entry {
	e := Entry{Name: name, Value: object}
	words := append(texts(object["command"]), texts(object["cmd"])...)
	if nested, ok := object["command"].(map[string]any); ok { // the oldest form of Zed
		words = append(texts(nested["path"]), texts(nested["args"])...)
	}
	words = append(words, texts(object["args"])...)
	if e.URL = remoteURL(object); e.URL != "" && (len(words) == 0 || object["serverUrl"] != nil) {
		e.Kind, e.Headers = Remote, headers(object)
		return e
	}
	if e.URL = ""; len(words) == 0 {
		return e
	}
	e.Kind = Local
	if i := bridged(words, self); i > 0 {
		e.Kind, e.URL, e.Args = Ours, words[i], words[i+1:]
		return e
	}
	// Whatever its shape, it is JSON that says how mcp-remote is started.
	text, err := json.Marshal(map[string]any{"command": words})
	if err != nil {
		return e
	}
	if found := mcpremote.Commands(text, "", mcpremote.Surroundings{}); len(found) > 0 {
		e.Kind, e.URL, e.Headers, e.Client = MCPRemote, found[0].URL, found[0].Headers, found[0].Client
		if i := slices.Index(words, e.URL); i >= 0 { // else it is within another word
			e.Args = words[i+1:]
		}
	}
	return e
}

// bridged returns the place of the URL in a command line of handstamp bridge, 0 if it is none.
func bridged(words []string, self string) int {
	for i := 0; i+2 < len(words); i++ {
		base := filepath.Base(strings.ReplaceAll(words[i], `\`, "/"))
		base, _, _ = strings.Cut(strings.TrimSuffix(base, ".exe"), "@")
		if (base == "handstamp" || words[i] == self) && words[i+1] == "bridge" &&
			!strings.HasPrefix(words[i+2], "-") {
			return i + 2
		}
	}
	return 0
}

// urls are the members that have the URL of a server.
var urls = []string{"url", "httpUrl", "serverUrl", "uri"}

// remoteURL returns the URL of a server that the host connects to itself.
func remoteURL(object map[string]any) string {
	if transport, ok := object["transport"].(map[string]any); ok { // Cline's CLI
		if u := remoteURL(transport); u != "" {
			return u
		}
	}
	for _, key := range urls {
		u, _ := object[key].(string)
		if strings.HasPrefix(u, "https://") || strings.HasPrefix(u, "http://") {
			return u
		}
	}
	return ""
}

func headers(object map[string]any) map[string]string {
	all := make(map[string]string)
	for _, key := range []string{"headers", "http_headers"} {
		members, _ := object[key].(map[string]any)
		for name, value := range members {
			if text, ok := value.(string); ok {
				all[name] = text
			}
		}
	}
	return all
}

// texts returns a text, or those of a list.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var list []string
		for _, item := range v {
			if s, ok := item.(string); ok {
				list = append(list, s)
			}
		}
		return list
	}
	return nil
}
