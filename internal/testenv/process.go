//go:build unix

package testenv

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/envelope"
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

// jobVariable holds the job of a process that is this test binary, run again.
const jobVariable = "HANDSTAMP_TEST_JOB"

func Main(m *testing.M) {
	if path := os.Getenv(BrowserVariable); path != "" {
		os.Exit(fakeBrowser(path))
	}
	text := os.Getenv(jobVariable)
	if text == "" {
		SideBySide()
		proctest.Prepare()
		if os.Getenv("GOGC") == "" {
			debug.SetGCPercent(400) // the heap of a test is small and soon garbage, and would be collected all the time
		}
		os.Exit(Processes.Wrap(m).Run())
	}
	var j Job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		panic(err)
	}
	os.Exit(newWorker(j).main())
}

// NewOnDisk returns a machine with one login, which took one tab.
func NewOnDisk(t testing.TB, h lab.Habits) *Env {
	t.Helper()
	m := NewEmptyOnDisk(t, h)
	m.MustCall(m.Session())
	return m
}

func NewEmptyOnDisk(t testing.TB, h lab.Habits) *Env {
	t.Helper()
	m := New(t, h)
	m.Dir = filepath.Join(lastingFolder(t), "credentials")
	m.Store = m.Open(filestore.Options{})
	return m
}

// lastingFolder returns a folder that is removed after the test, also where a refresh helper whose
// result is not waited for any more still writes into it.
func lastingFolder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "handstamp-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for end := time.Now().Add(Timeout); ; time.Sleep(10 * time.Millisecond) {
			if err := os.RemoveAll(dir); err == nil {
				return
			} else if time.Now().After(end) {
				t.Error(err)
				return
			}
		}
	})
	return dir
}

// Open opens the folder as a further process would, with notices in the test's
// log.
func (m *Env) Open(o filestore.Options) *filestore.Store {
	m.T.Helper()
	o.Dir = m.Dir
	if o.Warn == nil {
		o.Warn = func(message string) { m.T.Log("notice:", message) }
	}
	s, err := filestore.Open(o)
	if err != nil {
		m.T.Fatal(err)
	}
	return s
}

// File is the path of the record.
func (m *Env) File() string {
	m.T.Helper()
	key, err := store.NewKey(m.Lab.MCPURL(), "")
	if err != nil {
		m.T.Fatal(err)
	}
	return m.Dir + "/" + key.Name() + ".json"
}

// StoredRecord decodes the record's file as it is on the disk, without the help of the
// store, which would repair it. A torn record ends the test.
func (m *Env) StoredRecord() *record.Record {
	m.T.Helper()
	data, err := os.ReadFile(m.File())
	if err != nil {
		m.T.Fatal(err)
	}
	value, err := envelope.Open(data, new(json.RawMessage))
	if err != nil {
		m.T.Fatalf("the record is torn: %v", err)
	}
	rec, err := record.Decode(value)
	if err != nil {
		m.T.Fatalf("the record is torn: %v", err)
	}
	return rec
}

// Process is another process of the user, at work.
type Process struct {
	m     *Env
	Cmd   *exec.Cmd
	Input io.WriteCloser
	Lines chan string // what it says; closed when it has ended
	Said  []string
}

// Start starts a process. One that the test leaves behind is killed.
func (m *Env) Start(j Job) *Process {
	m.T.Helper()
	j.Dir, j.Server = m.Dir, m.Lab.MCPURL()
	text, err := json.Marshal(j)
	if err != nil {
		m.T.Fatal(err)
	}
	p := &Process{m: m, Cmd: exec.Command(os.Args[0]), Lines: make(chan string, 1024)}
	// The race detector sleeps for a second when a process ends; ours are many.
	p.Cmd.Env = append(os.Environ(), jobVariable+"="+string(text), "GORACE=halt_on_error=1 atexit_sleep_ms=0")
	p.Cmd.Stderr = os.Stderr
	output, err := p.Cmd.StdoutPipe()
	if err != nil {
		m.T.Fatal(err)
	}
	if p.Input, err = p.Cmd.StdinPipe(); err != nil {
		m.T.Fatal(err)
	}
	if err := p.Cmd.Start(); err != nil {
		m.T.Fatal(err)
	}
	go func() {
		defer close(p.Lines)
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			p.Lines <- scanner.Text()
		}
	}()
	m.T.Cleanup(func() {
		p.Cmd.Process.Kill()
		for range p.Lines {
		}
		p.Cmd.Wait()
	})
	return p
}

// Await reads until the process says line, and ends the test if it never does.
func (p *Process) Await(line string) {
	p.m.T.Helper()
	timeout := time.After(Timeout)
	for {
		select {
		case said, ok := <-p.Lines:
			if !ok {
				p.m.T.Fatalf("the process ended without %q; it said %q\n%s", line, p.Said, p.m.Diary())
			}
			p.Said = append(p.Said, said)
			if said == line {
				return
			}
		case <-timeout:
			p.m.T.Fatalf("the process does not come to %q; it said %q\n%s", line, p.Said, p.m.Diary())
		}
	}
}

// Tell sends the process a line, for which it waits.
func (p *Process) Tell(line string) {
	p.m.T.Helper()
	if _, err := fmt.Fprintln(p.Input, line); err != nil {
		p.m.T.Fatal(err)
	}
}

func (p *Process) Signal(s syscall.Signal) {
	p.m.T.Helper()
	if err := p.Cmd.Process.Signal(s); err != nil {
		p.m.T.Fatal(err)
	}
}

// Outcome waits for the end of the process and returns the error of its job,
// of the kind that it had there.
func (p *Process) Outcome() error {
	p.m.T.Helper()
	p.drain()
	if err := p.Cmd.Wait(); err != nil {
		return fmt.Errorf("the process ended with %w; it said %q", err, p.Said)
	}
	for _, line := range p.Said { // what it leaves behind may speak after the result
		if line == "done" {
			return nil
		}
		text, ok := strings.CutPrefix(line, "failed ")
		if !ok {
			continue
		}
		for name, kind := range errorKinds {
			if message, ok := strings.CutPrefix(text, name+": "); ok {
				return fmt.Errorf("%s: %w", message, kind)
			}
		}
		return errors.New(text)
	}
	return fmt.Errorf("the process ended without a result; it said %q", p.Said)
}

// Killed waits for the end of the process and checks that SIGKILL ended it,
// rather than that it never came to where it was to die.
func (p *Process) Killed() {
	p.m.T.Helper()
	p.drain()
	p.Cmd.Wait()
	if status, ok := p.Cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		p.m.T.Fatalf("the process was not killed but ended (%v); it said %q\n%s", p.Cmd.ProcessState, p.Said, p.m.Diary())
	}
}

func (p *Process) drain() {
	p.m.T.Helper()
	timeout := time.After(Timeout + 15*time.Second)
	for {
		select {
		case said, ok := <-p.Lines:
			if !ok {
				return
			}
			p.Said = append(p.Said, said)
		case <-timeout:
			p.m.T.Fatalf("the process does not end; it said %q\n%s", p.Said, p.m.Diary())
		}
	}
}

// Run is start and outcome.
func (m *Env) Run(j Job) error {
	m.T.Helper()
	return m.Start(j).Outcome()
}

// MustRun fails the test unless a process that may not sign in makes a call.
func (m *Env) MustRun() {
	m.T.Helper()
	if err := m.Run(Job{Do: "call"}); err != nil {
		m.T.Fatalf("a further process: %v\n%s", err, m.Diary())
	}
}

// StartHeld starts a process, and waits until its request is held at a point.
func (m *Env) StartHeld(point string, job Job) (*lab.Gate, *Process) {
	m.T.Helper()
	gate := m.Lab.Hold(point)
	p := m.Start(job)
	m.Held(gate)
	return gate, p
}

// Refreshed returns the number of requests that carried a refresh token.
func (m *Env) Refreshed() int { return m.Lab.Counts()["token:refresh"] }

// errorKinds are the kinds of errors that processes tell each other.
var errorKinds = map[string]error{
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

// PutIn stores a record that a test has changed in another store.
func (m *Env) PutIn(s store.Store, rec *record.Record) {
	m.T.Helper()
	if err := record.Put(m.T.Context(), s, rec); err != nil {
		m.T.Fatal(err)
	}
}
