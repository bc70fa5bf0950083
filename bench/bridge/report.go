package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/handstamp/handstamp/bench/plot"
)

// A report is what a run has to say.
type report struct {
	figures figures
	results []outcome
	all     []*contestant
	day     time.Time
}

// cell is a figure as it is written: three digits that count.
func (r *report) cell(m metric, c *contestant) string {
	value, ok := r.figures.shown(m, c.name)
	switch {
	case c.missing != nil:
		return "not available"
	case !ok:
		return "–"
	}
	return plot.Short(value)
}

// circumstances is what the figures depend on.
func (r *report) circumstances() string {
	parts := []string{r.day.Format("2 January 2006"), fmt.Sprintf("%d cores (%s/%s)", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH), runtime.Version()}
	for _, c := range r.all {
		if c.version != "" {
			parts = append(parts, c.name+" "+c.version)
		}
	}
	return strings.Join(parts, ", ")
}

func (r *report) print(out io.Writer) error {
	fmt.Fprintf(out, "%s\n%s\n\n", r.circumstances(), protocol())
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "what\t")
	for _, c := range r.all {
		fmt.Fprintf(table, "%s\t", c.name)
	}
	fmt.Fprintln(table)
	for _, m := range metrics {
		fmt.Fprintf(table, "%s\t", m)
		for _, c := range r.all {
			fmt.Fprintf(table, "%s\t", r.cell(m, c))
		}
		fmt.Fprintln(table)
	}
	fmt.Fprintln(table)
	if err := table.Flush(); err != nil {
		return err
	}
	table = tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "handstamp bridge\tis\tbound\t\t")
	for _, v := range r.results {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t\n", v.what, v.valueText(), v.limitText(), v.word())
	}
	return table.Flush()
}

// protocol says how it was measured, in a sentence.
func protocol() string {
	return fmt.Sprintf("Medians of %d new processes, and of %d turns under load in %d others; of memory the most. The contestants take turns; a ratio is the median of the ratios within a round.",
		startRounds, lives*turns, lives)
}

// markdown is the page that the figures are kept on.
func (r *report) markdown(out io.Writer) {
	fmt.Fprintf(out, `# The bridge, measured

Written by %s; do not edit. Times on a shared machine mean nothing by themselves: only what stands
in one row was measured together.

![Start-up time and peak memory of the bridges, on logarithmic scales](%s)

%s. %s

`, "`make bench-bridge`", plotName, r.circumstances(), protocol())
	fmt.Fprint(out, "| |")
	for _, c := range r.all {
		fmt.Fprintf(out, " %s |", c.name)
	}
	fmt.Fprint(out, "\n|---|", strings.Repeat("---:|", len(r.all)), "\n")
	for _, m := range metrics {
		fmt.Fprintf(out, "| %s |", m)
		for _, c := range r.all {
			fmt.Fprintf(out, " %s |", r.cell(m, c))
		}
		fmt.Fprintln(out)
	}
	fmt.Fprint(out, "\n| the bridge's bounds | is | bound | |\n|---|---:|---:|---|\n")
	for _, v := range r.results {
		fmt.Fprintf(out, "| %s | %s | %s | %s |\n", v.what, v.valueText(), v.limitText(), v.word())
	}
	fmt.Fprint(out, `
The floor is a pump of bytes: a line in, a POST with one fixed token, the body back as a line (`+"`bench/bridge/floor`"+`). The
Go SDK's client is called directly, in the process that measures, with no bridge at all. mcp-remote is run by node
itself; npx would cost a process more. Everything talks to one server process with a bearer check, whose responses are
JSON and cost next to nothing; a call has a text of letters, quotes and line ends echoed. Each bridge has signed in
before and finds its token stored. Programs in Go are built as the binaries of a release: static and stripped.
`)
}

// moduleVersion is the version of a module that this program is built with.
func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, dep := range info.Deps {
		if dep.Path == path {
			return dep.Version
		}
	}
	return ""
}
