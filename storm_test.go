//go:build unix

package handstamp_test

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
)

// Many processes need a new token at the same moment: one of them gets it, for
// all. The test catches a renewal without the lock, without a second look under
// it, and one that spends the refresh token a process remembers.
func TestManyProcessesOneRefresh(t *testing.T) {
	const processes = 20
	for name, spoil := range age {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, lab.NoneFirst())
			spoil(m.world)
			m.lab.Reset()
			gate := m.lab.Hold("token:refresh:received")
			var waiting []*process
			for range processes {
				waiting = append(waiting, m.start(job{Do: "call"}))
			}
			m.held(gate)
			for _, p := range waiting {
				p.await("lock:refresh")
			}
			released := time.Now()
			gate.Release()
			for i, p := range waiting {
				if err := p.outcome(); err != nil {
					t.Errorf("process %d: %v", i, err)
				}
			}
			t.Logf("all %d processes were through %v after the answer", processes, time.Since(released).Round(time.Millisecond))
			m.wantCounts(map[string]int{"token:refresh": 1, "authorize": 0, "token:code": 0})
			if a := m.lab.Audit(); a.Reuses != 0 || a.FamiliesRevoked != 0 {
				t.Errorf("%d reuses, %d families revoked\n%s", a.Reuses, a.FamiliesRevoked, m.diary())
			}
			m.wantTabs(1)
		})
	}
}

// Long-lived processes with a token in memory sleep and wake together, the token
// gone meanwhile. The test catches a refresh from memory.
func TestManyProcessesWakeTogether(t *testing.T) {
	processes := 20
	if long() {
		processes = 50
	}
	m := newMachine(t, lab.NoneFirst())
	var asleep []*process
	for range processes {
		asleep = append(asleep, m.start(job{Do: "idle"}))
	}
	for _, p := range asleep {
		p.await("idle")
		p.signal(syscall.SIGSTOP)
		p.tell("again")
	}
	m.lab.RevokeAccessTokens()
	m.lab.Reset()
	for _, p := range asleep {
		p.signal(syscall.SIGCONT)
	}
	for _, p := range asleep {
		p.await("idle")
		p.input.Close()
		if err := p.outcome(); err != nil {
			t.Error(err)
		}
	}
	m.wantCounts(map[string]int{"token:refresh": 1, "authorize": 0})
	if a := m.lab.Audit(); a.Reuses != 0 {
		t.Errorf("%d reuses\n%s", a.Reuses, m.diary())
	}
}

// When the login itself is gone, one process asks the person, for all. The test
// catches a tab for each process, and a login that is thrown away by another.
func TestManyProcessesOneTab(t *testing.T) {
	const processes = 20
	m := newMachine(t, lab.NoneFirst())
	m.lab.RevokeFamilies()
	m.lab.Reset()
	gate := m.lab.Hold("authorize:received")
	var waiting []*process
	for range processes {
		waiting = append(waiting, m.start(job{Do: "call", Login: true}))
	}
	m.held(gate)
	for _, p := range waiting {
		p.await("lock:login")
	}
	gate.Release()
	for i, p := range waiting {
		if err := p.outcome(); err != nil {
			t.Errorf("process %d: %v", i, err)
		}
	}
	m.wantCounts(map[string]int{"authorize": 1, "token:code": 1, "register": 0, "token:refresh": 1})
}

// A process that slept through three renewals holds a refresh token that must
// not be sent any more. The test catches a renewal from memory, which a server
// with reuse detection answers by ending the login.
func TestIdleProcessReadsAgain(t *testing.T) {
	m := newMachine(t, lab.NoneFirst())
	idle := m.start(job{Do: "idle"})
	idle.await("idle")
	for range 3 {
		m.lab.RevokeAccessTokens()
		m.mustRun()
	}
	m.lab.Reset()
	idle.tell("again")
	idle.await("idle")
	m.wantCounts(map[string]int{"token:refresh": 0})

	// And when it is the first to need a new one, it spends the newest.
	m.lab.RevokeAccessTokens()
	idle.tell("again")
	idle.await("idle")
	m.wantCounts(map[string]int{"token:refresh": 1})
	if a := m.lab.Audit(); a.Reuses != 0 || a.Refreshes != 1 {
		t.Errorf("%d reuses in %d refreshes\n%s", a.Reuses, a.Refreshes, m.diary())
	}
	m.wantTabs(1)
}

// A tool that knows nothing of the lock renews the same login, and is first. The
// refusal of our own request is then no reason to give up: the newer token is in
// the store. The test catches a refusal that wipes what another has written.
func TestForeignRenewal(t *testing.T) {
	m := newMachine(t, lab.Habits{Rotation: lab.RotateStrictKeep})
	m.expire()
	gate := m.lab.Hold("token:refresh:received")
	m.lab.SetFault("token", lab.Fault{Kind: lab.FaultStatus, Status: 400, ContentType: "application/json", Body: `{"error":"invalid_grant"}`})
	ours := m.start(job{Do: "call"})
	m.held(gate)
	rec := m.record()
	foreign := m.lab.Issue(rec.Grant.ClientID, rec.Grant.Resource.Value, "")
	rec.Grant.AccessToken, rec.Grant.RefreshToken = secret.String(foreign.Access), secret.String(foreign.Refresh)
	rec.Grant.ExpiresAt = foreign.Expires
	if err := record.Put(t.Context(), m.store, rec); err != nil {
		t.Fatal(err)
	}
	gate.Release()
	if err := ours.outcome(); err != nil {
		t.Errorf("%v\n%s", err, m.diary())
	}
	if after := m.record(); after.Grant.RefreshToken.Reveal() != foreign.Refresh {
		t.Error("the foreign tool's token was not kept")
	}
	m.wantTabs(1)
}

// Two terminals sign in at once: one tab, both signed in. The test catches a
// login without the claim, and one that does not use the result it waited for.
func TestTwoLoginsOneTab(t *testing.T) {
	m := emptyMachine(t, lab.NoneFirst())
	gate := m.lab.Hold("authorize:received")
	first := m.start(job{Do: "login"})
	m.held(gate)
	second := m.start(job{Do: "login"})
	second.await("lock:login")
	gate.Release()
	for _, p := range []*process{first, second} {
		if err := p.outcome(); err != nil {
			t.Errorf("%v\n%s", err, m.diary())
		}
	}
	m.wantCounts(map[string]int{"authorize": 1, "register": 1, "token:code": 1})
	m.mustRun()
}

// The process that asks the person dies: the next one asks. The test catches a
// claim that outlives its process.
func TestKilledLoginIsTakenOver(t *testing.T) {
	m := emptyMachine(t, lab.NoneFirst())
	gate := m.lab.Hold("authorize:received")
	first := m.start(job{Do: "login"})
	m.held(gate)
	second := m.start(job{Do: "login"})
	second.await("lock:login")
	first.signal(syscall.SIGKILL)
	first.killed()
	m.held(gate) // the second one's tab
	gate.Release()
	if err := second.outcome(); err != nil {
		t.Errorf("%v\n%s", err, m.diary())
	}
	m.wantCounts(map[string]int{"authorize": 2, "token:code": 1})
	m.mustRun()
}

// Another process signs out, or signs in anew, while a renewal is under way. The
// test catches a late answer that overwrites the newer decision.
func TestRenewalMeetsLogoutAndLogin(t *testing.T) {
	t.Run("logout", func(t *testing.T) {
		m := newMachine(t, lab.NoneFirst())
		m.expire()
		gate := m.lab.Hold("token:refresh:committed")
		busy := m.start(job{Do: "call"})
		m.held(gate)
		if _, err := m.session().Logout(t.Context(), m.lab.MCPURL(), handstamp.LogoutOptions{NoRevoke: true}); err != nil {
			t.Fatal(err)
		}
		gate.Release()
		if err := busy.outcome(); !errors.Is(err, handstamp.ErrLoginRequired) {
			t.Errorf("error %v, want ErrLoginRequired", err)
		}
		if status, err := m.session().Status(t.Context(), m.lab.MCPURL()); err != nil || status.State != handstamp.StateNone {
			t.Errorf("status %+v, %v after logout", status, err)
		}
		m.wantCounts(map[string]int{"revoke": 1}) // what the renewal brought
		if a := m.lab.Audit(); !a.Families[0].Revoked {
			t.Error("a token that nobody holds any more is still good")
		}
	})
	t.Run("login", func(t *testing.T) {
		m := newMachine(t, lab.NoneFirst())
		m.expire()
		gate := m.lab.Hold("token:refresh:committed")
		busy := m.start(job{Do: "call"})
		m.held(gate)
		if _, err := m.session().Login(t.Context(), m.lab.MCPURL(), handstamp.LoginOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
		anew := m.record().Grant
		gate.Release()
		if err := busy.outcome(); err != nil {
			t.Errorf("%v\n%s", err, m.diary())
		}
		if after := m.record().Grant; after == nil || after.RefreshToken != anew.RefreshToken || after.AccessToken != anew.AccessToken {
			t.Error("the new login was overwritten by the renewal of the old one")
		}
		m.wantTabs(2)
		m.lab.RevokeAccessTokens()
		m.mustRun() // the new login renews
	})
}
