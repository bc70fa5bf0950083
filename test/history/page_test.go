//go:build unix

package history

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// page is where the table is, and what is around it there.
const (
	page        = "../../docs/stores.md"
	tableBegins = "<!-- written by make histories -->\n"
	tableEnds   = "<!-- end of what make histories writes -->\n"
)

// reports are the histories that were checked, by store.
var reports = make(map[string]Report)

// writePage writes what was tried into the page about stores.
func writePage() error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, begins := strings.Cut(string(text), tableBegins)
	_, after, ends := strings.Cut(rest, tableEnds)
	if !begins || !ends {
		return fmt.Errorf("%s has no place for the table", page)
	}
	return os.WriteFile(page, []byte(before+tableBegins+table()+tableEnds+after), 0o644)
}

// row is a line of the table.
type row struct {
	name string
	cell func(store string) string
}

func table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nWritten by `make histories` on %s, on %s/%s with %d processors; %v a store. Nothing here is edited by hand.\n\n| |",
		time.Now().UTC().Format(time.DateOnly), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), *length)
	for _, name := range allStores {
		fmt.Fprintf(&b, " %s |", name)
	}
	fmt.Fprintf(&b, "\n|---|%s\n", strings.Repeat("---|", len(allStores)))
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s |", r.name)
		for _, name := range allStores {
			fmt.Fprintf(&b, " %s |", cmp.Or(r.cell(name), "–"))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	return b.String()
}

var rows = []row{
	{"operations of 16 clients", ofReport(func(r Report) int {
		n := 0
		for _, results := range r.Operations {
			for _, count := range results {
				n += count
			}
		}
		return n
	})},
	{"processes killed", ofFault(Kill)},
	{"processes suspended", ofFault(Freeze)},
	{"processes with a wrong clock", ofFault(Skew)},
	{"connections cut", ofFault(Cut)},
	{"databases restarted", ofFault(RestartFast, RestartImmediate)},
	{"databases down for a while", ofFault(Outage)},
	{"all leases ended", ofFault(Expire)},
	{"**lost updates, torn reads, locks of two, results that no order explains**",
		ofReport(func(r Report) int { return len(r.Flaws) })},
	{"refresh tokens used", ofReport(func(r Report) int { return r.Tokens })},
	{"of them used again after a fault", ofReport(func(r Report) int { return r.Repeated })},
	{"logins that ended after any fault, at a server that forgives nothing; all named",
		ofReport(func(r Report) int { return r.Lost })},
	{"kills at a write before the response was stored, of them lost (named): strict server", ofKills(lab.RotateStrict, false)},
	{"the same: server that forgives a repetition", ofKills(lab.RotateGrace, false)},
	{"kills once the first write of the response has returned, of them lost: strict server", ofKills(lab.RotateStrict, true)},
	{"the same: server that forgives", ofKills(lab.RotateGrace, true)},
	{"holders suspended during a request, of them lost", func(name string) string {
		n := frozenHolders[name].Load()
		return fmt.Sprintf("%d, 0", n)
	}},
}

func ofReport(count func(Report) int) func(string) string {
	return func(name string) string {
		r, ok := reports[name]
		if !ok {
			return ""
		}
		return fmt.Sprint(count(r))
	}
}

func ofFault(kinds ...Kind) func(string) string {
	return ofReport(func(r Report) int {
		n := 0
		for _, kind := range kinds {
			n += r.Faults[kind]
		}
		return n
	})
}

func ofKills(rotation string, late bool) func(string) string {
	return func(name string) string {
		k := kills[[2]string{name, rotation}]
		switch {
		case k == nil:
			return ""
		case late:
			return fmt.Sprintf("%d, %d", k.late, k.lateLost)
		}
		return fmt.Sprintf("%d, %d", k.early, k.earlyLost)
	}
}
