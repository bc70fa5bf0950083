package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/handstamp/handstamp/internal/mcpremote"
	"github.com/handstamp/handstamp/store"
)

// The outcomes for a login of mcp-remote's.
const (
	outcomeTaken    = "taken"     // it is stored, or would be
	outcomeKept     = "kept"      // a good one was stored already
	outcomeNotTaken = "not_taken" // Error is the reason
	outcomeNothing  = "nothing"   // a registration without a login
)

// importResult is the result for the logins at one server, or for a file that
// belongs to none.
type importResult struct {
	Outcome string   `json:"outcome"`
	Name    string   `json:"name,omitempty"`
	Server  string   `json:"server,omitempty"`
	Profile string   `json:"profile,omitempty"`
	File    string   `json:"file,omitempty"` // mcp-remote's, that it is about
	Found   string   `json:"found_in,omitempty"`
	Error   *report  `json:"error,omitempty"` // why it is not taken
	Notes   []string `json:"notes,omitempty"`
	Older   []string `json:"older,omitempty"` // files of older logins, left aside
	Status  *entry   `json:"status,omitempty"`
}

// candidate is a login whose server is known.
type candidate struct {
	*mcpremote.Login
	command *mcpremote.Command
	target  *target
}

// takeAll takes what there is to take, server by server, and notes the result of
// everything else. It ends early only where going on cannot help.
func (m *importCommand) takeAll(ctx context.Context) error {
	for _, p := range m.folder.Problems {
		m.add(&importResult{Outcome: outcomeNotTaken, File: p.Path,
			Error: notTaken("unreadable", p.Reason, "")})
	}
	slices.SortStableFunc(m.folder.Logins, mcpremote.Order(m.now))
	servers := make(map[store.Key][]candidate)
	unknown := make(map[string]*importResult)
	for _, l := range m.folder.Logins {
		switch found := m.matches[l.Hash]; {
		case found != nil:
			m.assign(servers, candidate{Login: l, command: found})
		case len(m.only) > 0: // not one of those that the command line names
		case unknown[l.Hash] != nil:
			unknown[l.Hash].Older = append(unknown[l.Hash].Older, l.Path)
		default:
			unknown[l.Hash] = m.unknown(l)
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(servers), store.Key.Compare) {
		if err := m.takeServer(ctx, servers[key]); err != nil {
			return err
		}
	}
	for _, hash := range slices.Sorted(maps.Keys(unknown)) {
		m.add(unknown[hash])
	}
	for _, t := range m.only {
		if servers[t.key] == nil {
			m.add(&importResult{
				Outcome: outcomeNotTaken, Name: t.name, Server: t.url, Profile: t.profile,
				Error: &report{Code: kindLogin.code, Exit: exitLogin, Command: t.command("login"),
					Message: "mcp-remote has no login for this URL alone; if it was started " +
						"with more than that, give its arguments after --"},
			})
		}
	}
	return nil
}

// importTarget returns where a login is stored that mcp-remote made with a command line.
func (m *importCommand) importTarget(command *mcpremote.Command) (*target, error) {
	t, err := m.server(command.URL)
	if err != nil {
		return nil, err
	}
	d, err := importedFlags(command, t.config)
	if err != nil {
		return nil, err
	}
	return t, m.setProfile(t, d)
}

// assign puts a login to its server.
func (m *importCommand) assign(servers map[store.Key][]candidate, c candidate) {
	t, err := m.importTarget(c.command)
	switch {
	case err == nil && len(m.only) > 0:
		// Under the name that the command line has for it, and not at all if that
		// has none.
		i := slices.IndexFunc(m.only, func(only *target) bool { return only.key == t.key })
		if i < 0 {
			return
		}
		t.name = m.only[i].name
	case err != nil:
		if len(m.only) == 0 {
			m.add(&importResult{Outcome: outcomeNotTaken, Server: shownURL(c.command.URL), File: c.Path,
				Error: notTaken(kindUsage.code, err.Error(), "")})
		}
		return
	}
	if alias, _ := m.alias(t.key.Server); alias != "" {
		t.name = alias
	}
	c.target = t
	servers[t.key] = append(servers[t.key], c)
}

// notTaken returns the error of a login that is not taken, with the command that helps.
func notTaken(code, message, command string) *report {
	return &report{Code: code, Message: message, Command: command, Exit: exitOther}
}

// unknown returns the result for a login whose server is not known.
func (m *importCommand) unknown(l *mcpremote.Login) *importResult {
	r := &importResult{Outcome: outcomeNotTaken, File: l.Path}
	switch {
	case errors.Is(l.Err, mcpremote.ErrNoTokens):
		r.Outcome, r.Notes = outcomeNothing, []string{l.Err.Error()}
		return r
	case l.Err != nil:
		r.Error = notTaken("unreadable", l.Err.Error(), "")
		return r
	}
	r.Error = notTaken("unknown_server",
		"its server is not known; name its URL, or give mcp-remote's arguments after --",
		m.again()+" URL")
	r.Notes = append(r.Notes,
		"Last login or refresh: "+l.ReceivedAt.Local().Format("2 January 2006 at 15:04"))
	if l.Issuer != "" {
		r.Notes = append(r.Notes, "Authorization server: "+short(l.Issuer))
	}
	return r
}

// takeServer takes the best of the logins at one server that can be taken, and
// notes the others. They come in the order to try.
func (m *importCommand) takeServer(ctx context.Context, all []candidate) error {
	// What was typed in full means one login, and not its neighbours.
	typed := func(c candidate) bool { return c.Hash == m.exact }
	if slices.ContainsFunc(all, typed) {
		all = slices.DeleteFunc(all, func(c candidate) bool { return !typed(c) })
	}
	var failed []*importResult
	for i, c := range all {
		r, err := m.take(ctx, c)
		if err != nil {
			return err
		}
		if r.Outcome == outcomeTaken || r.Outcome == outcomeKept {
			for _, f := range failed {
				r.Notes = append(r.Notes,
					fmt.Sprintf("A newer login cannot be used: %s (%s)", f.Error.Message, f.File))
			}
			for _, r := range append([]*importResult{r}, m.leave(r, c, all[i+1:])...) {
				m.add(r)
			}
			return nil
		}
		failed = append(failed, r)
		if r.Error != nil && r.Error.Exit == exitProtocol {
			break // an older login is no better
		}
	}
	best := failed[0]
	for _, c := range all[1:] {
		best.Older = append(best.Older, c.Path)
	}
	m.add(best)
	return nil
}

// leave notes the older logins beside the one that was taken, and returns the results of
// those that mcp-remote kept apart from it.
func (m *importCommand) leave(
	r *importResult, taken candidate, rest []candidate,
) (second []*importResult) {
	apart := []string{taken.apart()}
	for _, c := range rest {
		if !c.Usable(m.now) || slices.Contains(apart, c.apart()) {
			r.Older = append(r.Older, c.Path)
			continue
		}
		apart = append(apart, c.apart())
		other := c.result()
		other.Error = notTaken("second_login",
			"it is a second login at this server, which needs a profile of its own",
			m.command(c.command, "--profile NAME --"))
		second = append(second, other)
	}
	return second
}

// apart is what tells logins at one server apart.
func (c candidate) apart() string {
	s := c.command.Server
	if c.Hash == (mcpremote.Server{URL: s.URL}).Hashes()[0] {
		return ""
	}
	s.URL = ""
	return s.Hashes()[0]
}

// result returns the result of a login that is not taken yet.
func (c candidate) result() *importResult {
	return &importResult{Outcome: outcomeNotTaken, Name: c.target.name, Server: c.target.url,
		Profile: c.target.profile, File: c.Path, Found: c.command.Source}
}
