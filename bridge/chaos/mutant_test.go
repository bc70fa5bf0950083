package chaos

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// mutantRuns is within how many runs each mutant is found.
const mutantRuns = 300

// TestMutants gives the bridge one bug at a time and expects that runs find it.
// Without HANDSTAMP_TEST_LONG it is done for the first of them only.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds a bridge for every mutant")
	}
	some := mutants
	if os.Getenv("HANDSTAMP_TEST_LONG") == "" {
		some = some[:2]
	}
	for _, m := range some {
		t.Run(m.name, func(t *testing.T) {
			began := time.Now()
			binary := m.build(t)
			n, seed, finding := hunt(t, binary)
			if n == 0 {
				t.Fatalf("not found in %d runs", mutantRuns)
			}
			fmt.Printf("%-52s found after %3d runs, seed %d (%.1f s): %s\n", m.name, n, seed, time.Since(began).Seconds(), finding)
		})
	}
}

// build builds this package's tests with the mutant in the place of the bridge.
func (m mutant) build(t *testing.T) string {
	t.Helper()
	bridge, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replace := make(map[string]string)
	for i, c := range m.changes {
		path := filepath.Join(bridge, c.file)
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if already := replace[path]; already != "" {
			if source, err = os.ReadFile(already); err != nil {
				t.Fatal(err)
			}
		}
		if n := strings.Count(string(source), c.old); n != 1 {
			t.Fatalf("%s has %d times what the mutant changes: %q", c.file, n, c.old)
		}
		replace[path] = filepath.Join(dir, strconv.Itoa(i)+".go")
		if err := os.WriteFile(replace[path], []byte(strings.Replace(string(source), c.old, c.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	list, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "chaos.test")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "test", "-c", "-overlay", list, "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // what the other suites have compiled
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the mutant does not build: %v\n%s", err, out)
	}
	return binary
}

var (
	foundSeed    = regexp.MustCompile(`CHAOS_SEED=(\d+)`)
	foundFinding = regexp.MustCompile(`(?m)^\s*--- ([a-z0-9].*)$`)
)

// hunt makes runs until one finds something, and returns how many it took; zero:
// none did.
func hunt(t *testing.T, binary string) (n int, seed uint64, finding string) {
	t.Helper()
	first := *firstSeed
	command := exec.Command(binary, "-test.run", "^TestChaos$", "-first", "-timeout", "20s",
		"-seed", fmt.Sprint(first), "-runs", fmt.Sprint(mutantRuns))
	command.Env = append(os.Environ(), "CHAOS_SEED=")
	out, err := command.CombinedOutput()
	if err == nil {
		return 0, 0, ""
	}
	found := foundSeed.FindSubmatch(out)
	if found == nil {
		t.Fatalf("the runs ended without a seed: %v\n%s", err, out)
	}
	seed, err = strconv.ParseUint(string(found[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	finding = "it does not end"
	if words := foundFinding.FindSubmatch(out); words != nil {
		finding = string(words[1])
	}
	return int(seed-first) + 1, seed, finding[:min(len(finding), 120)]
}
