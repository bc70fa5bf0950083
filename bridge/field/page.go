package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// What a page has around the table.
const (
	tableBegins = "<!-- written by make field-table -->\n"
	tableEnds   = "<!-- end of what make field-table writes -->\n"
)

// writePage writes the table where a page has it.
func writePage(path string, contestants []*contestant, results map[string]outcomes) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, begins := strings.Cut(string(page), tableBegins)
	_, after, ends := strings.Cut(rest, tableEnds)
	if !begins || !ends {
		return fmt.Errorf("%s has no place for the table", path)
	}
	var table strings.Builder
	write(&table, contestants, results)
	return os.WriteFile(path, []byte(before+tableBegins+table.String()+tableEnds+after), 0o644)
}

func write(w io.Writer, contestants []*contestant, results map[string]outcomes) {
	fmt.Fprintf(w, `
Written by `+"`make field-table`"+` on %s, with %s on %s/%s. Nothing here is edited by hand.

Each row is a **kind** of behaviour that a server, a network or an MCP host was seen to have, rebuilt as a small server and a
script of a host ([bridge/field](../bridge/field)). Both bridges played the same scripts with the same limits in the same run;
a result looks only at what the host got, when, and at what the server received. A limit that includes the start of the process is 5 s
longer for mcp-remote, which starts more slowly. `+"`make test`"+` demands that Handstamp is right in every row: the test is
`+"`TestField/NAME`"+`.

`, time.Now().UTC().Format("2006-01-02"), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	fmt.Fprint(w, "| |")
	for _, c := range contestants {
		fmt.Fprintf(w, " %s, %s |", c.name, c.version)
	}
	fmt.Fprint(w, "\n|---|", strings.Repeat("---|", len(contestants)), "\n| right |")
	for _, c := range contestants {
		right := 0
		for _, v := range results[c.name] {
			if v == "" {
				right++
			}
		}
		fmt.Fprintf(w, " %d of %d |", right, len(results[c.name]))
	}
	fmt.Fprintln(w)
	for _, part := range chapters() {
		fmt.Fprintf(w, "\n#### %s\n\n| kind | where it was met | before | what is right | test |", part.title)
		for _, c := range contestants {
			fmt.Fprintf(w, " %s |", c.name)
		}
		fmt.Fprint(w, "\n|---|---|---|---|---|", strings.Repeat("---|", len(contestants)), "\n")
		for _, b := range part.behaviours {
			fmt.Fprintf(w, "| %s | %s | %s | %s | `%s` |", b.kind, b.met, shown(outcome(b.before)), b.now, b.name)
			for _, c := range contestants {
				v, played := results[c.name][b.name]
				if !played {
					fmt.Fprint(w, " – |")
					continue
				}
				fmt.Fprintf(w, " %s |", shown(v))
			}
			fmt.Fprintln(w)
		}
	}
}

// shown is an outcome as the table has it.
func shown(v outcome) string {
	if v == "" {
		return "right"
	}
	return "**wrong**: " + string(v)
}
