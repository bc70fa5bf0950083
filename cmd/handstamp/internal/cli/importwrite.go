package cli

import (
	"cmp"
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

// add notes a result, and shows it.
func (m *importCommand) add(r *importResult) {
	m.results = append(m.results, r)
	if !m.global.json && (r.Outcome == outcomeNotTaken || !m.global.quiet) {
		m.show(r)
	}
}

// finish shows the whole result.
func (m *importCommand) finish() error {
	return m.print(importOutput{m.dir, m.dryRun, append([]*importResult{}, m.results...)}, m.sum)
}

// show writes the result for one login.
func (m *importCommand) show(r *importResult) {
	what := cmp.Or(r.Name, r.Server, r.File)
	switch r.Outcome {
	case outcomeNothing:
		if r.Name != "" {
			m.err.note("", "%s: %s", what, strings.Join(r.Notes, "; "))
		}
		return
	case outcomeTaken:
		verb := "Imported"
		if m.dryRun {
			verb = "Would import"
		}
		m.err.ok("", "%s %s (profile %s, %s)", verb, what, r.Profile, m.place)
		m.err.note(indent, "%s", accessLine(r.Status.Status, time.Now()))
		m.err.noteClient(r.Status.Status)
	case outcomeKept:
		m.err.ok("", "Already signed in to %s (profile %s, %s); left as it is", what, r.Profile, m.place)
	default:
		m.err.bad("", "Not imported: %s: %s", what, short(r.Error.Message))
		if what != r.File && r.File != "" {
			m.err.note(indent, "File: %s", r.File)
		}
	}
	for _, note := range r.Notes {
		m.err.note(indent, "%s", note)
	}
	for _, file := range r.Older {
		m.err.note(indent, "Left aside, an older login: %s", file)
	}
	if r.Error != nil && r.Error.Command != "" {
		m.err.note(indent, "Run: %s", r.Error.Command)
	}
}

// sum writes the numbers, and what to do next.
func (m *importCommand) sum() {
	counts := make(map[string]int)
	for _, r := range m.results {
		counts[r.Outcome]++
	}
	var parts []string
	for _, o := range []struct{ outcome, words string }{
		{outcomeTaken, "imported"}, {outcomeKept, "stored already"}, {outcomeNotTaken, "not imported"},
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
		m.err.warn("", "Start these servers without mcp-remote from now on: "+
			"two programs with one refresh token sign each other out")
	}
	if m.place == "memory" {
		m.err.warn("", "The memory store forgets these logins when the command ends")
	}
}
