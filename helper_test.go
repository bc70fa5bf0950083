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
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// eventually waits for a condition that another process brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	proctest.Wait(t, testenv.Timeout, what, ok)
}

// maxLateHelpers is how often a test starts again because the machine was too busy to start a helper
// in the time that one is given: the process does the work itself then.
const maxLateHelpers = 10

// killedBesideItsHelper returns an environment in which a process was killed while the server had
// carried out the refresh of its helper and not yet responded, and the record from before. The
// server has responded since.
func killedBesideItsHelper(t *testing.T, h lab.Habits) (m *testenv.Env, before *record.Record) {
	t.Helper()
	for range maxLateHelpers {
		m = testenv.NewOnDisk(t, h)
		m.Expire()
		before = m.Record()
		gate, p := m.StartHeld("token:refresh:committed", testenv.Job{Do: "call", Helper: true})
		p.Signal(syscall.SIGKILL)
		p.Killed()
		gate.Release()
		if !slices.Contains(p.Said, "locked:"+string(store.LockRefresh)) {
			return m, before
		}
	}
	t.Fatalf("%d processes refreshed without a helper", maxLateHelpers)
	return nil, nil
}

// A process is killed, with all of its group, while the server has rotated the
// token and not yet responded. Its helper stores the response: at a server that forgives
// nothing, the login lives. Done in the process itself it would be lost, as
// TestKilledAt shows.
func TestHelperOutlivesItsProcess(t *testing.T) {
	m, before := killedBesideItsHelper(t, lab.NoneFirst())
	eventually(t, "the rotated token on the disk", func() bool {
		rec := m.StoredRecord()
		return rec.Grant.RefreshToken != before.Grant.RefreshToken && rec.Intent == nil
	})
	m.Lab.Reset()
	m.MustRun()
	m.WantCounts(map[string]int{"mcp": 1, "token:refresh": 0})
	m.WantTabs(1)
}

// A helper proves possession with the key of the credential, and stores the nonces that it got.
func TestHelperOfBoundToken(t *testing.T) {
	m, _ := killedBesideItsHelper(t, lab.Habits{DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPRequired, ServerNonce: 2, ResourceNonce: 5}})
	eventually(t, "the rotated token on the disk", func() bool { return m.StoredRecord().Intent == nil })
	m.MustRun()
	m.Expire()
	m.MustRun()
	m.WantTabs(1)
	if audit := m.Lab.Audit(); audit.ProofReuses != 0 || audit.Downgrades != 0 {
		t.Errorf("%+v", audit)
	}
}

// One helper is enough for any number of processes.
func TestHelperOfManyProcesses(t *testing.T) {
	m := testenv.NewOnDisk(t, lab.NoneFirst())
	m.Expire()
	m.Lab.SetFault("token:refresh", lab.Fault{Kind: lab.FaultDelay, Delay: 200 * time.Millisecond})
	var all []*testenv.Process
	for range 20 {
		all = append(all, m.Start(testenv.Job{Do: "call", Helper: true}))
	}
	for _, p := range all {
		if err := p.Outcome(); err != nil {
			t.Errorf("a process: %v", err)
		}
	}
	m.WantCounts(map[string]int{"token:refresh": 1})
	if a := m.Lab.Audit(); a.Reuses != 0 {
		t.Errorf("%d reuses", a.Reuses)
	}
	m.WantTabs(1)
}

// A token that is refreshed ahead is refreshed by the helper, too, and once.
func TestHelperRefreshesAhead(t *testing.T) {
	m := testenv.NewOnDisk(t, lab.NoneFirst())
	rec := m.Record()
	rec.Grant.ObtainedAt, rec.Grant.ExpiresAt = time.Now().Add(-56*time.Minute), time.Now().Add(4*time.Minute)
	m.Put(rec)
	c := m.Session()
	c.RefreshHelper = testenv.HelperOf(testenv.Job{Dir: m.Dir})
	for range 2 {
		if busy, err := c.RefreshAhead(t.Context(), m.Lab.MCPURL()); err != nil || !busy.IsZero() {
			t.Errorf("%v, %v", busy, err)
		}
	}
	m.WantCounts(map[string]int{"token:refresh": 1})
	if m.Record().Grant.RefreshToken == rec.Grant.RefreshToken {
		t.Error("the old refresh token is stored")
	}
}

// What happens in a helper is reported as if it had happened here: hooks are called,
// and errors have the same kinds and messages.
func TestHelperReportsWhatHappens(t *testing.T) {
	m := testenv.NewOnDisk(t, lab.NoneFirst())
	session := func(h *handstamp.RefreshHelper) (*handstamp.Client, *[]handstamp.RefreshEvent) {
		c := m.Session()
		var events []handstamp.RefreshEvent
		c.RefreshHelper, c.LoginPolicy = h, handstamp.LoginNever
		c.Hooks.Refreshed = func(e handstamp.RefreshEvent) { events = append(events, e) }
		return c, &events
	}
	helper := testenv.HelperOf(testenv.Job{Dir: m.Dir})

	m.Expire()
	c, events := session(helper)
	m.MustCall(c)
	if len(*events) != 1 || !(*events)[0].Rotated || (*events)[0].Err != nil || (*events)[0].Issuer != m.Lab.Issuer() {
		t.Errorf("events %+v", *events)
	}

	m.Expire()
	m.Lab.SetFault("token:refresh", lab.Fault{Kind: lab.FaultStatus, Status: 503, RetryAfter: "60"})
	c, _ = session(helper)
	err := m.Call(c)
	var known *handstamp.Error
	if !errors.Is(err, handstamp.ErrUnreachable) || !errors.As(err, &known) || time.Until(known.RetryAt) < 30*time.Second || known.Server != m.Lab.MCPURL() {
		t.Errorf("503: %v", err)
	}
	here := m.Session()
	here.LoginPolicy = handstamp.LoginNever
	if same := m.Call(here); same == nil || err == nil || same.Error() != err.Error() {
		t.Errorf("a helper's error is %q, one of this process %q", err, same)
	}

	m.Lab.SetFault("token:refresh")
	rec := m.Record()
	rec.Retry = nil
	m.PutIn(m.Store, rec)
	m.Lab.RevokeFamilies()
	c, _ = session(helper)
	if err := m.Call(c); !errors.Is(err, handstamp.ErrLoginRequired) {
		t.Errorf("a dead grant: %v", err)
	}
	m.WantTabs(1)
}

// Where no helper can be had, the work is done here.
func TestNoHelper(t *testing.T) {
	t.Parallel()
	for name, command := range map[string][]string{
		"none": nil, "missing": {"/no/such/program"}, "ends": {"/bin/true"}, "talks": {"/bin/echo", "hello"}, "other": {"/bin/cat"}, "silent": {"/bin/sleep", "30"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "silent" && testing.Short() {
				t.Skip("it takes the 15 seconds that a helper is given to begin")
			}
			t.Parallel()
			m := testenv.NewOnDisk(t, lab.NoneFirst())
			m.Expire()
			c := m.Session()
			c.RefreshHelper = &handstamp.RefreshHelper{Command: command, Logins: true}
			m.MustCall(c)
			m.WantCounts(map[string]int{"token:refresh": 1})
			m.Lab.RevokeFamilies()
			m.Lab.RevokeAccessTokens()
			m.MustCall(c)
			m.WantTabs(2)
		})
	}
}

// A process that waits for a user is killed; the login that it has begun goes
// on, and those who wait for it have its result: one tab for all.
func TestHelperSignsIn(t *testing.T) {
	for range maxLateHelpers {
		if helperSignsIn(t) {
			return
		}
	}
	t.Fatalf("%d processes signed in without a helper", maxLateHelpers)
}

// helperSignsIn reports false if the first process had no helper in time.
func helperSignsIn(t *testing.T) bool {
	t.Helper()
	m := testenv.NewEmptyOnDisk(t, lab.NoneFirst())
	gate := m.Lab.Hold("authorize:received")
	defer gate.Release()
	p := m.Start(testenv.Job{Do: "call", Helper: true, Login: true})
	p.Await("shown")
	m.Held(gate)
	other := m.Start(testenv.Job{Do: "call", Helper: true, Login: true})
	other.Await("waiting")
	p.Signal(syscall.SIGKILL)
	p.Killed()
	if slices.Contains(p.Said, "locked:"+string(store.LockLogin)) {
		gate.Release()
		_ = other.Outcome() // so that nothing writes to the folder any more
		return false
	}
	third := m.Start(testenv.Job{Do: "call", Helper: true, Login: true})
	third.Await("waiting")
	gate.Release()
	for _, p := range []*testenv.Process{other, third} {
		if err := p.Outcome(); err != nil {
			t.Errorf("a process that waited: %v", err)
		}
	}
	m.WantCounts(map[string]int{"authorize": 1, "token:code": 1, "register": 1})
	return true
}

// Those who wait for a login that a user declines do not ask the user again,
// one after the other.
func TestDeclinedLoginOfManyProcesses(t *testing.T) {
	for name, helper := range map[string]bool{"here": false, "in a helper": true} {
		t.Run(name, func(t *testing.T) {
			m := testenv.NewEmptyOnDisk(t, lab.Habits{Consent: lab.ConsentDeny})
			gate, first := m.StartHeld("authorize:received", testenv.Job{Do: "call", Helper: helper, Login: true})
			var others []*testenv.Process
			for range 3 {
				others = append(others, m.Start(testenv.Job{Do: "call", Helper: helper, Login: true}))
			}
			for _, p := range others {
				if helper {
					p.Await("waiting")
				} else {
					p.Await("lock:login")
				}
			}
			gate.Release()
			for _, p := range append(others, first) {
				if err := p.Outcome(); !errors.Is(err, handstamp.ErrDenied) {
					t.Errorf("error %v, want ErrDenied", err)
				}
			}
			m.WantCounts(map[string]int{"authorize": 1})
			// A later login does open a browser.
			c := m.Session()
			if _, err := c.Login(context.Background(), m.Lab.MCPURL(), handstamp.LoginOptions{}); !errors.Is(err, handstamp.ErrDenied) {
				t.Errorf("error %v, want ErrDenied", err)
			}
			m.WantTabs(1)
		})
	}
}
