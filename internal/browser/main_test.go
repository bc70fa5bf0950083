package browser

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/proctest"
)

// The test binary is the browser, too: started with recordVariable set, it
// writes down how it was started, and does no more than modeVariable says.
const (
	recordVariable = "FAKE_BROWSER_RECORD" // a folder
	modeVariable   = "FAKE_BROWSER_MODE"   // "", "fail", "say", or "gate:<address>" to run until that closes
)

// Secrets in the environment of the program that opens a browser.
const (
	clientSecret = "s3cret-of-the-client"
	accessToken  = "t0ken-from-elsewhere"
)

// launch is what a browser writes down.
type launch struct {
	Args    []string
	Dir     string
	Parent  int
	Process int
	Session int
	Secrets []string // variables of ours
	Files   []string // what the descriptors above 2 are
}

func TestMain(m *testing.M) {
	if folder := os.Getenv(recordVariable); folder != "" {
		os.Exit(fakeBrowser(folder, os.Getenv(modeVariable)))
	}
	var processes proctest.Sampler
	processes.Add(clientSecret, accessToken)
	os.Exit(processes.Wrap(m).Run())
}

func fakeBrowser(folder, mode string) int {
	l := launch{Args: os.Args, Parent: os.Getppid(), Process: os.Getpid(), Session: session()}
	l.Dir, _ = os.Getwd()
	for _, kv := range os.Environ() {
		if strings.HasPrefix(strings.ToUpper(kv), "HANDSTAMP") {
			l.Secrets = append(l.Secrets, kv)
		}
	}
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil {
			l.Files = append(l.Files, target)
		}
	}
	text, err := json.Marshal(l)
	if err != nil {
		return 10
	}
	f, err := os.CreateTemp(folder, "launch*.tmp")
	if err != nil {
		return 11
	}
	if _, err := f.Write(text); err != nil || f.Close() != nil {
		return 12
	}
	if err := os.Rename(f.Name(), f.Name()+".json"); err != nil {
		return 13
	}
	switch {
	case mode == "fail":
		return 3
	case mode == "say":
		fmt.Println("said on output")
		fmt.Fprintln(os.Stderr, "said on error")
	case strings.HasPrefix(mode, "gate:"):
		c, err := net.Dial("tcp", strings.TrimPrefix(mode, "gate:"))
		if err != nil {
			return 14
		}
		_, _ = c.Read(make([]byte, 1))
	}
	return 0
}

// desk is a place where a fake browser writes its launches.
type desk struct {
	t      *testing.T
	folder string
}

// newDesk makes every browser started by this test a fake one.
func newDesk(t *testing.T, mode string) *desk {
	t.Helper()
	d := &desk{t, t.TempDir()}
	t.Setenv(recordVariable, d.folder)
	t.Setenv(modeVariable, mode)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector's second, for each browser
	return d
}

// command returns the fake browser's path.
func (d *desk) command() string {
	d.t.Helper()
	path, err := os.Executable()
	if err != nil {
		d.t.Fatal(err)
	}
	return path
}

// install puts the fake browser into a folder under other names.
func (d *desk) install(folder string, names ...string) {
	d.t.Helper()
	for _, name := range names {
		if runtime.GOOS == "windows" {
			name += ".exe"
		}
		if err := os.Link(d.command(), filepath.Join(folder, name)); err == nil {
			continue
		}
		// Another file system: a copy does as well.
		text, err := os.ReadFile(d.command())
		if err != nil {
			d.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o700); err != nil {
			d.t.Fatal(err)
		}
	}
}

// launches returns what was written down since the last call.
func (d *desk) launches() []launch {
	d.t.Helper()
	files, err := filepath.Glob(filepath.Join(d.folder, "*.json"))
	if err != nil {
		d.t.Fatal(err)
	}
	var all []launch
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			d.t.Fatal(err)
		}
		var l launch
		if err := json.Unmarshal(text, &l); err != nil {
			d.t.Fatal(err)
		}
		if err := os.Remove(file); err != nil {
			d.t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

// only returns the single launch since the last call. On a busy machine a browser that has been started
// takes longer to write it down than Open waits for it to fail.
func (d *desk) only() launch {
	d.t.Helper()
	all := d.launches()
	for end := time.Now().Add(time.Minute); len(all) == 0 && time.Now().Before(end); all = d.launches() {
		time.Sleep(10 * time.Millisecond)
	}
	if len(all) != 1 {
		d.t.Fatalf("%d launches, want 1: %v", len(all), all)
	}
	return all[0]
}

// none fails the test if there was a launch.
func (d *desk) none() {
	d.t.Helper()
	if all := d.launches(); len(all) > 0 {
		d.t.Fatalf("launched: %v", all)
	}
}
