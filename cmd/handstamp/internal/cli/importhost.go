package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/mcphost"
	"github.com/handstamp/handstamp/internal/lazyregexp"
)

// importServers is handstamp import HOST or FILE: the remote servers that a host has.
type importServers struct {
	*app
	dryRun  bool
	results []*importedServer
}

// importedServer is what became of one server.
type importedServer struct {
	Host    string   `json:"host,omitempty"`
	File    string   `json:"file"`
	Entry   string   `json:"entry"` // its name there; "": the file cannot be read
	Server  string   `json:"server"`
	Name    string   `json:"name,omitempty"` // here
	Outcome string   `json:"outcome"`
	Notes   []string `json:"notes"`
	Project string   `json:"project,omitempty"` // for which alone the entry is
	wrapped bool     // by mcp-remote
}

// run takes servers over. done is false if what args name is neither a host nor a file of one.
func (m *importServers) run(ctx context.Context, args []string) (done bool, err error) {
	if len(args) != 1 {
		return false, nil
	}
	if _, err := m.loadConfig(); err != nil {
		return true, err
	}
	h := mcphost.Find(args[0])
	// A folder that has the name of a host, such as one of sources, is not meant.
	if info, err := os.Stat(args[0]); err == nil && (h == nil || info.Mode().IsRegular()) {
		text, err := readRegular(args[0], maxList)
		if h = hostOf(text); err != nil || h == nil {
			return false, nil
		}
		return true, m.takeFiles(ctx, nil, h, args[0])
	}
	if h == nil {
		return false, nil
	}
	at := m.machine().Locate(h)
	files := at.Old
	if at.File != "" {
		files = append([]string{at.File}, at.Old...)
	}
	return true, m.takeFiles(ctx, h, h, files...)
}

// hostOf returns a host whose files are like this text; nil if no host's are.
func hostOf(text []byte) *mcphost.Host {
	if bytes.HasPrefix(text, []byte("age-encryption.org/")) || bytes.HasPrefix(text, []byte("-----BEGIN AGE")) {
		return nil
	}
	for _, h := range mcphost.All() {
		if entries, err := h.Entries(text, ""); err == nil && len(entries) > 0 {
			return h
		}
	}
	return nil
}

// takeFiles takes over the servers in files. named is the host that was named; nil: none was.
func (m *importServers) takeFiles(ctx context.Context, named, h *mcphost.Host, files ...string) error {
	found := false
	for _, file := range files {
		entries, err := m.hostEntries(h, file)
		found = found || entries != nil || err != nil
		if err != nil {
			r := m.add(named, file, mcphost.Entry{})
			r.Outcome, r.Notes = outcomeNotTaken, []string{"the file cannot be read: " + err.Error()}
		}
		for _, e := range entries {
			if e.Kind != mcphost.Remote && e.Kind != mcphost.MCPRemote {
				continue
			}
			r := m.add(named, file, e)
			if err := m.take(ctx, r, e); err != nil {
				r.Name, r.Outcome = "", outcomeNotTaken
				_ = m.finish(h) // what was taken before
				return err
			}
		}
	}
	if !found {
		return m.nothingHere(h, files)
	}
	return m.finish(h)
}

// nothingHere returns the error for a host that has none of its files here.
func (m *importServers) nothingHere(h *mcphost.Host, files []string) error {
	f := usage("%s keeps no servers here: %s is missing", h.Name, list(files, "or"))
	project := m.machine().Project(h)
	_, err := os.Stat(project)
	switch {
	case h.Manual():
		f = usage("%s keeps its servers in no file that can be imported", h.Name)
		f.hint = "give each a name with handstamp add"
	case project != "" && (err == nil || len(files) == 0):
		f.hint = "name the file of a project: handstamp import " + h.Project
	}
	if len(files) == 0 && !h.Manual() {
		f.err = errors.New(h.Name + " has no file here for servers of all projects")
	}
	return f
}

// add adds the result for an entry of a file.
func (m *importServers) add(named *mcphost.Host, file string, e mcphost.Entry) *importedServer {
	r := &importedServer{File: file, Entry: e.Name, Server: shownURL(e.URL), Project: e.Project,
		Notes: []string{}, wrapped: e.Kind == mcphost.MCPRemote}
	if named != nil {
		r.Host = named.ID
	}
	m.results = append(m.results, r)
	return r
}

// take gives a server a name in the configuration.
func (m *importServers) take(ctx context.Context, r *importedServer, e mcphost.Entry) error {
	t, err := m.server(e.URL)
	if err != nil || strings.Contains(e.URL, "${") {
		r.Outcome = outcomeNotTaken
		r.Notes = append(r.Notes, m.whyNot(e.URL))
		return nil
	}
	if alias, _ := m.alias(t.key.Server); alias != "" {
		r.Name, r.Outcome = alias, outcomeKept
		return nil
	}
	s := &serverConfig{URL: t.url, AllowHTTP: m.global.allowHTTP && strings.HasPrefix(t.url, "http:")}
	r.takeHeaders(s, e.Headers)
	if takeClient(s, e) {
		r.Notes = append(r.Notes, "the secret of its client is not imported: give it to handstamp login "+
			"with --client-secret-file")
	}
	r.Name, r.Outcome = m.freeAlias(e.Name, t), outcomeTaken
	if m.dryRun {
		if m.conf.Servers == nil {
			m.conf.Servers = make(map[string]*serverConfig)
		}
		m.conf.Servers[r.Name], m.conf.aliases = s, nil
		return nil
	}
	return m.putAlias(ctx, r.Name, s)
}

// whyNot returns why a URL cannot be used.
func (m *importServers) whyNot(rawURL string) string {
	u, err := parseURL(rawURL)
	switch {
	case strings.Contains(rawURL, "${"):
		return "its URL cannot be used: it holds a variable"
	case err == nil && u.Scheme == "http" && !m.global.allowHTTP:
		return "its URL is plain http, where anyone on the network can read the token; use " +
			"--allow-http to import it"
	case err != nil && (u == nil || u.User == nil):
		return "its URL cannot be used: " + err.Error()
	}
	return "its URL cannot be used: it holds more than a URL may"
}

// freeAlias returns a name that no server has yet.
func (m *importServers) freeAlias(entry string, t *target) string {
	t.name = entry
	name := proposedName(t)
	for n, free := 2, name; ; n++ {
		if m.conf.Servers[free] == nil {
			return free
		}
		free = name + "-" + strconv.Itoa(n)
	}
}

var (
	// inEnv is how several hosts write an environment variable.
	inEnv = lazyregexp.New(`\$?\{env:([A-Za-z_][A-Za-z0-9_]*)\}`)

	// ofHost is what else a host puts something in place of: its own inputs and files, defaults.
	ofHost = lazyregexp.New(`\$\{|\$[A-Za-z_]|\{(file|input):`)
)

// takeHeaders takes the headers that hold no secret themselves.
func (r *importedServer) takeHeaders(s *serverConfig, headers map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		value := inEnv.Get().ReplaceAllString(headers[name], "$${$1}")
		if literalSecret(name, value) {
			r.Notes = append(r.Notes, "the header "+clean(name)+" is not imported, because its value may be a secret")
			continue
		}
		if ofHost.Get().MatchString(variable.Get().ReplaceAllString(value, "")) {
			r.Notes = append(r.Notes, "the header "+clean(name)+" is not imported: it has a variable of the MCP host's own")
			continue
		}
		if s.Headers == nil {
			s.Headers = make(map[string]string)
		}
		s.Headers[name] = value
		if err := s.checkHeaders(); err != nil {
			delete(s.Headers, name)
			r.Notes = append(r.Notes, "the header "+clean(name)+" is not imported: it cannot be sent")
		}
	}
}

// takeClient takes a client that was registered by hand, and reports whether its secret is left out.
func takeClient(s *serverConfig, e mcphost.Entry) (secret bool) {
	if e.Client != nil {
		s.ClientID = e.Client.ID
		return e.Client.Secret != ""
	}
	object, _ := e.Value.(map[string]any)
	client, _ := object["oauth"].(map[string]any)
	id, _ := firstOf(client, "clientId", "client_id").(string)
	if id != "" && !strings.Contains(id, "$") && clean(id) == id {
		s.ClientID = id
		secret = firstOf(client, "clientSecret", "client_secret") != nil
	}
	switch scopes := firstOf(client, "scopes", "scope").(type) {
	case string:
		s.Scopes = strings.Fields(scopes)
	case []any:
		for _, scope := range scopes {
			if text, ok := scope.(string); ok {
				s.Scopes = append(s.Scopes, text)
			}
		}
	}
	return secret
}

func firstOf(object map[string]any, keys ...string) any {
	for _, key := range keys {
		if object[key] != nil {
			return object[key]
		}
	}
	return nil
}

// finish shows what became of the servers.
func (m *importServers) finish(h *mcphost.Host) error {
	bad := slices.ContainsFunc(m.results, func(r *importedServer) bool { return r.Outcome == outcomeNotTaken })
	out := map[string]any{"dry_run": m.dryRun, "servers": append([]*importedServer{}, m.results...)}
	if err := m.print(out, func() { m.show(h) }); err != nil {
		return err
	}
	if bad {
		return ended(exitOther)
	}
	return nil
}

func (m *importServers) show(h *mcphost.Host) {
	wrapped := false
	for _, r := range m.results {
		wrapped = wrapped || r.wrapped
		switch r.Outcome {
		case outcomeTaken:
			m.err.ok("", "%s is %s", r.Name, r.Server)
		case outcomeKept:
			m.err.ok("", "%s is %s already", r.Name, r.Server)
		default:
			m.err.bad("", "Not imported: %s", clean(cmp.Or(r.Entry, m.shortPath(r.File))))
		}
		for _, note := range r.Notes {
			m.err.warn(indent, "%s", capital(note))
		}
		if r.Outcome != outcomeNotTaken {
			m.err.note(indent, "Sign in: handstamp login %s", shellWord(r.Name))
			m.err.note(indent, "Have %s use it: %s", h.Name, m.connectLine(r, h))
		}
	}
	if len(m.results) == 0 {
		m.err.note("", "%s has no remote servers", h.Name)
	}
	if wrapped {
		m.err.note("", "The logins of mcp-remote: handstamp import mcp-remote")
	}
	if m.dryRun {
		m.err.note("", "Nothing was written: this was a dry run")
	}
}

// connectLine returns the command that puts the bridge in place of the host's own entry.
func (m *importServers) connectLine(r *importedServer, h *mcphost.Host) string {
	s := "handstamp client connect " + h.ID + " " + r.Name
	if r.Project != "" {
		return s
	}
	s += " --name " + shellWord(r.Entry) + " --force"
	if r.Host == "" || m.machine().Locate(h).File != r.File {
		s += " --file " + shellWord(r.File)
	}
	return s
}
