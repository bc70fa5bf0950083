package cli

import (
	"fmt"
	"strings"
	"time"
)

// importOutput is what --json prints.
type importOutput struct {
	Folder string          `json:"folder"`
	DryRun bool            `json:"dry_run"`
	Logins []*importResult `json:"logins"`
}

// add notes a result, and tells people of it.
func (m *importCommand) add(r *importResult) {
	m.results = append(m.results, r)
	if !m.global.json && (r.Outcome == outcomeNotTaken || !m.global.quiet) {
		m.say(r)
	}
}

// finish tells what became of everything.
func (m *importCommand) finish() error {
	if m.global.json {
		return m.out.json(importOutput{m.dir, m.dryRun, append([]*importResult{}, m.results...)}, true)
	}
	if !m.global.quiet {
		m.sum()
	}
	return nil
}

// say tells what became of one login.
func (m *importCommand) say(r *importResult) {
	what := first(r.Name, r.Server, r.File)
	if r.Outcome == outcomeNothing {
		if r.Name != "" {
			m.err.note("", "%s: %s", what, r.Reason)
		}
		return
	}
	switch r.Outcome {
	case outcomeTaken:
		verb := "Took over"
		if m.dryRun {
			verb = "Would take over"
		}
		m.err.ok("", "%s %s (profile %s, %s)", verb, what, r.Profile, m.place)
	case outcomeKept:
		m.err.ok("", "Already signed in to %s (profile %s, %s); left as it is", what, r.Profile, m.place)
	default:
		m.err.bad("", "Not taken: %s: %s", what, short(r.Reason))
		if what != r.File && r.File != "" {
			m.err.note(indent, "File: %s", r.File)
		}
	}
	if s := r.Status; s != nil && r.Outcome == outcomeTaken {
		m.err.note(indent, "%s", accessLine(s, time.Now()))
		if line := clientLine(s); line != "" {
			m.err.note(indent, "%s", line)
		}
	}
	for _, note := range r.Notes {
		m.err.note(indent, "%s", note)
	}
	for _, file := range r.Older {
		m.err.note(indent, "Left aside, an older login: %s", file)
	}
	if r.Command != "" {
		m.err.note(indent, "Run: %s", r.Command)
	}
}

// sum tells the whole in a few words, and what to do next.
func (m *importCommand) sum() {
	counts := make(map[string]int)
	for _, r := range m.results {
		counts[r.Outcome]++
	}
	var parts []string
	for _, o := range []struct{ outcome, words string }{
		{outcomeTaken, "taken over"}, {outcomeKept, "stored already"}, {outcomeNotTaken, "not taken"},
	} {
		if n := counts[o.outcome]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o.words))
		}
	}
	if len(parts) == 0 {
		m.err.note("", "mcp-remote keeps no logins in %s", m.dir)
		return
	}
	m.err.line("")
	m.err.line("%s.", strings.Join(parts, ", "))
	if m.dryRun {
		m.err.line("Nothing was stored: this was a dry run.")
		return
	}
	if counts[outcomeTaken] > 0 {
		m.err.warn("", "Start these servers without mcp-remote from now on: two programs with one refresh token sign each other out")
	}
	if m.place == "memory" {
		m.err.warn("", "The memory store forgets these logins when the command ends")
	}
}
