// Package installed is for tests that need more than Go and this tree: a database, a keyring, packages
// of npm or PyPI. Only tests import it.
package installed

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Need skips a test whose need is not met: problem says why, and is empty where what is needed is
// there. Short tests need nothing, so they skip it anyway. Where HANDSTAMP_TEST_REQUIRE names what
// is needed, the test runs, and fails if it can't.
func Need(t testing.TB, what, problem string) {
	t.Helper()
	required := slices.Contains(strings.Fields(os.Getenv("HANDSTAMP_TEST_REQUIRE")), what)
	switch {
	case problem != "" && required:
		t.Fatal(problem)
	case problem != "":
		t.Skip(problem)
	case testing.Testing() && testing.Short() && !required: // benchmarks outside of tests need it too
		t.Skip("short tests need nothing that is installed: this one needs " + what)
	}
}

// NeedFile is [Need] of what is installed as a file.
func NeedFile(t testing.TB, what, path, problem string) {
	t.Helper()
	if _, err := os.Stat(path); err == nil {
		problem = ""
	}
	Need(t, what, problem)
}

// NeedProgram is [Need] of a program, and returns its path.
func NeedProgram(t testing.TB, what, program, problem string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		problem = ""
	}
	Need(t, what, problem)
	return path
}
