package cli

import (
	"cmp"
	"context"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/store"
	"github.com/spf13/cobra"
)

// statusCommand is handstamp status.
type statusCommand struct {
	*app
	check bool
}

func (a *app) newStatus() *cobra.Command {
	s := &statusCommand{app: a}
	cmd := &cobra.Command{
		Use:   "status [server]",
		Short: "Show the stored logins",
		Long: `Show the stored logins: the client, the token endpoint auth method and where it is
known from, the account, how tokens are obtained and what they are bound to, the
client's key, and the flags that a profile such as default-1a2b3c4d stands for. It
uses no network, unless --check has each login tried, and refreshed if needed, with
one request to the MCP server.

The exit code is 0 if every login shown is usable, 4 if a login is required, 3 if the
last refresh failed and the next one waits or --check cannot reach a server, 7 if a
credential cannot be read, and 2 if --check finds no MCP server at the URL. With --quiet
nothing is printed.`,
		Args: between(0, 1, "one server, or none for all"),
		RunE: withArgs(s.run),
	}
	cmd.Flags().BoolVar(&s.check, "check", false, "try each login at its server")
	return cmd
}

// entry is one server in a status.
type entry struct {
	Name string `json:"name"`
	*handstamp.Status
	Store string      `json:"store"`
	Flags *shownFlags `json:"profile_flags,omitempty"`
	Ways  *ways       `json:"settings,omitempty"`
	Check *report     `json:"check_error,omitempty"` // what --check found, if it is bad

	OtherProfiles []string `json:"other_profiles,omitempty"` // signed in there, and not in this one

	target  *target
	checked bool
}

func (s *statusCommand) run(ctx context.Context, args []string) error {
	entries, err := s.entries(ctx, args...)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if s.check {
			s.checkEntry(ctx, e)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.env.get(tokenVariable) != "" {
		s.notice(tokenVariable + " is set: token, exec, bridge, tools and call use it at every server, " +
			"instead of a stored login")
	}
	if err := s.write(entries, len(args) == 1); err != nil {
		return err
	}
	return ended(statusCode(entries))
}

// newEntry returns the entry of a target, whose login was made with saved settings.
func (a *app) newEntry(t *target, st *handstamp.Status, saved authSettings) *entry {
	e := &entry{Name: t.name, Status: st, Store: a.place, Flags: t.shownFlags(), Ways: t.ways(saved),
		target: t}
	e.obtainable()
	return e
}

// entry reads what is stored for one server.
func (a *app) entry(ctx context.Context, t *target) (*entry, error) {
	t.local = true
	c, err := a.storedClient(ctx, t, handstamp.LoginNever)
	if err != nil {
		return nil, err
	}
	st, err := c.Status(ctx, t.url)
	if err != nil {
		return nil, advise(err, t)
	}
	e := a.newEntry(t, st, a.loadSettings(t))
	if st.State == handstamp.StateNone {
		e.OtherProfiles, err = a.signedInProfiles(ctx, t)
	}
	return e, err
}

// signedInProfiles returns the profiles of the logins at a server.
func (a *app) signedInProfiles(ctx context.Context, t *target) ([]string, error) {
	credentials, err := a.openStore()
	if err != nil {
		return nil, err
	}
	keys, err := keysAt(ctx, credentials, t.key.Server)
	if err != nil {
		return nil, &failure{kind: kindStore, err: err}
	}
	var profiles []string
	for _, k := range keys {
		if k.Profile != t.profile {
			profiles = append(profiles, k.Profile)
		}
	}
	return profiles, nil
}

// listGarbage is how much garbage there may be, in percent of what is in use, while many logins are
// listed. Then the process ends; with 100, a sixth of its time went into collecting it.
const listGarbage = 400

// entries reads what is stored for a server, or for all. To these it adds the servers of the
// configuration that are not signed in to.
func (a *app) entries(ctx context.Context, servers ...string) ([]*entry, error) {
	if len(servers) > 0 {
		t, err := a.target(servers[0])
		if err != nil {
			return nil, err
		}
		e, err := a.entry(ctx, t)
		return []*entry{e}, err
	}
	if err := checkProfile(cmp.Or(a.global.profile, a.env.get("HANDSTAMP_PROFILE"))); err != nil {
		return nil, err // no server is to blame
	}
	if a.env.get("GOGC") == "" {
		debug.SetGCPercent(listGarbage)
	}
	statuses, err := a.statuses(ctx)
	if err != nil {
		return nil, err
	}
	entries, settings := []*entry{}, a.settingsOfMany()
	stored := make(map[[2]string]bool) // by name and profile
	for _, st := range statuses {
		key, err := store.NewKey(st.Server, st.Profile)
		if err != nil {
			key = store.Key{Server: st.Server, Profile: st.Profile}
		}
		t := a.storedTarget(key)
		if a.global.profile == "" || a.global.profile == t.profile {
			entries = append(entries, a.newEntry(t, st, settings(t)))
			stored[[2]string{t.name, st.Profile}] = true
		}
	}
	for _, alias := range slices.Sorted(maps.Keys(a.conf.Servers)) {
		t, err := a.target(alias)
		problem := ""
		if err != nil {
			t, problem = a.wrongTarget(alias), err.Error()
		}
		if !stored[[2]string{alias, t.profile}] {
			none := &handstamp.Status{Server: t.url, Profile: t.profile, Problem: problem, State: handstamp.StateNone}
			entries = append(entries, a.newEntry(t, none, settings(t)))
		}
	}
	return entries, nil
}

// statusCode returns the gravest exit code among the entries; nothing signed in
// anywhere counts as a login required.
func statusCode(entries []*entry) int {
	if len(entries) == 0 {
		return exitLogin
	}
	var codes []int
	for _, e := range entries {
		codes = append(codes, e.code())
	}
	return gravest(codes...)
}

// code returns the exit code of one entry.
func (e *entry) code() int {
	switch {
	case e.Check != nil:
		return e.Check.Exit
	case e.unreadable():
		return exitStore
	case !e.Usable():
		return exitLogin
	case e.waits(time.Now()):
		return exitUnreachable
	}
	return exitOK
}

// unreadable reports whether a record is stored that cannot be read.
func (e *entry) unreadable() bool {
	return e.State == handstamp.StateCorrupt || e.State == handstamp.StateUnusable
}

// waits reports whether the login works again only when the authorization
// server does.
func (e *entry) waits(now time.Time) bool {
	return e.State == handstamp.StateRefreshable && e.RetryAt.After(now)
}
