//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/lab"
)

// waiting starts bridges until one has opened a tab and the others wait for it,
// and returns that one and the others. The user is held at the gate.
func (m *machine) waiting(n int) (gate *lab.Gate, owner *host, others []*host) {
	m.t.Helper()
	gate = m.server.Hold("authorize:received")
	for range n {
		h, err := m.bridge()
		if err != nil {
			m.t.Fatal(err)
		}
		m.t.Cleanup(h.kill)
		if owner == nil {
			m.said(h, "Sign in to")
			owner = h
			continue
		}
		m.said(h, "Another process is waiting for a sign-in to ")
		others = append(others, h)
	}
	return gate, owner, others
}

// said waits until the bridge has written text for people.
func (m *machine) said(h *host, text string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), waitLimit)
	defer cancel()
	if !h.stderr.wait(ctx, text) {
		m.t.Fatalf("the bridge does not say %q but\n%s", text, h.stderr.String())
	}
}

// helpers returns the process ids of the bridges' helpers.
func helpers(t *testing.T, bridges ...*host) []int {
	t.Helper()
	var pids []int
	for _, h := range bridges {
		found, err := children(h.cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, found...)
	}
	return pids
}

// children returns the processes that a process has started.
func children(parent int) (pids []int, err error) {
	if runtime.GOOS != "linux" {
		out, err := exec.Command("pgrep", "-P", strconv.Itoa(parent)).Output()
		if failed, ok := errors.AsType[*exec.ExitError](err); ok && failed.ExitCode() == 1 {
			return nil, nil // it has none
		}
		for _, word := range strings.Fields(string(out)) {
			if pid, err := strconv.Atoi(word); err == nil {
				pids = append(pids, pid)
			}
		}
		return pids, err
	}
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// The name, in parentheses, may hold any character.
		rest := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(rest) > 1 && rest[1] == strconv.Itoa(parent) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, pid)
		}
	}
	return pids, err
}

// The user says no while bridges wait: none of them opens another tab.
func TestDeniedOnce(t *testing.T) {
	m := newMachine(t, lab.Habits{Consent: lab.ConsentDeny})
	gate, owner, others := m.waiting(4)
	gate.Release()
	proctest.Wait(t, waitLimit, "no bridge has a helper at its login", func() bool {
		return len(helpers(t, append(others, owner)...)) == 0
	})
	if n := m.tabs(); n != 1 {
		t.Errorf("%d tabs, want 1", n)
	}
}

// The helper at the login is killed: one of those who wait takes over, with one
// new tab, and every bridge works.
func TestLoginTakenOver(t *testing.T) {
	m := newMachine(t, lab.NoneFirst())
	gate, owner, others := m.waiting(3)
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	if _, err := gate.Wait(ctx); err != nil {
		t.Fatalf("the first tab asks for nothing: %v", err)
	}
	pids := helpers(t, owner)
	if len(pids) != 1 {
		t.Fatalf("the bridge has the helpers %v", pids)
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := gate.Wait(ctx); err != nil {
		t.Fatalf("no bridge takes over: %v", err)
	}
	gate.Release()
	for _, h := range append(others, owner) {
		if err := h.works(); err != nil {
			t.Errorf("%v\n%s", err, h.stderr.String())
		}
	}
	if n := m.tabs(); n != 2 {
		t.Errorf("%d tabs, want 2", n)
	}
}
