//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/handstamp/handstamp/bench/plot"
)

// result is one figure: a ratio or a figure that has a bound by itself, and what it was made of.
type result struct {
	what    string
	ratio   float64
	limit   float64 // 0: there is none
	atLeast bool
	ours    float64 // in unit, as floor; 0: not shown
	floor   float64
	unit    string
}

func (r result) missed() bool {
	if r.atLeast {
		return r.ratio < r.limit
	}
	return r.limit > 0 && r.ratio > r.limit
}

// cells are the columns of a table.
func (r result) cells() []string {
	bound, word := "–", ""
	switch {
	case r.limit == none:
		bound, word = "0", "ok"
	case r.atLeast:
		bound, word = fmt.Sprintf("≥ %g", r.limit), "ok"
	case r.limit > 0:
		bound, word = fmt.Sprintf("≤ %g", r.limit), "ok"
	}
	if r.missed() {
		word = "MISSED"
	}
	measured := ""
	switch {
	case r.ours > 0 && r.floor > 0:
		measured = fmt.Sprintf("%s beside %s %s", plot.Short(r.ours), plot.Short(r.floor), r.unit)
	case r.ours > 0:
		measured = plot.Short(r.ours) + " " + r.unit
	}
	return []string{r.what, plot.Short(r.ratio), bound, word, measured}
}

// growth is what a lookup took with so many rows, in microseconds.
type growth struct {
	rows        int
	ours, floor float64
}

// report is what a run has found.
type report struct {
	size
	root, dir, self string
	day             time.Time
	results         []result
	growth          []growth
}

func (r *report) add(v result) {
	r.results = append(r.results, v)
	progress("  %s", strings.Join(v.cells(), "  "))
}

// publish writes the page and the plot, and fails if a bound is missed.
func (r *report) publish(folder string) error {
	if folder != "" {
		var page, picture strings.Builder
		r.markdown(&page)
		r.plot(&picture)
		folder = filepath.Join(r.root, folder)
		err := errors.Join(
			os.WriteFile(filepath.Join(folder, "scale.md"), []byte(page.String()), 0o644),
			os.WriteFile(filepath.Join(folder, "scale.svg"), []byte(picture.String()), 0o644),
		)
		if err != nil {
			return err
		}
	}
	missed := 0
	for _, v := range r.results {
		fmt.Println(strings.Join(v.cells(), "  "))
		if v.missed() {
			missed++
		}
	}
	if missed > 0 {
		return fmt.Errorf("bounds missed: %d", missed)
	}
	return nil
}

func (r *report) markdown(out io.Writer) {
	fmt.Fprintf(out, `# Many credentials, measured

Written by %s; do not edit. Times on a shared machine mean nothing by themselves: what stands beside
each other was measured in turn, in the same run.

![What a lookup that misses the cache takes, beside a bare SELECT, by how many credentials there
are](scale.svg)

%s, %d cores (%s/%s), %s; PostgreSQL on a Unix socket, with %s credentials in the end, sealed.
Lookups are made at %d a second. A ratio is the median of the ratios within %d rounds; the times beside
it are of all rounds together: one slow round moves them and not the ratio, so their quotient may be another.
A bound that is MISSED makes the run fail; its row is published all the same.

| what | is | bound | | measured |
|---|---:|---:|---|---|
`, "`make bench-scale`", r.day.Format("2 January 2006"), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH,
		runtime.Version(), count(r.rows), rate, r.rounds)
	for _, v := range r.results {
		fmt.Fprintf(out, "| %s |\n", strings.Join(v.cells(), " | "))
	}
	fmt.Fprintf(out, `
A lookup that misses the cache makes a Client for the user, reads the row, checks it, opens its seal
and decodes the record; the floor is a SELECT of value and revision of the same row with pgx, on the
same pool. A lookup in the cache gets the user's Client from the App, and the token from the Client.
The replica is a process of its own. RefreshAhead makes the refreshes, at a token endpoint that
responds after %v and takes any number at once; they are counted for %v, while %s are due. The files are read and shown by
new processes of the command; the floor is a new process, too, which opens and reads each file.
`, tokenLatency, r.refresh, count(r.due))
}

func (r *report) plot(out io.Writer) {
	p := plot.Panel{Title: "A lookup that misses the cache, median, µs, by how many credentials there are", Decade: 4}
	for _, g := range r.growth {
		p.Bars = append(p.Bars, plot.Bar{Name: count(g.rows), Class: "own", Value: g.ours},
			plot.Bar{Name: "a bare SELECT", Class: "floor", Value: g.floor})
	}
	plot.Draw(out, "What a lookup takes with a thousand to a million credentials, on a logarithmic scale", p)
}

// count writes a number with commas.
func count(n int) string {
	text := strconv.Itoa(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}
