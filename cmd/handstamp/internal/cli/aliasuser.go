package cli

import "github.com/handstamp/handstamp/cmd/handstamp/internal/mcphost"

// aliasUser is an MCP host that has an entry for an alias.
type aliasUser struct {
	Host  string `json:"host"`
	File  string `json:"file"`
	Entry string `json:"entry"`

	name    string // of the host
	project bool
}

// command returns the command that takes the entry out.
func (u aliasUser) command() string {
	s := "handstamp client disconnect " + u.Host + " " + shellWord(u.Entry)
	if u.project {
		s += " --project"
	}
	return s
}

// usersOf returns the entries of MCP hosts that need an alias: they have its name, or its URL, with
// which they get its settings.
func (a *app) usersOf(alias string, s *serverConfig) []aliasUser {
	users, seen := []aliasUser{}, make(map[string]bool)
	t, err := a.server(alias)
	settings := err == nil && !sameConfig(s, &serverConfig{URL: s.URL})
	for _, h := range mcphost.All() {
		for n, file := range []string{a.machine().Locate(h).File, a.machine().Project(h)} {
			if file == "" || seen[file] {
				continue
			}
			entries, _ := a.hostEntries(h, file) // one that cannot be read has none
			seen[file] = true
			for _, e := range entries {
				needs := e.URL == alias || settings && a.sameServer(e.URL, t)
				if e.Kind == mcphost.Ours && e.Project == "" && needs {
					users = append(users, aliasUser{h.ID, file, e.Name, h.Name, n > 0})
				}
			}
		}
	}
	return users
}
