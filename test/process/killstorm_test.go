//go:build unix

package process_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// Processes refresh one login without a pause, and are killed at random moments.
// Where the server forgives a repeated refresh token no login is lost. Where it
// does not, one is lost only if its refresh was killed after the request and
// before the response was on the disk, and each loss is named so.
//
// It catches what the kills at chosen points cannot: a gap between them, and the
// processes that meet one another's remains.
//
//	HANDSTAMP_TEST_LONG=1 go test -run TestKilledAtRandom -v .
//
// runs the 2,000 refreshes at each server instead of 150, and prints the figures.
func TestKilledAtRandom(t *testing.T) {
	testenv.WithoutRaceDetector(t, "its processes share files alone")
	refreshes := 150
	switch {
	case testenv.Long():
		refreshes = 2000
	case testing.Short():
		refreshes = 50
	}
	for _, rotation := range []string{lab.RotateGrace, lab.RotateStrict} {
		t.Run(rotation, func(t *testing.T) {
			t.Parallel()
			k := &killer{Env: testenv.NewOnDisk(t, lab.Habits{Rotation: rotation, Grace: time.Minute})}
			k.storm(refreshes)
			k.finish()
			t.Log(k.figures())
			if rotation == lab.RotateGrace && len(k.lost) > 0 {
				t.Errorf("%d logins were lost at a server that forgives", len(k.lost))
			}
			if len(k.lost) > k.inWindow {
				t.Errorf("%d logins were lost, but only %d kills fell between request and saved response", len(k.lost), k.inWindow)
			}
			if k.unnamed > 0 {
				t.Errorf("%d losses were not named as interrupted", k.unnamed)
			}
			k.MustRun()
			k.WantTabs(int32(1 + len(k.lost)))
		})
	}
}

// killer is the storm and its bookkeeping.
type killer struct {
	*testenv.Env
	workers [3]*victim
	said    chan remark

	kills    int
	sending  int // kills of a process that had begun a refresh and not ended it
	inWindow int // kills between the request and the response on the disk
	lost     map[string]bool
	unnamed  int
	took     time.Duration
}

// victim is a process that loops, and what it said last.
type victim struct {
	*testenv.Process
	last string
}

// remark is a line of a victim; ended is its last.
type remark struct {
	from  *victim
	line  string
	ended bool
}

// storm runs until the server has granted so many refreshes.
func (k *killer) storm(refreshes int) {
	k.said, k.lost = make(chan remark), make(map[string]bool)
	for i := range k.workers {
		k.workers[i] = k.spawn()
	}
	started := time.Now()
	granted := 0
	progress := rand.IntN(6)               // requests until the next kill is prepared
	var due <-chan time.Time               // its moment
	var sender *victim                     // of the newest request
	overdue := time.After(testenv.Timeout) // nothing has been granted for long
	for granted < refreshes {
		select {
		case r := <-k.said:
			switch {
			case r.ended:
				k.T.Fatalf("a process ended by itself; it said %q", r.from.last)
			case strings.HasPrefix(r.line, "lost "):
				k.lose(r)
			case strings.HasPrefix(r.line, "notice:"):
				k.T.Errorf("a process says: %s", r.line)
			case r.line == "sending":
				sender = r.from
				if n := k.Lab.Audit().Refreshes; n > granted {
					granted, overdue = n, time.After(testenv.Timeout)
				}
				if progress--; progress < 0 && due == nil {
					due = time.After(rand.N(30 * time.Millisecond))
				}
			}
			r.from.last = r.line
		case <-due:
			due, progress = nil, rand.IntN(6)
			i := rand.IntN(len(k.workers))
			if rand.IntN(2) == 0 && sender != nil {
				for j, w := range k.workers {
					if w == sender {
						i = j
					}
				}
			}
			k.kill(i)
		case <-overdue:
			k.T.Fatalf("no refresh for %v; %s", testenv.Timeout, k.figures())
		}
	}
	k.took = time.Since(started)
	for _, v := range k.workers {
		v.Signal(syscall.SIGTERM)
	}
	for left := len(k.workers); left > 0; {
		switch r := <-k.said; {
		case r.ended:
			left--
		case strings.HasPrefix(r.line, "lost "):
			k.lose(r)
		}
	}
}

// finish has one more process find what the last kill left.
func (k *killer) finish() {
	err := k.Run(testenv.Job{Do: "call"})
	if err == nil {
		return
	}
	isNamed(k.Env, err)
	k.lost["found by the last process"] = true
	k.signIn()
}

func (k *killer) signIn() {
	if _, err := k.Session().Login(k.T.Context(), k.Lab.MCPURL(), handstamp.LoginOptions{Force: true}); err != nil {
		k.T.Fatal(err)
	}
}

// spawn starts a looping process whose lines come to the storm.
func (k *killer) spawn() *victim {
	v := &victim{Process: k.Start(testenv.Job{Do: "loop", Hurried: true})}
	lines := v.Lines
	go func() {
		for line := range lines {
			k.said <- remark{from: v, line: line}
		}
		k.said <- remark{from: v, ended: true}
	}()
	return v
}

// kill kills a process and starts another one in its place.
func (k *killer) kill(i int) {
	v := k.workers[i]
	v.Signal(syscall.SIGKILL)
	k.kills++
	k.reap(v)
	k.workers[i] = k.spawn()
}

// reap takes the last words of a killed process and checks where it died.
func (k *killer) reap(dead *victim) {
	for {
		r := <-k.said
		if r.ended && r.from == dead {
			break
		}
		if r.ended {
			k.T.Fatalf("a process ended by itself; it said %q", r.from.last)
		}
		if strings.HasPrefix(r.line, "lost ") {
			k.lose(r)
		}
		r.from.last = r.line
	}
	dead.Cmd.Wait()
	k.StoredRecord() // fails if the record is torn
	switch dead.last {
	case "sending", "received", "response:create", "response:write", "response:sync", "response:rename":
		k.inWindow++
		k.sending++
	case "locked:refresh", "space:create", "space:reserve", "reserved", "connected",
		"intent:create", "intent:write", "intent:sync", "intent:rename", "intent:syncdir", "intent:done", "stored:intent",
		"response:syncdir", "response:done", "stored:response",
		"final:create", "final:write", "final:sync", "final:rename", "final:syncdir", "final:done", "stored:final":
		k.sending++
	}
}

// lose counts a loss, each only once, for several processes hear of it; signs in;
// and lets the process go on.
func (k *killer) lose(r remark) {
	var at string
	var named bool
	if _, err := fmt.Sscanf(r.line, "lost %s %v", &at, &named); err != nil {
		k.T.Fatalf("%q: %v", r.line, err)
	}
	if !k.lost[at] {
		k.lost[at] = true
		if !named {
			k.unnamed++
		}
		k.signIn()
	}
	fmt.Fprintln(r.from.Input, "go on") // it may be dead by now
}

func (k *killer) figures() string {
	a := k.Lab.Audit()
	return fmt.Sprintf("%d refreshes, %d kills, %d of them within a refresh, %d between request and saved response: %d logins lost, %d of them named as interrupted (%v)",
		a.Refreshes, k.kills, k.sending, k.inWindow, len(k.lost), len(k.lost)-k.unnamed, k.took.Round(time.Millisecond))
}
