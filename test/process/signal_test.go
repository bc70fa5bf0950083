//go:build unix

package process_test

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// SIGTERM comes while the server has rotated the token and not yet responded. The
// process ends its call at once, waits for the response, and has it on the disk
// when it ends. The test catches a refresh on the caller's context, and a Close
// that does not wait.
func TestTerminatedDuringRefresh(t *testing.T) {
	m := testenv.NewOnDisk(t, lab.NoneFirst())
	m.Expire()
	before := m.Record()
	gate, p := m.StartHeld("token:refresh:committed", testenv.Job{Do: "call", Close: testenv.Timeout})
	p.Signal(syscall.SIGTERM)
	p.Await("closing")
	gate.Release()
	if err := p.Outcome(); !errors.Is(err, context.Canceled) {
		t.Errorf("the interrupted call: %v, want context.Canceled", err)
	}
	if slices.Contains(p.Said, "not closed") {
		t.Error("Close gave up")
	}
	after := m.StoredRecord()
	if after.Grant.RefreshToken == before.Grant.RefreshToken || after.Intent != nil {
		t.Error("the rotated token is not on the disk")
	}
	m.Lab.Reset()
	m.MustRun()
	m.WantCounts(map[string]int{"mcp": 1, "token:refresh": 0})
	m.WantTabs(1)
}

// The same with an authorization server that does not respond in the time that
// Close is given: the process ends, what it had begun is in the record, and the
// next one repeats it at once.
func TestTerminatedBeforeTheResponse(t *testing.T) {
	m := testenv.NewOnDisk(t, lab.Habits{Rotation: lab.RotateGrace, Grace: time.Minute})
	m.Expire()
	gate, p := m.StartHeld("token:refresh:committed", testenv.Job{Do: "call", Close: time.Millisecond})
	p.Signal(syscall.SIGTERM)
	if err := p.Outcome(); !errors.Is(err, context.Canceled) {
		t.Errorf("the interrupted call: %v, want context.Canceled", err)
	}
	if !slices.Contains(p.Said, "not closed") {
		t.Error("Close claims that the refresh was stored")
	}
	if rec := m.StoredRecord(); rec.Intent == nil {
		t.Error("the record does not tell of the refresh")
	}
	gate.Release()
	m.MustRun()
	m.WantTabs(1)
}

// A process is stopped, as by Ctrl-Z, while it refreshes. Another one with a token
// that is still good goes on with it; one without waits, and does not take the
// lock, for the stopped process may wake and send. The test catches a lock that
// is stolen after a time, a wait for a token that is not needed yet, and a
// process that cannot end because another one does not.
func TestStoppedDuringRefresh(t *testing.T) {
	m := testenv.NewOnDisk(t, lab.NoneFirst())
	m.AboutToExpire()
	gate, stopped := m.StartHeld("token:refresh:received", testenv.Job{Do: "call"})
	stopped.Signal(syscall.SIGSTOP)

	started := time.Now()
	other := m.Start(testenv.Job{Do: "call"})
	if err := other.Outcome(); err != nil {
		t.Fatalf("a process with a good token: %v\n%s", err, m.Diary())
	}
	took := time.Since(started)
	t.Logf("a process with a good token went on after %v", took.Round(time.Millisecond))
	if took > testenv.Timeout/2 { // one that waits for the lock does so for 40 s
		t.Error("that is no going on")
	}
	if slices.Contains(other.Said, "not closed") {
		t.Error("at its end it waited for a refresh that was not its own")
	}

	c := m.Session()
	c.LoginPolicy = handstamp.LoginNever
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := c.Token(ctx, m.Lab.MCPURL(), handstamp.TokenOptions{Refresh: true}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want that it waits for the lock", err)
	}
	m.WantCounts(map[string]int{"token:refresh": 1})

	stopped.Signal(syscall.SIGCONT)
	gate.Release()
	if err := stopped.Outcome(); err != nil {
		t.Errorf("the stopped process: %v", err)
	}
	m.MustRun()
	m.WantCounts(map[string]int{"token:refresh": 1})
	if a := m.Lab.Audit(); a.Reuses != 0 {
		t.Errorf("%d reuses\n%s", a.Reuses, m.Diary())
	}
	m.WantTabs(1)
}

// A killed process's lock is free at once: the next refresh does not wait for any
// timeout.
func TestLockOfKilledProcessIsFree(t *testing.T) {
	m := testenv.NewOnDisk(t, lab.NoneFirst())
	m.Expire()
	_, holder := m.StartHeld("token:refresh:received", testenv.Job{Do: "call"})
	waiter := m.Start(testenv.Job{Do: "call"})
	waiter.Await("lock:refresh")
	killed := time.Now()
	holder.Signal(syscall.SIGKILL)
	holder.Killed()
	waiter.Await("locked:refresh")
	took := time.Since(killed)
	t.Logf("the lock was free after %v", took.Round(time.Millisecond))
	if took > 10*time.Second {
		t.Errorf("the lock of a killed process was free only after %v", took)
	}
	// The held request goes on although its client is gone, and would be first.
	waiter.Signal(syscall.SIGKILL)
	waiter.Killed()
}
