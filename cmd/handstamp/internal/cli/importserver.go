package cli

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"

	"github.com/handstamp/handstamp/internal/mcpremote"
)

// findServers reads the folder and tries every server that is known here. Those of
// which more is known are tried first, since of several that fit the first counts.
func (m *importCommand) findServers(ctx context.Context, args, typed []string) error {
	conf, err := m.loadConfig()
	if err != nil {
		return err
	}
	var known []string
	for _, arg := range args {
		t, err := m.target(arg)
		if err != nil {
			return err
		}
		known, m.only = append(known, t.url), append(m.only, t)
	}
	m.matches = make(map[string]*mcpremote.Command)
	if len(typed) > 0 {
		command, err := mcpremote.ParseCommand(typed, m.around())
		if err != nil {
			return usage("mcp-remote could not be started with this: %w", err)
		}
		t, err := m.importTarget(command)
		if err != nil {
			return err
		}
		m.only = append(m.only, t)
		m.try(command)
		m.exact = command.Hashes()[0]
	}
	if err := m.readFolder(); err != nil {
		return err
	}
	m.tryPrograms()
	for _, alias := range slices.Sorted(maps.Keys(conf.Servers)) {
		known = append(known, withScheme(conf.Servers[alias].URL))
	}
	stored, err := m.statuses(ctx)
	if err != nil {
		return err
	}
	for _, st := range stored {
		known = append(known, st.Server)
	}
	for _, u := range append(known, m.folder.URLs...) {
		m.tryURL(u)
	}
	return nil
}

// try notes the hashes of a server, unless they are noted already.
func (m *importCommand) try(command *mcpremote.Command) {
	for _, hash := range command.Hashes() {
		if m.matches[hash] == nil {
			m.matches[hash] = command
		}
	}
}

// tryURL tries all that a user may have typed for a URL.
func (m *importCommand) tryURL(u string) {
	for _, spelling := range mcpremote.Spellings(u) {
		m.try(&mcpremote.Command{Server: mcpremote.Server{URL: spelling}, URLOnly: true})
	}
}

// maxList bounds a program's list of servers, in bytes: some keep their history in
// the same file.
const maxList = 32 << 20

// tryPrograms tries the servers in the lists of the programs that start
// mcp-remote. A list that cannot be read is none. One that lies in the working
// folder may come from a stranger: it names servers, and nothing else in it
// is used.
func (m *importCommand) tryPrograms() {
	log := m.logger("import")
	own, project := m.machine().Files()
	var urls []string
	for i, path := range append(own, project...) {
		text, err := readRegular(path, maxList)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			log.Debug("a list of servers cannot be read", "path", path, "error", err)
		}
		if err != nil || !mcpremote.Mentioned(text) {
			continue
		}
		around, stranger := m.around(), i >= len(own)
		if stranger {
			around = mcpremote.Surroundings{}
		}
		commands := mcpremote.Commands(text, path, around)
		log.Debug("read a list of servers", "path", path, "mcp-remote", len(commands))
		for _, command := range commands {
			if stranger {
				command = &mcpremote.Command{Server: command.Server, Source: path}
			}
			m.try(command)
		}
		urls = append(urls, mcpremote.URLs(text)...)
	}
	for _, u := range urls {
		m.tryURL(u)
	}
}
