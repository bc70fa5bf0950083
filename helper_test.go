//go:build unix

package handstamp_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

// eventually waits for a condition that another process brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patient); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patient)
		}
	}
}

// A process is killed, with all of its group, while the server has rotated the
// token and told nobody. Its helper stores the answer: at a server that forgives
// nothing, the login lives. Done in the process itself it would be lost, as
// TestKilledAt shows.
func TestHelperOutlivesItsProcess(t *testing.T) {
	m := newMachine(t, lab.NoneFirst())
	m.expire()
	before := m.record()
	gate := m.lab.Hold("token:refresh:committed")
	p := m.start(job{Do: "call", Helper: true})
	m.held(gate)
	p.signal(syscall.SIGKILL)
	p.killed()
	gate.Release()
	eventually(t, "the rotated token on the disk", func() bool {
		rec := m.stored()
		return rec.Grant.RefreshToken != before.Grant.RefreshToken && rec.Intent == nil
	})
	m.lab.Reset()
	m.mustRun()
	m.wantCounts(map[string]int{"mcp": 1, "token:refresh": 0})
	m.wantTabs(1)
}

// One helper is enough for any number of processes.
func TestHelperOfManyProcesses(t *testing.T) {
	m := newMachine(t, lab.NoneFirst())
	m.expire()
	m.lab.SetFault("token:refresh", lab.Fault{Kind: lab.FaultDelay, Delay: 200 * time.Millisecond})
	var all []*process
	for range 20 {
		all = append(all, m.start(job{Do: "call", Helper: true}))
	}
	for _, p := range all {
		if err := p.outcome(); err != nil {
			t.Errorf("a process: %v", err)
		}
	}
	m.wantCounts(map[string]int{"token:refresh": 1})
	if a := m.lab.Audit(); a.Reuses != 0 {
		t.Errorf("%d reuses", a.Reuses)
	}
	m.wantTabs(1)
}

// What happens in a helper is told as if it had happened here: hooks, kinds of
// errors, and what they say.
func TestHelperTells(t *testing.T) {
	m := newMachine(t, lab.NoneFirst())
	session := func(h *handstamp.RefreshHelper) (*handstamp.Client, *[]handstamp.RefreshEvent) {
		c := m.session()
		var events []handstamp.RefreshEvent
		c.RefreshHelper, c.LoginPolicy = h, handstamp.LoginNever
		c.Hooks.Refreshed = func(e handstamp.RefreshEvent) { events = append(events, e) }
		return c, &events
	}
	helper := helperOf(job{Dir: m.dir})

	m.expire()
	c, events := session(helper)
	m.mustCall(c)
	if len(*events) != 1 || !(*events)[0].Rotated || (*events)[0].Err != nil || (*events)[0].Issuer != m.lab.Issuer() {
		t.Errorf("events %+v", *events)
	}

	m.expire()
	m.lab.SetFault("token:refresh", lab.Fault{Kind: lab.FaultStatus, Status: 503, RetryAfter: "60"})
	c, _ = session(helper)
	err := m.call(c)
	var known *handstamp.Error
	if !errors.Is(err, handstamp.ErrUnreachable) || !errors.As(err, &known) || time.Until(known.RetryAt) < 30*time.Second || known.Server != m.lab.MCPURL() {
		t.Errorf("503: %v", err)
	}
	here := m.session()
	here.LoginPolicy = handstamp.LoginNever
	if same := m.call(here); same == nil || err == nil || same.Error() != err.Error() {
		t.Errorf("a helper's error is %q, one of this process %q", err, same)
	}

	m.lab.SetFault("token:refresh")
	rec := m.record()
	rec.Retry = nil
	m.put(m.store, rec)
	m.lab.RevokeFamilies()
	c, _ = session(helper)
	if err := m.call(c); !errors.Is(err, handstamp.ErrLoginRequired) {
		t.Errorf("a dead grant: %v", err)
	}
	m.wantTabs(1)
}

// Where no helper can be had, the work is done here.
func TestNoHelper(t *testing.T) {
	for name, command := range map[string][]string{
		"none": nil, "missing": {"/no/such/program"}, "ends": {"/bin/true"}, "talks": {"/bin/echo", "hello"}, "other": {"/bin/cat"}, "silent": {"/bin/sleep", "30"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, lab.NoneFirst())
			m.expire()
			c := m.session()
			c.RefreshHelper = &handstamp.RefreshHelper{Command: command, Logins: true}
			m.mustCall(c)
			m.wantCounts(map[string]int{"token:refresh": 1})
			m.lab.RevokeFamilies()
			m.lab.RevokeAccessTokens()
			m.mustCall(c)
			m.wantTabs(2)
		})
	}
}

// A process that waits for a person is killed; the login that it has begun goes
// on, and those who wait for it have its result: one tab for all.
func TestHelperSignsIn(t *testing.T) {
	m := emptyMachine(t, lab.NoneFirst())
	gate := m.lab.Hold("authorize:received")
	p := m.start(job{Do: "call", Helper: true, Login: true})
	p.await("shown")
	m.held(gate)
	other := m.start(job{Do: "call", Helper: true, Login: true})
	other.await("waiting")
	p.signal(syscall.SIGKILL)
	p.killed()
	third := m.start(job{Do: "call", Helper: true, Login: true})
	third.await("waiting")
	gate.Release()
	for _, p := range []*process{other, third} {
		if err := p.outcome(); err != nil {
			t.Errorf("a process that waited: %v", err)
		}
	}
	m.wantCounts(map[string]int{"authorize": 1, "token:code": 1, "register": 1})
}

// Those who wait for a login that a person declines do not ask the person again,
// one after the other.
func TestDeclinedLoginOfManyProcesses(t *testing.T) {
	for name, helper := range map[string]bool{"here": false, "in a helper": true} {
		t.Run(name, func(t *testing.T) {
			m := emptyMachine(t, lab.Habits{Consent: lab.ConsentDeny})
			gate := m.lab.Hold("authorize:received")
			first := m.start(job{Do: "call", Helper: helper, Login: true})
			m.held(gate)
			var others []*process
			for range 3 {
				others = append(others, m.start(job{Do: "call", Helper: helper, Login: true}))
			}
			for _, p := range others {
				if helper {
					p.await("waiting")
				} else {
					p.await("lock:login")
				}
			}
			gate.Release()
			for _, p := range append(others, first) {
				if err := p.outcome(); !errors.Is(err, handstamp.ErrDenied) {
					t.Errorf("error %v, want ErrDenied", err)
				}
			}
			m.wantCounts(map[string]int{"authorize": 1})
			// Somebody who comes later is asked.
			c := m.session()
			if _, err := c.Login(context.Background(), m.lab.MCPURL(), handstamp.LoginOptions{}); !errors.Is(err, handstamp.ErrDenied) {
				t.Errorf("error %v, want ErrDenied", err)
			}
			m.wantTabs(1)
		})
	}
}
