//go:build unix

package process_test

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
)

// Many processes need a new token at the same moment: one of them gets it, for
// all. The test catches a refresh without the lock, without a second look under
// it, and one that uses the refresh token a process remembers.
func TestManyProcessesOneRefresh(t *testing.T) {
	const processes = 20
	for name, spoil := range testenv.Unusable {
		t.Run(name, func(t *testing.T) {
			m := testenv.NewOnDisk(t, lab.NoneFirst())
			spoil(m)
			m.Lab.Reset()
			gate := m.Lab.Hold("token:refresh:received")
			var waiting []*testenv.Process
			for range processes {
				waiting = append(waiting, m.Start(testenv.Job{Do: "call"}))
			}
			m.Held(gate)
			for _, p := range waiting {
				p.Await("lock:refresh")
			}
			released := time.Now()
			gate.Release()
			for i, p := range waiting {
				if err := p.Outcome(); err != nil {
					t.Errorf("process %d: %v", i, err)
				}
			}
			t.Logf("all %d processes were through %v after the response", processes, time.Since(released).Round(time.Millisecond))
			m.WantCounts(map[string]int{"token:refresh": 1, "authorize": 0, "token:code": 0})
			if a := m.Lab.Audit(); a.Reuses != 0 || a.FamiliesRevoked != 0 {
				t.Errorf("%d reuses, %d families revoked\n%s", a.Reuses, a.FamiliesRevoked, m.Diary())
			}
			m.WantTabs(1)
		})
	}
}

// Long-lived processes with a token in memory sleep and wake together, the token
// gone meanwhile. The test catches a refresh from memory.
func TestManyProcessesWakeTogether(t *testing.T) {
	processes := 20
	if testenv.Long() {
		processes = 50
	}
	m := testenv.NewOnDisk(t, lab.NoneFirst())
	var asleep []*testenv.Process
	for range processes {
		asleep = append(asleep, m.Start(testenv.Job{Do: "idle"}))
	}
	for _, p := range asleep {
		p.Await("idle")
		p.Signal(syscall.SIGSTOP)
		p.Tell("again")
	}
	m.Lab.RevokeAccessTokens()
	m.Lab.Reset()
	for _, p := range asleep {
		p.Signal(syscall.SIGCONT)
	}
	for _, p := range asleep {
		p.Await("idle")
		p.Input.Close()
		if err := p.Outcome(); err != nil {
			t.Error(err)
		}
	}
	m.WantCounts(map[string]int{"token:refresh": 1, "authorize": 0})
	if a := m.Lab.Audit(); a.Reuses != 0 {
		t.Errorf("%d reuses\n%s", a.Reuses, m.Diary())
	}
}

// When the login itself is gone, one process asks the user, for all. The test
// catches a tab for each process, and a login that is thrown away by another.
func TestManyProcessesOneTab(t *testing.T) {
	const processes = 20
	m := testenv.NewOnDisk(t, lab.NoneFirst())
	m.Lab.RevokeFamilies()
	m.Lab.Reset()
	gate := m.Lab.Hold("authorize:received")
	var waiting []*testenv.Process
	for range processes {
		waiting = append(waiting, m.Start(testenv.Job{Do: "call", Login: true}))
	}
	m.Held(gate)
	for _, p := range waiting {
		p.Await("lock:login")
	}
	gate.Release()
	for i, p := range waiting {
		if err := p.Outcome(); err != nil {
			t.Errorf("process %d: %v", i, err)
		}
	}
	m.WantCounts(map[string]int{"authorize": 1, "token:code": 1, "register": 0, "token:refresh": 1})
}

// A process that slept through three refreshes holds a refresh token that must
// not be sent any more. The test catches a refresh from memory, which a server
// with reuse detection reacts by revoking the login.
func TestIdleProcessReadsAgain(t *testing.T) {
	m := testenv.NewOnDisk(t, lab.NoneFirst())
	idle := m.Start(testenv.Job{Do: "idle"})
	idle.Await("idle")
	for range 3 {
		m.Lab.RevokeAccessTokens()
		m.MustRun()
	}
	m.Lab.Reset()
	idle.Tell("again")
	idle.Await("idle")
	m.WantCounts(map[string]int{"token:refresh": 0})

	// And when it is the first to need a new one, it uses the newest.
	m.Lab.RevokeAccessTokens()
	idle.Tell("again")
	idle.Await("idle")
	m.WantCounts(map[string]int{"token:refresh": 1})
	if a := m.Lab.Audit(); a.Reuses != 0 || a.Refreshes != 1 {
		t.Errorf("%d reuses in %d refreshes\n%s", a.Reuses, a.Refreshes, m.Diary())
	}
	m.WantTabs(1)
}

// A tool that knows nothing of the lock refreshes the same login, and is first. The
// rejection of our own request is then no reason to give up: the newer token is in
// the store. The test catches a rejection that wipes what another has written.
func TestForeignRefresh(t *testing.T) {
	m := testenv.NewOnDisk(t, lab.Habits{Rotation: lab.RotateStrictKeep})
	m.Expire()
	gate := m.Lab.Hold("token:refresh:received")
	m.Lab.SetFault("token", lab.Fault{Kind: lab.FaultStatus, Status: 400, ContentType: "application/json", Body: `{"error":"invalid_grant"}`})
	ours := m.Start(testenv.Job{Do: "call"})
	m.Held(gate)
	rec := m.Record()
	foreign := m.Lab.Issue(rec.Grant.ClientID, rec.Grant.Resource.Value, "")
	rec.Grant.AccessToken, rec.Grant.RefreshToken = secret.String(foreign.Access), secret.String(foreign.Refresh)
	rec.Grant.ExpiresAt = foreign.Expires
	if err := record.Put(t.Context(), m.Store, rec); err != nil {
		t.Fatal(err)
	}
	gate.Release()
	if err := ours.Outcome(); err != nil {
		t.Errorf("%v\n%s", err, m.Diary())
	}
	if after := m.Record(); after.Grant.RefreshToken.Reveal() != foreign.Refresh {
		t.Error("the foreign tool's token was not kept")
	}
	m.WantTabs(1)
}

// Two terminals sign in at once: one tab, both signed in. The test catches a
// login without the claim, and one that does not use the result it waited for.
func TestTwoLoginsOneTab(t *testing.T) {
	m := testenv.NewEmptyOnDisk(t, lab.NoneFirst())
	gate, first := m.StartHeld("authorize:received", testenv.Job{Do: "login"})
	second := m.Start(testenv.Job{Do: "login"})
	second.Await("lock:login")
	gate.Release()
	for _, p := range []*testenv.Process{first, second} {
		if err := p.Outcome(); err != nil {
			t.Errorf("%v\n%s", err, m.Diary())
		}
	}
	m.WantCounts(map[string]int{"authorize": 1, "register": 1, "token:code": 1})
	m.MustRun()
}

// The process that asks the user dies: the next one asks. The test catches a
// claim that outlives its process.
func TestKilledLoginIsTakenOver(t *testing.T) {
	m := testenv.NewEmptyOnDisk(t, lab.NoneFirst())
	gate, first := m.StartHeld("authorize:received", testenv.Job{Do: "login"})
	second := m.Start(testenv.Job{Do: "login"})
	second.Await("lock:login")
	first.Signal(syscall.SIGKILL)
	first.Killed()
	m.Held(gate) // the second one's tab
	gate.Release()
	if err := second.Outcome(); err != nil {
		t.Errorf("%v\n%s", err, m.Diary())
	}
	m.WantCounts(map[string]int{"authorize": 2, "token:code": 1})
	m.MustRun()
}

// Another process signs out, or signs in again, while a refresh is under way. The
// test catches a late response that overwrites the newer decision.
func TestRefreshMeetsLogoutAndLogin(t *testing.T) {
	t.Run("logout", func(t *testing.T) {
		m := testenv.NewOnDisk(t, lab.NoneFirst())
		m.Expire()
		gate, busy := m.StartHeld("token:refresh:committed", testenv.Job{Do: "call"})
		if _, err := m.Session().Logout(t.Context(), m.Lab.MCPURL(), handstamp.LogoutOptions{NoRevoke: true}); err != nil {
			t.Fatal(err)
		}
		gate.Release()
		if err := busy.Outcome(); !errors.Is(err, handstamp.ErrLoginRequired) {
			t.Errorf("error %v, want ErrLoginRequired", err)
		}
		if status, err := m.Session().Status(t.Context(), m.Lab.MCPURL()); err != nil || status.State != handstamp.StateNone {
			t.Errorf("status %+v, %v after logout", status, err)
		}
		m.WantCounts(map[string]int{"revoke": 1}) // what the refresh brought
		if a := m.Lab.Audit(); !a.Families[0].Revoked {
			t.Error("a token that no process holds any more is still good")
		}
	})
	t.Run("login", func(t *testing.T) {
		m := testenv.NewOnDisk(t, lab.NoneFirst())
		m.Expire()
		gate, busy := m.StartHeld("token:refresh:committed", testenv.Job{Do: "call"})
		if _, err := m.Session().Login(t.Context(), m.Lab.MCPURL(), handstamp.LoginOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
		anew := m.Record().Grant
		gate.Release()
		if err := busy.Outcome(); err != nil {
			t.Errorf("%v\n%s", err, m.Diary())
		}
		if after := m.Record().Grant; after == nil || after.RefreshToken != anew.RefreshToken || after.AccessToken != anew.AccessToken {
			t.Error("the new login was overwritten by the refresh of the old one")
		}
		m.WantTabs(2)
		m.Lab.RevokeAccessTokens()
		m.MustRun() // the new login refreshes
	})
}
