//go:build unix

package handstamp_test

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// SIGTERM comes while the server has rotated the token and told nobody. The
// process ends its call at once, waits for the answer, and has it on the disk
// when it ends. The test catches a renewal on the caller's context, and a Close
// that does not wait.
func TestTerminatedDuringRenewal(t *testing.T) {
	m := newMachine(t, lab.NoneFirst())
	m.expire()
	before := m.record()
	gate := m.lab.Hold("token:refresh:committed")
	p := m.start(job{Do: "call"})
	m.held(gate)
	p.signal(syscall.SIGTERM)
	p.await("closing")
	gate.Release()
	if err := p.outcome(); !errors.Is(err, context.Canceled) {
		t.Errorf("the interrupted call: %v, want context.Canceled", err)
	}
	if slices.Contains(p.said, "not closed") {
		t.Error("Close gave up")
	}
	after := m.stored()
	if after.Grant.RefreshToken == before.Grant.RefreshToken || after.Intent != nil {
		t.Error("the rotated token is not on the disk")
	}
	m.lab.Reset()
	m.mustRun()
	m.wantCounts(map[string]int{"mcp": 1, "token:refresh": 0})
	m.wantTabs(1)
}

// The same with an authorization server that does not answer in the time that
// Close is given: the process ends, what it had begun is in the record, and the
// next one repeats it at once.
func TestTerminatedBeforeTheAnswer(t *testing.T) {
	m := newMachine(t, lab.Habits{Rotation: lab.RotateGrace, Grace: time.Minute})
	m.expire()
	gate := m.lab.Hold("token:refresh:committed")
	p := m.start(job{Do: "call", Close: time.Millisecond})
	m.held(gate)
	p.signal(syscall.SIGTERM)
	if err := p.outcome(); !errors.Is(err, context.Canceled) {
		t.Errorf("the interrupted call: %v, want context.Canceled", err)
	}
	if !slices.Contains(p.said, "not closed") {
		t.Error("Close claims that the renewal was stored")
	}
	if rec := m.stored(); rec.Intent == nil {
		t.Error("the record does not tell of the renewal")
	}
	gate.Release()
	m.mustRun()
	m.wantTabs(1)
}

// A process is stopped, as by Ctrl-Z, while it renews. Another one with a token
// that is still good goes on with it; one without waits, and does not take the
// lock, for the stopped process may wake and send. The test catches a lock that
// is stolen after a time, a wait for a token that is not needed yet, and a
// process that cannot end because another one does not.
func TestStoppedDuringRenewal(t *testing.T) {
	m := newMachine(t, lab.NoneFirst())
	m.aboutToExpire()
	gate := m.lab.Hold("token:refresh:received")
	stopped := m.start(job{Do: "call"})
	m.held(gate)
	stopped.signal(syscall.SIGSTOP)

	started := time.Now()
	other := m.start(job{Do: "call"})
	if err := other.outcome(); err != nil {
		t.Fatalf("a process with a good token: %v\n%s", err, m.diary())
	}
	took := time.Since(started)
	t.Logf("a process with a good token went on after %v", took.Round(time.Millisecond))
	if took > 15*time.Second {
		t.Error("that is no going on")
	}
	if slices.Contains(other.said, "not closed") {
		t.Error("at its end it waited for a renewal that was not its own")
	}

	c := m.session()
	c.LoginPolicy = handstamp.LoginNever
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := c.Token(ctx, m.lab.MCPURL(), handstamp.TokenOptions{Refresh: true}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want that it waits for the lock", err)
	}
	m.wantCounts(map[string]int{"token:refresh": 1})

	stopped.signal(syscall.SIGCONT)
	gate.Release()
	if err := stopped.outcome(); err != nil {
		t.Errorf("the stopped process: %v", err)
	}
	m.mustRun()
	m.wantCounts(map[string]int{"token:refresh": 1})
	if a := m.lab.Audit(); a.Reuses != 0 {
		t.Errorf("%d reuses\n%s", a.Reuses, m.diary())
	}
	m.wantTabs(1)
}

// A killed process's lock is free at once: the next renewal does not wait for any
// timeout.
func TestLockOfKilledProcessIsFree(t *testing.T) {
	m := newMachine(t, lab.NoneFirst())
	m.expire()
	gate := m.lab.Hold("token:refresh:received")
	holder := m.start(job{Do: "call"})
	m.held(gate)
	waiter := m.start(job{Do: "call"})
	waiter.await("lock:refresh")
	killed := time.Now()
	holder.signal(syscall.SIGKILL)
	holder.killed()
	waiter.await("locked:refresh")
	took := time.Since(killed)
	t.Logf("the lock was free after %v", took.Round(time.Millisecond))
	if took > 10*time.Second {
		t.Errorf("the lock of a killed process was free only after %v", took)
	}
	// The held request goes on although its client is gone, and would be first.
	waiter.signal(syscall.SIGKILL)
	waiter.killed()
}

// aboutToExpire puts the access token into the last tenth of its life.
func (m *machine) aboutToExpire() {
	m.t.Helper()
	rec := m.record()
	rec.Grant.ObtainedAt = time.Now().Add(-time.Hour)
	rec.Grant.ExpiresAt = time.Now().Add(20 * time.Second)
	m.put(m.store, rec)
}

func (m *machine) put(s store.Store, rec *record.Record) {
	m.t.Helper()
	if err := record.Put(m.t.Context(), s, rec); err != nil {
		m.t.Fatal(err)
	}
}
