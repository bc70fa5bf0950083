package main

import (
	"os"
	"path/filepath"
	"regexp"
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
	patterns := make(map[string][]string) // by folder
	for _, s := range everything() {
		for _, step := range s.steps {
			if !step.tests {
				continue
			}
			dir := "./" + s.dir
			these := slices.DeleteFunc(slices.Clone(step.args[2:]), func(arg string) bool {
				return strings.HasPrefix(arg, "-") || strings.HasSuffix(arg, "m") && !strings.Contains(arg, "/")
			})
			patterns[dir] = append(patterns[dir], orHere(these)...)
		}
	}
	run := make(map[string]bool)
	for dir, these := range patterns {
		for _, p := range packages(t, append([]string{"-C", dir, "-find"}, these...)...) {
			run[p] = true
		}
	}
	withTests := packages(t, "-find", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}", "work")
	if len(withTests) == 0 {
		t.Fatal("no package has tests")
	}
	for _, p := range withTests {
		if !run[p] {
			t.Errorf("%s is in no suite", p)
		}
	}
}

// Each test that the race detector leaves out runs without it.
func TestEveryHeavyTestRuns(t *testing.T) {
	runs := regexp.MustCompile(heavy)
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(.*\n(?:\t.*\n|\n)*?\ttestenv\.(?:Heavy|WithoutRaceDetector)\(`)
	found := 0
	for _, file := range strings.Fields(mustOutput(t, "git", "-C", "../..", "ls-files", "*_test.go")) {
		text, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range function.FindAllSubmatch(text, -1) {
			found++
			if !runs.Match(match[1]) {
				t.Errorf("%s: %s is heavy, and in no step without the race detector", file, match[1])
			}
		}
	}
	if found == 0 {
		t.Error("no test is heavy")
	}
}

func mustOutput(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := output(name, args...)
	if err != nil {
		t.Fatalf("%s %q: %v", name, args, err)
	}
	return out
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
	return strings.Fields(mustOutput(t, "go", append([]string{"list"}, args...)...))
}
