//go:build unix

package process_test

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// A crashPoint is where a refresh is killed, in the order of a refresh.
type crashPoint struct {
	name string
	at   string // a point of the worker

	// used: the server may have replaced the refresh token, and the response is
	// not in the record.
	used bool

	// saved: the response is in the record.
	saved bool
}

// committed is the point that only the server knows: it has replaced the refresh
// token and not yet responded.
const committed = "committed by the server"

var crashPoints = []crashPoint{
	{name: "lock acquired", at: "locked:refresh"},
	{name: "space about to be taken", at: "space:reserve"},
	{name: "space reserved", at: "reserved"},
	{name: "intent half-way", at: "intent:sync"},
	{name: "intent written", at: "intent:rename"},
	{name: "intent in place", at: "intent:syncdir"},
	{name: "intent durable", at: "stored:intent"},
	{name: "connected", at: "connected"},
	{name: "request partly sent", at: "half sent"},
	{name: "server committed", at: committed, used: true},
	{name: "response received", at: "received", used: true},
	{name: "response half-way", at: "response:sync", used: true},
	{name: "response written", at: "response:rename", used: true},
	{name: "response in place", at: "response:syncdir", saved: true},
	{name: "response durable", at: "response:done", saved: true},
	{name: "response read", at: "final:create", saved: true},
	{name: "result written", at: "final:rename", saved: true},
	{name: "result in place", at: "final:syncdir", saved: true},
	{name: "result stored", at: "stored:final", saved: true},
	{name: "lock released", at: "unlocked:refresh", saved: true},
}

// rotations are what servers do with a refresh token, and whether they forgive
// one that comes again.
var rotations = []struct {
	name     string
	forgives bool
}{
	{lab.RotateGrace, true}, {lab.RotateSame, true}, {lab.RotateUntilUsed, true}, {lab.RotateNone, true},
	{lab.RotateStrict, false}, {lab.RotateStrictKeep, false},
}

// A process is killed at each point of a refresh. The next one goes on without a
// user, except where the server replaced the token, forgives nothing, and the
// response was not on the disk yet: then the error names the interrupted refresh, and one
// login with the same client heals it. The test catches a response that is
// interpreted before it is saved, an intent that is not written, not read or
// taken for a reason to give up, a saved response that is not used, and a lock that
// outlives its process.
func TestKilledAtEachPoint(t *testing.T) {
	testenv.WithoutRaceDetector(t, "TestKilledWithUnexpiredToken has each point with it")
	for _, rotation := range rotations {
		if testing.Short() && rotation.name != lab.RotateSame && rotation.name != lab.RotateStrictKeep {
			continue // TestKilledWithUnexpiredToken has two others
		}
		for _, point := range crashPoints {
			t.Run(rotation.name+"/"+point.name, func(t *testing.T) {
				t.Parallel()
				m := testenv.NewOnDisk(t, lab.Habits{Rotation: rotation.name, Grace: time.Minute})
				m.Expire()
				crash(m, point)
				goesOn(m, point, rotation.forgives)
			})
		}
	}
}

// The same with an access token that the server rejects although it has not
// expired: what an interrupted refresh leaves behind then looks good.
func TestKilledWithUnexpiredToken(t *testing.T) {
	for _, rotation := range []struct {
		name     string
		forgives bool
	}{{lab.RotateGrace, true}, {lab.RotateStrict, false}} {
		for _, point := range crashPoints {
			t.Run(rotation.name+"/"+point.name, func(t *testing.T) {
				t.Parallel()
				m := testenv.NewOnDisk(t, lab.Habits{Rotation: rotation.name, Grace: time.Minute})
				m.Lab.RevokeAccessTokens()
				crash(m, point)
				goesOn(m, point, rotation.forgives)
			})
		}
	}
}

// A request may outlive the process that sent it: it reaches the server after the next
// process has repeated it. A strict server then takes it for reuse and ends the grant; that
// loss, too, is named for what it was.
func TestRequestThatArrivesLateIsNamed(t *testing.T) {
	m := testenv.NewOnDisk(t, lab.Habits{Rotation: lab.RotateStrict})
	m.Expire()
	m.Lab.SetFault("token:refresh", lab.Fault{Kind: lab.FaultDelay, Delay: time.Second, Times: 1})
	gate, late := m.StartHeld("token:refresh:received", testenv.Job{Do: "call"})
	late.Signal(syscall.SIGKILL)
	late.Killed()
	gate.Release()
	m.MustRun()
	if !proctest.Holds(testenv.Timeout, func() bool { return m.Lab.Audit().Reuses > 0 }) {
		t.Fatalf("the late request never arrived\n%s", m.Diary())
	}
	m.Expire()
	isNamed(m, m.Run(testenv.Job{Do: "call"}))
}

// crash has a process killed at the point of a refresh.
func crash(m *testenv.Env, point crashPoint) {
	m.T.Helper()
	m.Lab.Reset()
	if point.at != committed {
		p := m.Start(testenv.Job{Do: "call", Crash: point.at})
		p.Killed()
		return
	}
	gate, p := m.StartHeld("token:refresh:committed", testenv.Job{Do: "call"})
	p.Signal(syscall.SIGKILL)
	p.Killed()
	gate.Release()
}

// goesOn checks what the processes after a crash find.
func goesOn(m *testenv.Env, point crashPoint, forgives bool) {
	t := m.T
	t.Helper()
	m.StoredRecord()
	if damaged, _ := filepath.Glob(m.File() + ".corrupt-*"); damaged != nil {
		t.Errorf("a record was damaged: %q", damaged)
	}

	before := m.Refreshed()
	err := m.Run(testenv.Job{Do: "call"})
	if point.used && !forgives {
		isNamed(m, err)
		m.MustCall(m.Session())
		m.WantCounts(map[string]int{"authorize": 1, "register": 0, "token:code": 1})
		m.MustCall(m.Session())
		m.WantTabs(2)
		return
	}
	if err != nil {
		t.Fatalf("the next process: %v\n%s", err, m.Diary())
	}
	want := 1
	if point.saved {
		want = 0 // what the killed process was given is used
	}
	if got := m.Refreshed() - before; got != want {
		t.Errorf("the next process asked the authorization server %d times, want %d\n%s", got, want, m.Diary())
	}
	if rec := m.StoredRecord(); rec.Intent != nil || rec.GrantError != nil {
		t.Errorf("the record still tells of an interruption: %+v, %+v", rec.Intent, rec.GrantError)
	}

	// The login lives: it refreshes once more.
	m.Expire()
	m.MustCall(m.Session())
	m.WantCounts(map[string]int{"authorize": 0, "register": 0})
	m.WantTabs(1)
}

// isNamed checks that the error and the status report an interrupted refresh.
func isNamed(m *testenv.Env, err error) {
	m.T.Helper()
	if !errors.Is(err, handstamp.ErrLoginRequired) {
		m.T.Fatalf("error %v, want ErrLoginRequired\n%s", err, m.Diary())
	}
	status, err := m.Session().Status(m.T.Context(), m.Lab.MCPURL())
	if err != nil || status.GrantError == nil || !status.GrantError.Interrupted {
		m.T.Errorf("status %+v, %v: the interrupted refresh is not named", status, err)
	}
}
