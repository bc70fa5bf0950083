package cli

import (
	"context"

	"github.com/handstamp/handstamp"
)

// runOverview is handstamp alone: what is signed in to, and the next step. It is
// a help, not a check, so it ends with 0 whatever it finds.
func (a *app) runOverview(ctx context.Context) error {
	entries, err := a.entries(ctx)
	if err != nil {
		return err
	}
	return a.print(map[string]any{"servers": entries},
		func() { a.showOverview(entries) })
}

func (a *app) showOverview(entries []*entry) {
	a.out.line("Handstamp: log in to MCP servers once; every later session walks back in.")
	a.out.line("")
	if len(entries) == 0 {
		a.out.line("No server is signed in to yet.")
		a.out.note("", "See it work, on this machine alone: handstamp demo")
		a.out.note("", "Sign in: handstamp login <server>")
		a.out.note("", "Everything else: handstamp --help")
		return
	}
	a.writeEntries(entries)
	a.out.line("")
	a.out.note("", "%s", nextStep(entries))
	a.out.note("", "Everything else: handstamp --help")
}

// nextStep suggests what to do with what there is.
func nextStep(entries []*entry) string {
	for _, e := range entries {
		if e.code() == exitLogin && e.Problem == "" {
			return "Sign in: " + e.target.command("login")
		}
	}
	if entries[0].State == handstamp.StateNone {
		return "Sign in: handstamp login <server>"
	}
	return "Use a login: " + entries[0].target.command("token")
}
