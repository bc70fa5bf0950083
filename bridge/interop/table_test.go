package interop

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// The generated part of the page stands between these lines.
const (
	tableBegins = "<!-- written by make interop-sdk: begin -->\n"
	tableEnds   = "<!-- end -->\n"
)

// render returns the table of what was seen.
func render(hosts []host, servers []server, seen [][]report) string {
	var b strings.Builder
	b.WriteString("| Server ↓ Host → |")
	for _, h := range hosts {
		fmt.Fprintf(&b, " %s |", h.name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(hosts)) + "\n")
	var notes []string
	for j, s := range servers {
		fmt.Fprintf(&b, "| %s |", s.name)
		for i := range hosts {
			got := seen[i][j]
			word, note := "as it is", ""
			switch {
			case got.Rejected != "":
				word, note = "none", "No session. The MCP host reports: "+got.Rejected
			case got.modern != (got.Version >= "2026-07-28"):
				word = "translated"
			}
			if got.Rejected == "" && got.Ask != "blue" {
				note = "The server cannot request input. Its tool returns: " + got.Ask
			}
			if note != "" {
				n := slices.Index(notes, note)
				if n < 0 {
					n, notes = len(notes), append(notes, note)
				}
				word += fmt.Sprintf(" (%d)", n+1)
			}
			fmt.Fprintf(&b, " %s |", word)
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for i, note := range notes {
		fmt.Fprintf(&b, "%d. %s\n", i+1, strings.ReplaceAll(note, "\n", " "))
	}
	return b.String()
}

// compare holds a page against what was seen, or writes it.
func compare(t *testing.T, table, want string) {
	t.Helper()
	page, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(page), tableBegins)
	is, after, ok := strings.Cut(rest, tableEnds)
	if !ok {
		t.Fatal("the page has no place for the table")
	}
	if is == want {
		return
	}
	if os.Getenv("HANDSTAMP_TEST_UPDATE") == "" {
		t.Fatalf("%s does not say what was seen:\n%s", table, want)
	}
	if err := os.WriteFile(table, []byte(before+tableBegins+want+tableEnds+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
