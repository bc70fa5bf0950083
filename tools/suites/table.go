package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// printTable prints a row for each suite and under it why tests were skipped, and returns how
// many tests failed.
func printTable(w io.Writer, results []result, took time.Duration) int {
	fmt.Fprintf(w, "\n%-14s %8s %8s %8s %8s\n", "suite", "passed", "failed", "skipped", "seconds")
	var all counts
	for _, r := range results {
		row(w, r.name, r.counts, r.took)
		for _, reason := range slices.Sorted(maps.Keys(r.counts.skipped)) {
			fmt.Fprintf(w, "    %d skipped: %s\n", r.counts.skipped[reason], reason)
		}
		all.add(r.counts)
	}
	row(w, "all", all, took)
	fmt.Fprintf(w, "\n%d passed, %d failed, %d skipped\n", all.passed, all.failed, all.skips())
	return all.failed
}

func row(w io.Writer, name string, c counts, took time.Duration) {
	fmt.Fprintf(w, "%-14s %8d %8d %8d %8.0f\n", name, c.passed, c.failed, c.skips(), took.Seconds())
}
