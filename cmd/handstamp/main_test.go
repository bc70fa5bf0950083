package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/lab"
)

// processes looks at what every process of the tests carries: bridges, their
// helpers, browsers.
var processes proctest.Sampler

// bin is the command as users have it; short tests have none.
var bin string

// TestMain builds the command once. Started as a browser, it is one.
func TestMain(m *testing.M) {
	if tabs := os.Getenv(tabsVariable); tabs != "" && len(os.Args) == 2 && strings.HasPrefix(os.Args[1], "http") {
		os.Exit(tab(tabs, os.Args[1]))
	}
	if flag.Parse(); testing.Short() {
		os.Exit(processes.Wrap(m).Run())
	}
	os.Exit(buildAndRun(m))
}

// needBin skips a test of the command as users have it where short tests are wanted.
func needBin(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds the command")
	}
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "handstamp-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = filepath.Join(dir, "handstamp")
	if runtime.GOOS == "windows" {
		bin += ".exe"
	}
	build := exec.Command("go", "build", "-buildvcs=false", "-o", bin, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as a release is built
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return processes.Wrap(m).Run()
}

// tabsVariable names the file in which the browser notes its tabs.
const tabsVariable = "TEST_TABS"

// tab is a browser with a user, who needs a moment.
func tab(tabs, url string) int {
	f, err := os.OpenFile(tabs, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 1
	}
	fmt.Fprintln(f, "tab")
	f.Close()
	time.Sleep(rand.N(400 * time.Millisecond)) // what the user needs
	if _, err := lab.Browse(context.Background(), url); err != nil {
		return 1
	}
	return 0
}

// maxTokenCPU is what printing a stored, valid token may cost a process in CPU
// time, start and end included: scripts call it for every request.
const maxTokenCPU = 15 * time.Millisecond

func TestTokenIsCheap(t *testing.T) {
	needBin(t)
	wantCheapToken(t, maxTokenCPU, "DBUS_SESSION_BUS_ADDRESS=disabled:")
}

// wantCheapToken signs in and runs the command until a run is cheap enough, a hundred times at
// most: the others pay for what the machine does beside.
func wantCheapToken(t *testing.T, limit time.Duration, variables ...string) {
	t.Helper()
	server, err := lab.Start(lab.NoneFirst())
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	processes.Watch(t, server)
	variables = append(variables, "HANDSTAMP_HOME="+filepath.Join(t.TempDir(), "home"),
		`HANDSTAMP_BROWSER="`+bin+`" demo browser`)
	env := append(os.Environ(), variables...)
	login := exec.Command(bin, "login", server.MCPURL())
	login.Env = env
	if out, err := login.CombinedOutput(); err != nil {
		t.Fatalf("login: %v\n%s", err, out)
	}
	server.Reset()
	best := time.Hour
	for range 100 {
		token := exec.Command(bin, "token", server.MCPURL())
		token.Env = env
		out, err := token.Output()
		if err != nil || len(strings.Fields(string(out))) != 1 {
			t.Fatalf("token: %v, %d bytes", err, len(out))
		}
		best = min(best, token.ProcessState.UserTime()+token.ProcessState.SystemTime())
		if best <= limit {
			break
		}
	}
	t.Logf("handstamp token: %v of CPU time", best)
	if best > limit {
		t.Errorf("a stored token costs %v of CPU time, more than %v", best, limit)
	}
	if counts := server.Counts(); len(counts) != 0 {
		t.Errorf("a stored token needed the network: %v", counts)
	}
}
