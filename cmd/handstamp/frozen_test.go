//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// moment is where in a refresh the process is frozen.
type moment int

// The moments.
const (
	beforeRequest  moment = iota // it starts, reads the record, connects
	beforeResponse               // the server has the request
	duringResponse               // a part of the response may be there
	afterResponse                // the response is read, and being stored
	moments
)

func (m moment) String() string {
	return [...]string{"before the request", "before the response", "during the response", "after the response"}[m]
}

// freeze is one frozen refresh.
type freeze struct {
	*machine
	moment moment
	// helper: only the process that refreshes is frozen, not the one that started it.
	helper bool
	length time.Duration
}

// responseSpan is how long a response takes that comes byte by byte.
const responseSpan = 400 * time.Millisecond

// maxThawed bounds what a process does after it was frozen.
const maxThawed = time.Minute

// Processes that refresh are frozen at random moments, as SIGSTOP, a paused
// container or a sleeping machine do it, at servers that rotate strictly and
// revoke everything on reuse. The response then waits in the socket while every
// timeout ends: it counts, and the refresh token is not sent again. No login is
// lost.
//
// HANDSTAMP_TEST_LONG=1 (make test) freezes 20 processes, one of them beyond
// 35 s; HANDSTAMP_TEST_STORM=1 (make storm) 200 of them, for up to 90 s.
func TestFrozenRefresh(t *testing.T) {
	if testing.Short() {
		t.Skip("it freezes processes for seconds")
	}
	t.Parallel()
	n, shortest, longest := 8, 100*time.Millisecond, 3*time.Second
	switch {
	case os.Getenv("HANDSTAMP_TEST_STORM") != "":
		n, shortest, longest = 200, time.Second, 90*time.Second
	case os.Getenv("HANDSTAMP_TEST_LONG") != "":
		n, shortest, longest = 20, time.Second, 30*time.Second
	}
	freezes := make([]*freeze, n)
	for i := range freezes {
		server, err := lab.Start(lab.Habits{Rotation: lab.RotateStrict})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Close)
		freezes[i] = &freeze{
			machine: machineOf(t, server), moment: moment(i) % moments, helper: i/int(moments)%2 == 1,
			length: shortest + rand.N(longest-shortest),
		}
	}
	if os.Getenv("HANDSTAMP_TEST_LONG") != "" {
		// With the response in the socket, which is the worst moment.
		freezes[beforeResponse].length = 36*time.Second + rand.N(14*time.Second)
	}
	frozen, lost := 0, 0
	var mu sync.Mutex // guards what is above
	var all sync.WaitGroup
	running := make(chan struct{}, 4) // who is not frozen; else the machine is the storm
	for _, f := range freezes {
		all.Go(func() {
			hit, err := f.run(running)
			mu.Lock()
			defer mu.Unlock()
			if hit {
				frozen++
			}
			if err != nil {
				lost++
				t.Errorf("frozen for %v %v (helper only: %v): %v", f.length.Round(time.Second), f.moment, f.helper, err)
			}
		})
	}
	all.Wait()
	t.Logf("%d of %d processes were frozen within a refresh, %d logins lost", frozen, n, lost)
	if frozen < n/2 {
		t.Errorf("only %d processes were frozen: the test proves nothing", frozen)
	}
}

// run signs in, freezes a refresh, and reports whether it did, and what was wrong
// with the login afterwards.
func (f *freeze) run(running chan struct{}) (hit bool, err error) {
	running <- struct{}{}
	if err := f.machine.run("login", f.server.MCPURL()); err != nil {
		<-running
		return false, err
	}
	ctx, cancel := context.WithTimeout(f.t.Context(), f.length+maxThawed+waitLimit)
	defer cancel()
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, bin, "token", f.server.MCPURL(), "--refresh")
	cmd.Env, cmd.Stdout, cmd.Stderr = f.env, &output, &output
	thaw, hit, err := f.freeze(ctx, cmd)
	<-running
	if err != nil {
		return hit, err
	}
	pause(ctx, f.length)
	thaw()
	err = cmd.Wait() // its exit code is checked below, by what it has left
	if exited := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exited) {
		return hit, err
	}
	running <- struct{}{}
	defer func() { <-running }()
	f.server.SetFault("token")
	return hit, errors.Join(f.good(), f.context(output.String(), cmd.ProcessState.ExitCode()))
}

// good reports what is wrong with the login.
func (f *freeze) good() error {
	var err error
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); {
		err = f.machine.run("token", f.server.MCPURL(), "--refresh")
		if exited, ok := errors.AsType[*exec.ExitError](err); !ok || exited.ExitCode() != 3 {
			break
		}
		time.Sleep(time.Second) // of the cooldown that it reports
	}
	if a := f.server.Audit(); a.Reuses != 0 || a.FamiliesRevoked != 0 || a.Codes != 1 || f.tabs() != 1 {
		return fmt.Errorf("%d reuses, %d grants revoked, %d logins, %d tabs; want 0, 0, 1, 1; %w", a.Reuses, a.FamiliesRevoked, a.Codes, f.tabs(), err)
	}
	return err
}

// context reports how the frozen process ended, if that was wrong.
func (f *freeze) context(output string, code int) error {
	if code == 0 || code == 3 { // signed in, or try again
		return nil
	}
	return fmt.Errorf("the frozen process ended with exit code %d:\n%s", code, output)
}

// freeze starts the process and stops it at the moment. It returns how to let it
// go on, and whether anything was stopped.
func (f *freeze) freeze(ctx context.Context, cmd *exec.Cmd) (thaw func(), hit bool, err error) {
	gate := f.server.Hold("token:refresh:received")
	defer gate.Release()
	if f.moment == duringResponse {
		f.server.SetFault("token", lab.Fault{Kind: lab.FaultDrip, Delay: time.Millisecond})
	}
	if err := cmd.Start(); err != nil {
		return nil, false, err
	}
	if f.moment == beforeRequest {
		gate.Release()
		pause(ctx, rand.N(100*time.Millisecond))
	} else if _, err := gate.Wait(ctx); err != nil {
		return nil, false, errors.Join(err, cmd.Wait())
	}
	pids, err := f.involved(cmd.Process.Pid)
	if err != nil {
		return nil, false, errors.Join(err, cmd.Wait())
	}
	switch f.moment {
	case duringResponse:
		gate.Release()
		pause(ctx, rand.N(responseSpan))
	case afterResponse:
		gate.Release()
		pause(ctx, rand.N(20*time.Millisecond))
	}
	for _, pid := range pids {
		hit = syscall.Kill(pid, syscall.SIGSTOP) == nil || hit // or it has ended
	}
	return func() {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}, hit, nil
}

// involved returns the processes to freeze.
func (f *freeze) involved(pid int) ([]int, error) {
	pids, err := children(pid)
	if !f.helper {
		pids = append(pids, pid)
	}
	return pids, err
}

// pause lets time go by, in which a process goes on or stands still.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
