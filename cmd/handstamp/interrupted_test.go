//go:build unix

package main

import (
	"context"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// maxEnd bounds the end of a bridge on a busy machine: it ends by itself, in seconds also where the
// server stalls. How many these are is tested in package bridge, by a clock of its own.
const maxEnd = time.Minute

// refreshing starts a bridge and returns when the server has rotated its refresh
// token and not yet sent it.
func (m *machine) refreshing() (*host, *lab.Gate) {
	m.t.Helper()
	m.mustRun("login", m.server.MCPURL())
	m.server.ExpireAccessTokens()
	gate := m.server.Hold("token:refresh:committed")
	h, err := m.bridge()
	if err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(m.t.Context(), waitLimit)
	defer cancel()
	if _, err := gate.Wait(ctx); err != nil {
		m.t.Fatalf("no refresh: %v", err)
	}
	return h, gate
}

// ends waits for the bridge to end.
func (h *host) ends(t *testing.T) {
	t.Helper()
	started := time.Now()
	_, _ = io.Copy(io.Discard, h.output)
	_ = h.cmd.Wait()
	if took := time.Since(started); took > maxEnd {
		t.Errorf("the bridge took %v to end", took)
	}
	if n := strings.Count(h.stderr.String(), "\n"); n > 3 {
		t.Errorf("%d lines on standard error:\n%s", n, h.stderr.String())
	}
}

// A bridge that is signalled to end during a refresh does so in time, and the
// rotated token reaches the disk: before the bridge ends if the server responds
// by then, and after if it does not.
func TestBridgeEndsDuringRefresh(t *testing.T) {
	if testing.Short() {
		t.Skip("a stalled server keeps it waiting")
	}
	ways := map[string]func(*host) error{
		"SIGTERM":               func(h *host) error { return h.cmd.Process.Signal(syscall.SIGTERM) },
		"end of standard input": func(h *host) error { return h.input.Close() },
	}
	for name, end := range ways {
		for _, stalled := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", the server stalls"}[stalled], func(t *testing.T) {
				t.Parallel()
				m := newMachine(t, lab.Habits{Rotation: lab.RotateStrict})
				h, gate := m.refreshing()
				if err := end(h); err != nil {
					t.Fatal(err)
				}
				if !stalled {
					gate.Release()
				}
				h.ends(t)
				gate.Release()
				// The next process waits for a helper that is still at it: then that
				// refresh is the one it wants. The server would revoke everything if
				// the old token came again.
				m.mustRun("token", m.server.MCPURL(), "--refresh")
				if a := m.server.Audit(); a.Refreshes < 1 || a.Refreshes > 2 || a.Reuses != 0 || m.tabs() != 1 {
					t.Errorf("%d refreshes, %d reuses, %d tabs; want 1 or 2, 0, 1", a.Refreshes, a.Reuses, m.tabs())
				}
			})
		}
	}
}

// A bridge whose refresh needs no user writes little on standard error.
func TestBridgeIsQuiet(t *testing.T) {
	m := newMachine(t, lab.NoneFirst())
	first, err := m.bridge()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.works(); err != nil {
		t.Fatal(err)
	}
	first.input.Close()
	first.ends(t)
	m.server.ExpireAccessTokens()
	second, err := m.bridge()
	if err != nil {
		t.Fatal(err)
	}
	if err := second.works(); err != nil {
		t.Fatal(err)
	}
	second.input.Close()
	second.ends(t)
	if second.stderr.String() != "" {
		t.Errorf("a bridge that walked in wrote:\n%s", second.stderr.String())
	}
}
