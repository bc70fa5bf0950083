package cli

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/webpage"
)

// statusResult is what --json prints: one entry, or several.
type statusResult struct {
	*entry
	Servers []*entry       `json:"servers,omitzero"`
	Folders *foldersOutput `json:"folders,omitempty"`
}

// write prints the entries, one object if a single server was named.
func (s *statusCommand) write(entries []*entry, single bool) error {
	switch {
	case s.global.quiet:
		return nil
	case s.global.json && single:
		return s.out.json(statusResult{entry: entries[0], Folders: s.shownFolders()}, true)
	case s.global.json:
		return s.out.json(statusResult{Servers: entries, Folders: s.shownFolders()}, true)
	case len(entries) == 0:
		s.out.line("No server is signed in to yet.")
		s.out.note("", "Run: handstamp login <server>, or see it work first: handstamp demo")
		return nil
	}
	s.out.together(func() { s.writeEntries(entries) })
	return nil
}

// writeEntries prints what is known of each server.
func (a *app) writeEntries(entries []*entry) {
	width := 0
	for _, e := range entries {
		if e.Name != e.Server {
			width = max(width, len(clean(e.Name)))
		}
	}
	for _, e := range entries {
		name := a.out.styled(styleBold, e.Name)
		if e.Name != e.Server && e.Name != strings.TrimPrefix(e.Server, "https://") {
			name += strings.Repeat(" ", max(1, width+3-len(clean(e.Name)))) + clean(e.Server)
		}
		a.out.raw(name)
		a.writeEntry(e, time.Now())
	}
}

const indent = "  "

func (a *app) writeEntry(e *entry, now time.Time) {
	a.writeHeadline(e, now)
	if e.Flags != nil {
		a.out.note(indent, "For the flags: %s", e.Flags)
	}
	for _, profile := range e.OtherProfiles {
		a.out.note(indent, "Another login is stored there: --profile %s", shellWord(clean(profile)))
	}
	if command := e.nextCommand(); command != "" {
		a.out.note(indent, "Run: %s", command)
	}
	if e.State == handstamp.StateNone || e.unreadable() {
		return
	}
	if e.Usable() {
		a.out.note(indent, "%s", accessLine(e.Status, now))
	}
	a.out.noteClient(e.Status)
	a.writeWays(e)
	if e.Scope != "" {
		a.out.note(indent, "Scope: %s", short(e.Scope))
	}
}

// writeHeadline prints in one line whether the login can be used.
func (a *app) writeHeadline(e *entry, now time.Time) {
	mark, text := e.headline(now)
	switch {
	case e.Check != nil:
		a.writeCheck(e.Check)
	case mark == webpage.Good:
		a.out.ok(indent, "%s", text)
	case mark == webpage.Warn:
		a.out.warn(indent, "%s", text)
	case mark == webpage.Bad:
		a.out.bad(indent, "%s", text)
	default:
		a.out.note(indent, "%s", text)
		if m := e.ManualRegistration; m != nil {
			a.out.note(indent, "Register a client at %s with the redirect URI %s",
				short(m.Issuer), short(m.RedirectURI))
		}
	}
}

// headline returns in one line whether the login can be used.
func (e *entry) headline(now time.Time) (mark webpage.Mark, text string) {
	profile := " (profile " + e.Profile + ")"
	switch {
	case e.State == handstamp.StateNone && e.Problem != "":
		return webpage.Bad, capital(clean(e.Problem))
	case e.State == handstamp.StateNone:
		return webpage.None, "Not signed in" + profile
	case e.State == handstamp.StateCorrupt:
		return webpage.Bad, "The stored credential is damaged" + profile + ": " +
			cmp.Or(clean(e.Problem), "it was set aside")
	case e.State == handstamp.StateUnusable:
		return webpage.Bad, "The stored credential cannot be used" + profile + ": " + clean(e.Problem)
	case e.State == handstamp.StateRevoked:
		return webpage.Bad, revokedLine(e.GrantError, now)
	case e.State == handstamp.StateExpired:
		reason := "has expired"
		if e.AccessTokenRejected {
			reason = "no longer works"
		}
		return webpage.Bad, "Signed in, but the access token " + reason + " and cannot be refreshed" +
			profile
	case e.waits(now):
		return webpage.Warn, fmt.Sprintf(
			"Authorization server unreachable (%s, trying again in %s); credential kept",
			cmp.Or(short(e.RetryReason), "no response"), span(e.RetryAt.Sub(now)))
	case e.checked:
		return webpage.Good, fmt.Sprintf("Signed in, and the server accepts it (profile %s, %s)",
			e.Profile, e.Store)
	}
	return webpage.Good, fmt.Sprintf("Signed in (profile %s, %s)", e.Profile, e.Store)
}

// nextCommand returns the command that makes the login usable, or says what does; "" if it is.
func (e *entry) nextCommand() string {
	switch m := e.ManualRegistration; {
	case e.Check != nil:
		return e.Check.Command
	case e.Usable(), e.State == handstamp.StateNone && e.Problem != "":
		return ""
	case e.State == handstamp.StateUnusable:
		return e.target.command("doctor")
	case m != nil && e.State == handstamp.StateNone:
		return e.target.registerCommand(m.RedirectURI)
	}
	return e.target.command("login")
}

// writeCheck prints the error that --check met.
func (a *app) writeCheck(r *report) {
	mark := a.out.bad
	if r.Exit == exitUnreachable {
		mark = a.out.warn
	}
	mark(indent, "%s", capital(short(r.Message)))
	if r.Hint != "" && r.Command == "" {
		a.out.note(indent, "%s", capital(short(r.Hint)))
	}
}

// accessLine describes how long the access token lasts and what happens then.
func accessLine(s *handstamp.Status, now time.Time) string {
	return "Access token: " + accessState(s, span(s.ExpiresAt.Sub(now)))
}

func accessState(s *handstamp.Status, left string) string {
	switch {
	case s.State == handstamp.StateRefreshable && s.AccessTokenRejected:
		return "rejected by the server, refreshed at its next use"
	case s.RefreshRejected != "":
		return left + " left; the server has rejected its refresh (" + short(s.RefreshRejected) + ")"
	case s.State == handstamp.StateRefreshable:
		return "expired, refreshed at its next use"
	case s.ExpiresAt.IsZero() && s.Refreshable:
		return "the server gave no expiry; refreshed when the server rejects it"
	case s.ExpiresAt.IsZero():
		return "the server gave no expiry, and it cannot be refreshed"
	case s.Refreshable:
		return left + " left, refreshed automatically"
	}
	return left + " left, then a new login is needed"
}

// noteClient describes the client and how it authenticates, with the reason.
func (p *printer) noteClient(s *handstamp.Status) {
	if s.ClientID == "" {
		return
	}
	source := map[string]string{
		record.SourceConfigured:       "configured",
		record.SourceMetadataDocument: "metadata document",
		record.SourceDynamic:          "dynamic",
	}[s.ClientSource]
	line := "Client: " + cmp.Or(source, short(s.ClientSource), "unknown")
	if s.Method != "" {
		line += ", " + short(s.Method)
	}
	if s.MethodReason != "" {
		line += " (" + short(s.MethodReason) + ")"
	}
	if s.Issuer != "" {
		line += "   Issuer: " + short(s.Issuer)
	}
	p.note(indent, "%s", line)
}

// revokedLine describes how the server ended a grant.
func revokedLine(r *handstamp.GrantError, now time.Time) string {
	if r == nil {
		return "Signed out by the server"
	}
	line := fmt.Sprintf("Signed out by the server %s ago (%s)", span(now.Sub(r.At)),
		cmp.Or(short(r.Code), "no reason given"))
	if r.Description != "" {
		line += ": " + short(r.Description)
	}
	if r.Interrupted {
		line += "; a refresh had been interrupted before"
	}
	return line
}

// span is a duration in its largest unit alone.
func span(d time.Duration) string {
	switch d = max(0, d); {
	case d < 90*time.Second:
		return fmt.Sprintf("%d s", int(d.Round(time.Second)/time.Second))
	case d < 90*time.Minute:
		return fmt.Sprintf("%d min", int(d.Round(time.Minute)/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Round(time.Hour)/time.Hour))
	}
	return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
}
