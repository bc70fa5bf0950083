package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// Each package that has tests is in a suite, so that make test leaves none out.
func TestEveryPackageIsInASuite(t *testing.T) {
	t.Chdir("../..")
	if _, err := os.Stat("go.work"); err != nil {
		t.Skip("there is no workspace")
	}
	run := make(map[string]bool)
	for _, s := range everything() {
		for _, step := range s.steps {
			if !step.tests {
				continue
			}
			dir := "./" + s.dir
			patterns := slices.DeleteFunc(slices.Clone(step.args[2:]), func(arg string) bool {
				return strings.HasPrefix(arg, "-") || strings.HasSuffix(arg, "m") && !strings.Contains(arg, "/")
			})
			for _, p := range packages(t, append([]string{"-C", dir}, orHere(patterns)...)...) {
				run[p] = true
			}
		}
	}
	withTests := packages(t, "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}", "work")
	if len(withTests) == 0 {
		t.Fatal("no package has tests")
	}
	for _, p := range withTests {
		if !run[p] {
			t.Errorf("%s is in no suite", p)
		}
	}
}

// orHere returns the patterns, or the one that "go test" takes without any.
func orHere(patterns []string) []string {
	if len(patterns) == 0 {
		return []string{"."}
	}
	return patterns
}

// packages returns what "go list" prints.
func packages(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := output("go", append([]string{"list"}, args...)...)
	if err != nil {
		t.Fatalf("go list %q: %v", args, err)
	}
	return strings.Fields(out)
}
