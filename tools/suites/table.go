package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// printTable prints a row for each suite and under it why tests were skipped, and returns how
// many tests failed. CPU is in seconds too.
func printTable(w io.Writer, results []result, took time.Duration) int {
	fmt.Fprintf(w, "\n%-14s %8s %8s %8s %8s %8s\n", "suite", "passed", "failed", "skipped", "seconds", "CPU")
	all := result{name: "all", took: took}
	for _, r := range results {
		row(w, r)
		for _, reason := range slices.Sorted(maps.Keys(r.counts.skipped)) {
			fmt.Fprintf(w, "    %d skipped: %s\n", r.counts.skipped[reason], reason)
		}
		all.counts.add(r.counts)
		all.cpu += r.cpu
	}
	row(w, all)
	c := all.counts
	fmt.Fprintf(w, "\n%d passed, %d failed, %d skipped\n", c.passed, c.failed, c.skips())
	return c.failed
}

func row(w io.Writer, r result) {
	fmt.Fprintf(w, "%-14s %8d %8d %8d %8.0f %8.0f\n", r.name, r.counts.passed, r.counts.failed,
		r.counts.skips(), r.took.Seconds(), r.cpu.Seconds())
}
