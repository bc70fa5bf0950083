//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// A command that is stopped for longer than --timeout while the response to a request that
// cannot be repeated is on its way reads that response when it goes on: the code or the refresh
// token is used, and the tokens are revoked.
func TestFrozenCommandReadsTheResponse(t *testing.T) {
	if testing.Short() {
		t.Skip("every frozen process is waited for, half a minute together")
	}
	// The timeout is also for what comes before and after, beside other processes that start.
	const timeout, frozen = 7 * time.Second, 8 * time.Second
	for _, test := range []struct {
		point    string
		args     []string
		times    int
		signedIn bool // before
	}{
		{"token:refresh:received", []string{"token", "--refresh"}, 1, true},
		{"token:code:received", []string{"login"}, 4, false},
		{"revoke:received", []string{"logout"}, 2, true},
	} {
		for i := range test.times {
			t.Run(fmt.Sprintf("%s %d", test.args[0], i), func(t *testing.T) {
				t.Parallel()
				m := newMachine(t, lab.Habits{Rotation: lab.RotateStrict})
				if test.signedIn {
					m.mustRun("login", m.server.MCPURL())
				}
				out, err := m.stopped(frozen, test.point, append(test.args, m.server.MCPURL(), "--timeout", timeout.String())...)
				if err != nil || bytes.Contains(out, []byte("did not revoke")) {
					t.Errorf("%v\n%s", err, out)
				}
				if a := m.server.Audit(); a.Codes != 1 || a.Reuses != 0 || m.tabs() != 1 {
					t.Errorf("%d logins, %d reuses, %d tabs; want 1, 0, 1", a.Codes, a.Reuses, m.tabs())
				}
			})
		}
	}
}

// stopped runs a command, which is stopped, together with its helper, as long as the response to
// the request at the point takes and for a time after. It returns what the command wrote.
func (m *machine) stopped(d time.Duration, point string, args ...string) ([]byte, error) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), d+waitLimit)
	defer cancel()
	gate := m.server.Hold(point)
	defer gate.Release()
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = m.env, &output, &output
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := gate.Wait(ctx); err != nil {
		return nil, fmt.Errorf("no request at %s: %w; %w\n%s", point, err, cmd.Wait(), output.Bytes())
	}
	pids, err := children(cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	pids = append(pids, cmd.Process.Pid)
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGSTOP) // or it has ended
	}
	gate.Release()
	pause(ctx, d)
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	err = cmd.Wait()
	return output.Bytes(), err
}
