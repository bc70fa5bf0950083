package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A suite is one row of the table: commands that run one after the other, and stop at the
// first that fails.
type suite struct {
	name  string
	about string // for the line when it begins
	setup bool   // it mostly waits for the network, and counts for none of those that run at once
	after []string
	dir   string
	env   []string // beside this process's
	steps []step
}

// A step is one command.
type step struct {
	args  []string
	tests bool   // it is "go test": its tests are counted, from what -json prints
	junit string // its tests are counted from this file
}

func sh(args ...string) step { return step{args: args} }

// goTest is "go test" without vet, which is a part of the suite lint.
func goTest(args ...string) step {
	return step{args: append([]string{"go", "test", "-json", "-vet=off"}, args...), tests: true}
}

// npm installs the packages of folders, unless they are there.
func npm(folders ...string) step {
	args := []string{"make", "--no-print-directory", "--jobs=4"}
	for _, folder := range folders {
		args = append(args, folder+"/node_modules/.package-lock.json")
	}
	return sh(args...)
}

// required adds what a suite shall not skip to what the environment names.
func required(name string) string {
	return "HANDSTAMP_TEST_REQUIRE=" + strings.TrimSpace(name+" "+os.Getenv("HANDSTAMP_TEST_REQUIRE"))
}

// nodeCache has Node keep what it has compiled: its programs start some hundred times.
func nodeCache() string {
	folder, err := filepath.Abs("bin/test/node")
	if err != nil {
		return "NODE_COMPILE_CACHE=" // none
	}
	return "NODE_COMPILE_CACHE=" + folder
}

// everything is what "make test" runs, in the order in which the suites begin.
func everything() []suite {
	const long = "HANDSTAMP_TEST_LONG=1"
	return []suite{
		{
			name: "packages", about: "what tests need of Debian and npm", setup: true,
			steps: []step{
				sh("scripts/services"),
				npm("bench/bridge", "conformance", "bridge/interop", "bridge/interop/peers", "interop",
					"test/browser"),
			},
		},
		{
			name: "python", about: "what tests need of PyPI, where it can be had", setup: true,
			steps: []step{sh("scripts/python-servers")},
		},
		{
			name: "lint", about: "golangci-lint of all modules, with go vet's analyzers, and govulncheck",
			env:   []string{"GOGC=200"},
			steps: []step{sh("make", "--no-print-directory", "lint", "vulnerabilities")},
		},
		{
			name: "library", about: "the library's module, with the race detector",
			after: []string{"packages"}, env: []string{required("mcp-remote"), long},
			steps: []step{
				goTest(append([]string{"-race", "-timeout", "60m"}, libraryPackages()...)...),
				goTest("-timeout", "60m", "-run="+heavy, ".", "./bridge", "./bridge/field", "./internal/doctor", "./lab/suite",
					"./test/process", "./test/security"),
			},
		},
		{
			name: "command", about: "the command and the keyring",
			after: []string{"packages"}, env: []string{required("mcp-remote keyring postgres pgbouncer"), long},
			steps: []step{
				// Most tests of the command drive it as processes, each of which the race detector
				// makes several times as expensive. It is for what serves many at once.
				goTest(append([]string{"-race", "-timeout", "60m"}, commandPackages()...)...),
				goTest("-race", "-timeout", "60m", "-run="+concurrent, "./cmd/handstamp/internal/cli"),
				goTest("-timeout", "60m", "-skip="+concurrent, "./cmd/handstamp/internal/cli"),
				goTest("-timeout", "60m", "./cmd/handstamp"),
			},
		},
		{
			name: "databases", about: "the stores in PostgreSQL and Redis",
			after: []string{"packages"}, env: []string{required("postgres pgbouncer redis")},
			steps: []step{goTest("-race", "-timeout", "60m", "./store/pgstore/...", "./store/redisstore/...")},
		},
		{
			name: "histories", about: "random operations on every store under faults, checked afterwards",
			after: []string{"packages"}, env: []string{required("postgres redis")},
			steps: []step{goTest("-race", "-count=1", "-timeout", "60m", "./test/history")},
		},
		{
			name: "interop-sdk", about: "the bridge between the official SDKs, and others' hosts and servers",
			after: []string{"packages", "python"}, env: []string{required("sdks"), nodeCache()},
			steps: []step{goTest("-count=1", "-timeout", "60m", "./bridge/interop/...")},
		},
		{
			name: "interop", about: "authorization servers that others wrote",
			after: []string{"packages", "python"}, env: []string{required("interop"), nodeCache()}, dir: "interop",
			// Not with the race detector, which doubles what it costs: library has the same
			// sessions, beside each other, at the lab's servers with it.
			steps: []step{goTest("-count=1", "-timeout", "60m", "./...")},
		},
		{
			name: "conformance", about: "the official conformance suite",
			after: []string{"packages"}, env: []string{required("conformance"), nodeCache()},
			steps: []step{goTest("-count=1", "-timeout", "60m", "./conformance/...")},
		},
		{
			name: "lab", about: "the second-session suite, every cell",
			steps: []step{
				sh("go", "build", "-o", "bin/handstamp", "./cmd/handstamp"),
				// Eight processes at once find what twenty do, in so many cells; see decision 0148.
				{args: []string{
					"bin/handstamp", "lab", "run", "--processes", "1,8", "--junit", "bin/test/lab.xml",
				}, junit: "bin/test/lab.xml"},
				{args: []string{
					"bin/handstamp", "lab", "run", "--processes", "20",
					"--personality", "rotates-strictly,rotates-with-grace,lost-response,keeps-refresh-token",
					"--condition", "expired,rejected early", "--junit", "bin/test/lab-20.xml",
				}, junit: "bin/test/lab-20.xml"},
			},
		},
		{
			name: "browser", about: "Chromium over the pages of login, serve and the lab",
			after: []string{"packages"},
			steps: []step{
				sh("make", "--no-print-directory", "bin/test/browser"),
				{args: []string{
					"node", "--test", "--test-concurrency=1", "--test-reporter=junit",
					"--test-reporter-destination=bin/test/browser.xml", "test/browser/",
				}, junit: "bin/test/browser.xml"},
			},
		},
		{
			name: "chaos", about: "random servers and hosts around the bridge", env: []string{long},
			dir: "bridge/chaos", steps: []step{goTest("-race", "-count=1", "-timeout", "60m")},
		},
		{
			name: "release", about: "what a release contains: binaries, packages, container, npm",
			after: []string{"packages"},
			steps: []step{
				sh("make", "--no-print-directory", "bin/nfpm"),
				goTest("-count=1", "-timeout", "60m", "./tools/release"),
			},
		},
		{
			name: "modules", about: "the modules that need more than the library, and how they install",
			steps: []step{goTest("-count=1", "-timeout", "60m", "./lab/mcpserver/...", "./lab/peers/...", "./examples/...", "./bench/...", "./test/property/...", "./otel/...", "./test/telemetry/...", "./tools/house", "./tools/modules", "./tools/pages", "./tools/recordings", "./tools/suites")},
		},
	}
}

// heavy are the tests that compute too much for the race detector: testenv.Heavy skips them there.
const heavy = "^(TestNoSequenceContradictsItself|TestNestedMessagesCostWhatTheyAreLong|" +
	"TestDoctorNamesTheTrueCauseOfEveryPersonality|TestField|TestHonestClient|TestMutants|TestBridgeMemory.*|TestLab|" +
	"TestNoSecretIsEverSaid|TestKilledAtRandom|TestKilledAtEachPoint|" +
	"TestManyProcessesRefreshEachCredentialOnce)$"

// concurrent are the tests of the command that run with the race detector: all of serve, bridge and
// login but those that [heavy] names.
const concurrent = "^(TestServe|TestTwoServes|TestLegacySSE|TestLoginAt|TestBridge([^M]|M[^e]))"

// libraryPackages returns the packages of the library's module but for the chaos suite.
func libraryPackages() []string { return packagesBut("/bridge/chaos", "./...") }

// commandPackages returns the command's packages but for those that drive it as a process.
func commandPackages() []string {
	internal := packagesBut("/internal/cli", "./cmd/handstamp/internal/...")
	return append(internal, "./store/keyringstore/...")
}

// packagesBut returns the packages of a pattern without the one that has this ending.
func packagesBut(ending, pattern string) []string {
	out, err := output("go", "list", "-find", pattern)
	if err != nil {
		return []string{pattern} // go test reports what is wrong
	}
	return slices.DeleteFunc(strings.Fields(out), func(p string) bool { return strings.HasSuffix(p, ending) })
}

// choose returns the suites with these names and those that they come after.
func choose(all []suite, names []string) ([]suite, error) {
	if len(names) == 0 {
		return all, nil
	}
	wanted := make(map[string]bool)
	for len(names) > 0 {
		name := names[0]
		names = names[1:]
		i := slices.IndexFunc(all, func(s suite) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no suite %q", name)
		}
		if !wanted[name] {
			wanted[name] = true
			names = append(names, all[i].after...)
		}
	}
	return slices.DeleteFunc(all, func(s suite) bool { return !wanted[s.name] }), nil
}
