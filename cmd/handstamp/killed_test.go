//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// waitLimit bounds what a test waits for.
const waitLimit = time.Minute

// machine is a user's machine, on which hosts start bridges.
type machine struct {
	t      *testing.T
	server *lab.Server
	home   string
	env    []string
}

func newMachine(t *testing.T, h lab.Habits) *machine {
	t.Helper()
	needBin(t)
	server, err := lab.Start(h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	processes.Watch(t, server)
	return machineOf(t, server)
}

// machineOf returns a user's machine with a server of its own.
func machineOf(t *testing.T, server *lab.Server) *machine {
	t.Helper()
	m := &machine{t: t, server: server, home: t.TempDir()}
	m.env = append(os.Environ(), "DBUS_SESSION_BUS_ADDRESS=disabled:", "HANDSTAMP_HOME="+filepath.Join(m.home, "handstamp"),
		tabsVariable+"="+m.tabsFile(), `HANDSTAMP_BROWSER="`+os.Args[0]+`"`)
	return m
}

func (m *machine) tabsFile() string { return filepath.Join(m.home, "tabs") }

// tabs is how many tabs the browser has opened.
func (m *machine) tabs() int {
	b, err := os.ReadFile(m.tabsFile())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		m.t.Fatal(err)
	}
	return bytes.Count(b, []byte("\n"))
}

// run runs the command to its end.
func (m *machine) run(args ...string) error {
	cmd := exec.Command(bin, args...)
	cmd.Env = m.env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("handstamp %s: %w\n%s", args[0], err, out)
	}
	return nil
}

func (m *machine) mustRun(args ...string) {
	m.t.Helper()
	if err := m.run(args...); err != nil {
		m.t.Fatal(err)
	}
}

// transcript is what a process wrote, for those who look while it writes.
type transcript struct {
	mu    sync.Mutex // guards what follows
	text  bytes.Buffer
	grown chan struct{} // closed at the next write, for who waits; nil: none does
}

func (t *transcript) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.grown != nil {
		close(t.grown)
		t.grown = nil
	}
	return t.text.Write(b)
}

// wait waits until text was written, and reports whether it was, before ctx ended.
func (t *transcript) wait(ctx context.Context, text string) bool {
	for {
		t.mu.Lock()
		if strings.Contains(t.text.String(), text) {
			t.mu.Unlock()
			return true
		}
		if t.grown == nil {
			t.grown = make(chan struct{})
		}
		grown := t.grown
		t.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
			return false
		}
	}
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// host is an MCP host's side of one bridge.
type host struct {
	cmd    *exec.Cmd
	input  io.WriteCloser
	output *bufio.Reader
	stderr transcript
	cancel context.CancelFunc
}

// longestHost bounds the life of a bridge that does not do what is waited for.
const longestHost = 5 * time.Minute

// bridge starts a bridge in a process group of its own and asks it to
// initialize.
func (m *machine) bridge(flags ...string) (*host, error) {
	ctx, cancel := context.WithTimeout(m.t.Context(), longestHost)
	h := &host{cmd: exec.CommandContext(ctx, bin, append([]string{"bridge", m.server.MCPURL()}, flags...)...), cancel: cancel}
	h.cmd.Env = m.env
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	h.cmd.Stderr = &h.stderr
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	h.output = bufio.NewReader(out)
	if h.input, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	h.send(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"host","version":"1"}}}`)
	return h, nil
}

// send sends a line; a bridge that is dead does not mind.
func (h *host) send(line string) { _, _ = io.WriteString(h.input, line+"\n") }

// response returns the next line with the id.
func (h *host) response(id int) (string, error) {
	for {
		line, err := h.output.ReadString('\n')
		if err != nil || strings.Contains(line, fmt.Sprintf(`"id":%d`, id)) {
			return line, err
		}
	}
}

// kill kills the bridge as hosts do, with its process group.
func (h *host) kill() {
	_ = syscall.Kill(-h.cmd.Process.Pid, syscall.SIGKILL)
	_, _ = io.Copy(io.Discard, h.output)
	_ = h.cmd.Wait()
	h.cancel()
}

// storm lets the access token end and starts bridges, again and again, and kills
// each bridge at a random moment, until there were so many kills or a login is
// lost.
func (m *machine) storm(kills int) {
	m.t.Helper()
	m.mustRun("login", m.server.MCPURL())
	m.server.SetFault("token", lab.Fault{Kind: lab.FaultDelay, Delay: 5 * time.Millisecond})
	// The moments are spread over what a bridge that refreshes takes to respond.
	m.server.ExpireAccessTokens()
	started := time.Now()
	first, err := m.bridge("--login=never")
	if err != nil {
		m.t.Fatal(err)
	}
	if line, err := first.response(1); err != nil || !strings.Contains(line, `"result"`) {
		m.t.Fatalf("%v: %s\n%s", err, line, first.stderr.String())
	}
	shortest := 2 * time.Since(started)
	span := shortest
	first.kill()
	for killed := 0; killed < kills && m.server.Audit().Reuses == 0; {
		m.server.ExpireAccessTokens()
		var round sync.WaitGroup
		for range min(3, kills-killed) {
			killed++
			round.Go(func() {
				h, err := m.bridge("--login=never")
				if err != nil {
					m.t.Error(err)
					return
				}
				time.Sleep(rand.N(span)) // the random moment
				h.kill()
			})
		}
		round.Wait()
		// On a machine that is busier than it was for the first one, bridges take longer.
		if m.server.Audit().Refreshes < killed/12 {
			span = min(span*9/8, max(shortest, 2*time.Second))
		} else {
			span = max(span*8/9, shortest)
		}
	}
}

// Hosts kill bridges, with their process group, at random moments around a
// refresh, at a server that rotates strictly and revokes everything on reuse. No
// login is lost: the refresh runs in a process that the kill does not reach.
//
// HANDSTAMP_TEST_STORM=1 (make storm) kills 5,000 bridges instead of 300.
func TestKilledBridges(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts and kills 300 bridges")
	}
	kills := 300
	if os.Getenv("HANDSTAMP_TEST_STORM") != "" {
		kills = 5000
	}
	m := newMachine(t, lab.Habits{Rotation: lab.RotateStrict})
	started := time.Now()
	m.storm(kills)
	took := time.Since(started)
	m.server.SetFault("token")
	for range 2 {
		m.mustRun("token", m.server.MCPURL(), "--refresh")
	}
	a := m.server.Audit()
	t.Logf("%d bridges killed in %v, %d refreshes, %d reuses, %d sessions lost", kills, took.Round(time.Second), a.Refreshes, a.Reuses, a.FamiliesRevoked)
	if a.Reuses != 0 || a.FamiliesRevoked != 0 || a.Codes != 1 || m.tabs() != 1 {
		t.Errorf("%d reuses, %d grants revoked, %d logins, %d tabs; want 0, 0, 1, 1", a.Reuses, a.FamiliesRevoked, a.Codes, m.tabs())
	}
	if a.Refreshes < kills/20 {
		t.Errorf("only %d refreshes: the storm proves nothing", a.Refreshes)
	}
}
