package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// peerPage is the page of what the peers make of each other.
const peerPage = "../../docs/bridge-peers.md"

// renderPeers returns the table of a run in which all that could pass has passed.
func renderPeers(t *testing.T, hosts []application, servers []peer) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| Server ↓ Host → |")
	for _, h := range hosts {
		fmt.Fprintf(&b, " %s |", h.name)
	}
	b.WriteString(" restart |\n|---|" + strings.Repeat("---|", len(hosts)+1) + "\n")
	var notes []string
	for _, p := range servers {
		fmt.Fprintf(&b, "| %s |", p.name)
		for _, h := range hosts {
			word := "all"
			if lacks := missing(h, p); !p.meets(h) {
				word = "–"
			} else if len(lacks) > 0 {
				note := strings.Join(lacks, ", ")
				n := slices.Index(notes, note)
				if n < 0 {
					n, notes = len(notes), append(notes, note)
				}
				word = fmt.Sprintf("all but (%d)", n+1)
			}
			fmt.Fprintf(&b, " %s |", word)
		}
		fmt.Fprintf(&b, " %s |\n", afterRestart(p))
	}
	b.WriteString("\n")
	for i, note := range notes {
		fmt.Fprintf(&b, "%d. %s\n", i+1, note)
	}
	b.WriteString("\n| package | version |\n|---|---|\n")
	for _, from := range packages(hosts, servers) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", from[strings.LastIndexByte(from, ':')+1:], packageVersion(t, from))
	}
	return b.String()
}

// afterRestart says how a session goes on.
func afterRestart(p peer) string {
	switch {
	case p.forgets:
		return "goes on, after a new login"
	case p.login:
		return "goes on, with the same login"
	}
	return "goes on"
}

// packages returns where all come from.
func packages(hosts []application, servers []peer) (all []string) {
	for _, h := range hosts {
		all = append(all, h.from)
	}
	for _, p := range servers {
		all = append(all, p.from...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// packageVersion returns the version of an npm or PyPI package or a Go module here.
func packageVersion(t *testing.T, from string) string {
	t.Helper()
	var out []byte
	var err error
	switch {
	case strings.HasPrefix(from, "pypi:"):
		environment, name, _ := strings.Cut(strings.TrimPrefix(from, "pypi:"), ":")
		out, err = exec.Command(python(environment), "-c",
			"import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))", name).Output()
	case strings.HasPrefix(from, "github.com/"):
		out, err = exec.Command("go", "list", "-m", "-f", "{{.Version}}", from).Output()
	default:
		var described struct{ Version string }
		if out, err = os.ReadFile(filepath.Join("peers/node_modules", from, "package.json")); err == nil {
			err = json.Unmarshal(out, &described)
		}
		out = []byte(described.Version)
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
