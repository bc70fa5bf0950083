//go:build unix

package handstamp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/envelope"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

// jobVariable holds the job of a process that is this test binary, run again.
const jobVariable = "HANDSTAMP_TEST_JOB"

func TestMain(m *testing.M) {
	if path := os.Getenv(browserVariable); path != "" {
		os.Exit(fakeBrowser(path))
	}
	text := os.Getenv(jobVariable)
	if text == "" {
		os.Exit(processes.Wrap(m).Run())
	}
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		panic(err)
	}
	os.Exit(newWorker(j).main())
}

// long reports whether the tests that are worth minutes run in full.
func long() bool { return os.Getenv("HANDSTAMP_TEST_LONG") != "" }

// patient is how long a test waits for what takes moments on an idle machine.
const patient = 30 * time.Second

// machine is a world whose credentials are in a folder, so that processes share
// them.
type machine struct {
	*world
	dir string
}

// newMachine returns a machine with one login, which took one tab.
func newMachine(t testing.TB, h lab.Habits) *machine {
	t.Helper()
	m := emptyMachine(t, h)
	m.mustCall(m.session())
	return m
}

func emptyMachine(t testing.TB, h lab.Habits) *machine {
	t.Helper()
	m := &machine{world: newWorld(t, h), dir: folder(t) + "/credentials"}
	m.store = m.open(filestore.Options{})
	return m
}

// folder returns a new folder, in memory where the system has a place for that.
// A killed process loses nothing that the kernel has, so that it proves as much
// there as on a disk, whose speed depends on what else the machine does.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "handstamp-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// open opens the folder as a further process would, with notices in the test's
// log.
func (m *machine) open(o filestore.Options) *filestore.Store {
	m.t.Helper()
	o.Dir = m.dir
	if o.Warn == nil {
		o.Warn = func(message string) { m.t.Log("notice:", message) }
	}
	s, err := filestore.Open(o)
	if err != nil {
		m.t.Fatal(err)
	}
	return s
}

// file is the path of the record.
func (m *machine) file() string {
	m.t.Helper()
	key, err := store.NewKey(m.lab.MCPURL(), "")
	if err != nil {
		m.t.Fatal(err)
	}
	return m.dir + "/" + key.Name() + ".json"
}

// stored decodes the record's file as it is on the disk, without the help of the
// store, which would repair it. A torn record ends the test.
func (m *machine) stored() *record.Record {
	m.t.Helper()
	data, err := os.ReadFile(m.file())
	if err != nil {
		m.t.Fatal(err)
	}
	value, err := envelope.Open(data, new(json.RawMessage))
	if err != nil {
		m.t.Fatalf("the record is torn: %v", err)
	}
	rec, err := record.Decode(value)
	if err != nil {
		m.t.Fatalf("the record is torn: %v", err)
	}
	return rec
}

// process is another process of the user, at work.
type process struct {
	m     *machine
	cmd   *exec.Cmd
	input io.WriteCloser
	lines chan string // what it says; closed when it has ended
	said  []string
}

// start starts a process. One that the test leaves behind is killed.
func (m *machine) start(j job) *process {
	m.t.Helper()
	j.Dir, j.Server = m.dir, m.lab.MCPURL()
	text, err := json.Marshal(j)
	if err != nil {
		m.t.Fatal(err)
	}
	p := &process{m: m, cmd: exec.Command(os.Args[0]), lines: make(chan string, 1024)}
	// The race detector sleeps for a second when a process ends; ours are many.
	p.cmd.Env = append(os.Environ(), jobVariable+"="+string(text), "GORACE=halt_on_error=1 atexit_sleep_ms=0")
	p.cmd.Stderr = os.Stderr
	output, err := p.cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if p.input, err = p.cmd.StdinPipe(); err != nil {
		m.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			p.lines <- scanner.Text()
		}
	}()
	m.t.Cleanup(func() {
		p.cmd.Process.Kill()
		for range p.lines {
		}
		p.cmd.Wait()
	})
	return p
}

// await reads until the process says line, and ends the test if it never does.
func (p *process) await(line string) {
	p.m.t.Helper()
	timeout := time.After(patient)
	for {
		select {
		case said, ok := <-p.lines:
			if !ok {
				p.m.t.Fatalf("the process ended without %q; it said %q\n%s", line, p.said, p.m.diary())
			}
			p.said = append(p.said, said)
			if said == line {
				return
			}
		case <-timeout:
			p.m.t.Fatalf("the process does not come to %q; it said %q\n%s", line, p.said, p.m.diary())
		}
	}
}

// tell sends the process a line, for which it waits.
func (p *process) tell(line string) {
	p.m.t.Helper()
	if _, err := fmt.Fprintln(p.input, line); err != nil {
		p.m.t.Fatal(err)
	}
}

func (p *process) signal(s syscall.Signal) {
	p.m.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.m.t.Fatal(err)
	}
}

// outcome waits for the end of the process and returns the error of its job,
// of the kind that it had there.
func (p *process) outcome() error {
	p.m.t.Helper()
	p.drain()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("the process ended with %w; it said %q", err, p.said)
	}
	for _, line := range p.said { // what it leaves behind may speak after the result
		if line == "done" {
			return nil
		}
		text, ok := strings.CutPrefix(line, "failed ")
		if !ok {
			continue
		}
		for name, kind := range kinds {
			if message, ok := strings.CutPrefix(text, name+": "); ok {
				return fmt.Errorf("%s: %w", message, kind)
			}
		}
		return errors.New(text)
	}
	return fmt.Errorf("the process ended without a result; it said %q", p.said)
}

// killed waits for the end of the process and checks that SIGKILL ended it,
// rather than that it never came to where it was to die.
func (p *process) killed() {
	p.m.t.Helper()
	p.drain()
	p.cmd.Wait()
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		p.m.t.Fatalf("the process was not killed but ended (%v); it said %q\n%s", p.cmd.ProcessState, p.said, p.m.diary())
	}
}

func (p *process) drain() {
	p.m.t.Helper()
	timeout := time.After(patient + 15*time.Second)
	for {
		select {
		case said, ok := <-p.lines:
			if !ok {
				return
			}
			p.said = append(p.said, said)
		case <-timeout:
			p.m.t.Fatalf("the process does not end; it said %q\n%s", p.said, p.m.diary())
		}
	}
}

// run is start and outcome.
func (m *machine) run(j job) error {
	m.t.Helper()
	return m.start(j).outcome()
}

// mustRun fails the test unless a process that may not sign in makes a call.
func (m *machine) mustRun() {
	m.t.Helper()
	if err := m.run(job{Do: "call"}); err != nil {
		m.t.Fatalf("a further process: %v\n%s", err, m.diary())
	}
}

// held waits for a request at the gate.
func (m *machine) held(gate *lab.Gate) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	if _, err := gate.Wait(ctx); err != nil {
		m.t.Fatalf("no request comes to the gate: %v\n%s", err, m.diary())
	}
}

// refreshed returns the number of requests that carried a refresh token.
func (m *machine) refreshed() int { return m.lab.Counts()["token:refresh"] }

// kinds are the kinds of errors that processes tell each other.
var kinds = map[string]error{
	"login required": handstamp.ErrLoginRequired,
	"unreachable":    handstamp.ErrUnreachable,
	"denied":         handstamp.ErrDenied,
	"timeout":        handstamp.ErrTimeout,
	"protocol":       handstamp.ErrProtocol,
	"store":          handstamp.ErrStore,
	"usage":          handstamp.ErrInvalidConfig,
	"canceled":       context.Canceled,
	"deadline":       context.DeadlineExceeded,
}
