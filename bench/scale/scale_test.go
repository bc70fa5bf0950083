//go:build unix

package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/servicetest"
)

// A run with few credentials has all figures. What they are, only an idle machine tells.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the command")
	}
	servicetest.StartPostgres(t) // skips where there is none
	r, err := run(t.Context(), size{rows: 300, cache: 50, due: 20, files: 10, rounds: 1,
		round: 100 * time.Millisecond, refresh: time.Second, programs: 1})
	if err != nil {
		t.Fatal(err)
	}
	var page, picture strings.Builder
	r.markdown(&page)
	r.plot(&picture)
	for _, what := range []string{"misses the cache", "in a cache of 50", "list of a user", "resident memory",
		"refreshes", "status`", "token`", "goroutines"} {
		if !strings.Contains(page.String(), what) {
			t.Errorf("the page has nothing of %q:\n%s", what, &page)
		}
	}
	if len(r.growth) == 0 || !strings.Contains(picture.String(), "</svg>") {
		t.Errorf("the plot is %s", &picture)
	}
	for _, v := range r.results {
		if v.limit == none && v.missed() {
			t.Errorf("%s: %g", v.what, v.ratio) // a count, whatever the machine does
		}
	}
}

// TestMain runs the parts that are processes of their own.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "replica" || os.Args[1] == "read") {
		main()
		return
	}
	os.Exit(m.Run())
}
