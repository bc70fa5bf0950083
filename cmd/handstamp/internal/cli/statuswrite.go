package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
)

// write prints the entries, one object if a single server was asked about.
func (s *statusCommand) write(entries []*entry, single bool) error {
	switch {
	case s.global.quiet:
		return nil
	case s.global.json && single:
		return s.out.json(struct {
			*entry
			Folders *foldersOutput `json:"folders,omitempty"`
		}{entries[0], s.shownFolders()}, true)
	case s.global.json:
		return s.out.json(struct {
			Servers []*entry       `json:"servers"`
			Folders *foldersOutput `json:"folders,omitempty"`
		}{append([]*entry{}, entries...), s.shownFolders()}, true)
	case len(entries) == 0:
		s.out.line("Nobody is signed in anywhere yet.")
		s.out.note("", "Run: handstamp login <server>, or see it work first: handstamp demo")
		return nil
	}
	s.writeEntries(entries)
	return nil
}

// writeEntries prints what is known of each server, for people.
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
	command := e.target.command("login")
	switch {
	case e.Check != nil:
		a.writeCheck(e)
	case e.State == handstamp.StateNone:
		a.out.note(indent, "Not signed in (profile %s)", e.Profile)
		if m := e.ManualRegistration; m != nil {
			a.out.note(indent, "Register a client at %s with the redirect URI %s", short(m.Issuer), short(m.RedirectURI))
			command = e.target.registerCommand(m.RedirectURI)
		}
		a.out.note(indent, "Run: %s", command)
		return
	case e.State == handstamp.StateCorrupt:
		a.out.bad(indent, "The stored credential is damaged (profile %s): %s", e.Profile, first(clean(e.Problem), "it was set aside"))
		a.out.note(indent, "Run: %s", command)
		return
	case e.State == handstamp.StateUnusable:
		a.out.bad(indent, "The stored credential cannot be used (profile %s): %s", e.Profile, clean(e.Problem))
		return
	case e.State == handstamp.StateRevoked:
		a.out.bad(indent, "%s", refusedLine(e.GrantError, now))
		a.out.note(indent, "Run: %s", command)
	case e.State == handstamp.StateExpired && e.AccessTokenRejected:
		a.out.bad(indent, "Signed in, but the access token does not work any more and nothing can refresh it (profile %s)", e.Profile)
		a.out.note(indent, "Run: %s", command)
	case e.State == handstamp.StateExpired:
		a.out.bad(indent, "Signed in, but the access token has expired and nothing can renew it (profile %s)", e.Profile)
		a.out.note(indent, "Run: %s", command)
	case e.waits(now):
		a.out.warn(indent, "Authorization server unreachable (%s, trying again in %s); credential kept", first(short(e.RetryReason), "no answer"), span(e.RetryAt.Sub(now)))
	case e.checked:
		a.out.ok(indent, "Signed in, and the server accepts it (profile %s, %s)", e.Profile, e.Store)
	default:
		a.out.ok(indent, "Signed in (profile %s, %s)", e.Profile, e.Store)
	}
	if e.Usable() {
		a.out.note(indent, "%s", accessLine(e.Status, now))
	}
	if line := clientLine(e.Status); line != "" {
		a.out.note(indent, "%s", line)
	}
	if e.Scope != "" {
		a.out.note(indent, "Scope: %s", short(e.Scope))
	}
}

// writeCheck tells what --check found to be bad.
func (a *app) writeCheck(e *entry) {
	mark := a.out.bad
	if e.Check.Exit == exitUnreachable {
		mark = a.out.warn
	}
	mark(indent, "%s", capital(short(e.Check.Message)))
	if e.Check.Hint != "" {
		a.out.note(indent, "%s", capital(short(e.Check.Hint)))
	}
	if e.Check.Command != "" {
		a.out.note(indent, "Run: %s", e.Check.Command)
	}
}

// accessLine says how long the access token lasts and what comes then.
func accessLine(s *handstamp.Status, now time.Time) string {
	left := s.ExpiresAt.Sub(now)
	switch {
	case s.State == handstamp.StateRefreshable && s.AccessTokenRejected:
		return "Access token: rejected by the server, refreshed at the next use"
	case s.RefreshRejected != "":
		return "Access token: " + span(left) + " left; the server has rejected its refresh (" + short(s.RefreshRejected) + ")"
	case s.State == handstamp.StateRefreshable:
		return "Access token: expired, renews by itself at the next use"
	case s.ExpiresAt.IsZero() && s.Renewable:
		return "Access token: the server gave no expiry; renews by itself when refused"
	case s.ExpiresAt.IsZero():
		return "Access token: the server gave no expiry, and nothing can renew it"
	case s.Renewable:
		return "Access token: " + span(left) + " left, renews by itself"
	}
	return "Access token: " + span(left) + " left, then a new login is needed"
}

// clientLine says who the client is and how it authenticates, with the reason.
func clientLine(s *handstamp.Status) string {
	if s.ClientID == "" {
		return ""
	}
	source := map[string]string{
		record.SourceConfigured:       "configured",
		record.SourceMetadataDocument: "metadata document",
		record.SourceDynamic:          "dynamic",
	}[s.ClientSource]
	line := "Client: " + first(source, short(s.ClientSource), "unknown")
	if s.Method != "" {
		line += ", " + short(s.Method)
	}
	if s.MethodReason != "" {
		line += " (" + short(s.MethodReason) + ")"
	}
	if s.Issuer != "" {
		line += "   Issuer: " + short(s.Issuer)
	}
	return line
}

// refusedLine says how a grant ended.
func refusedLine(r *handstamp.GrantError, now time.Time) string {
	if r == nil {
		return "Signed out by the server"
	}
	line := fmt.Sprintf("Signed out by the server %s ago (%s)", span(now.Sub(r.At)), first(short(r.Code), "no reason given"))
	if r.Description != "" {
		line += ": " + short(r.Description)
	}
	if r.Interrupted {
		line += "; a renewal had been interrupted before"
	}
	return line
}

// span is a duration as people say it: the largest unit alone.
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
