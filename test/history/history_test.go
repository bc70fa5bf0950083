//go:build unix

package history

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/testenv"
)

// fault is what is done to the processes and their database.
type fault struct {
	weight int
	do     func(*run)
}

// faults are those that a store can meet.
func (r *run) faults() []fault {
	all := []fault{{25, (*run).kill}, {25, (*run).freezeOne}}
	if r.backend.network != "" {
		all = append(all, fault{25, (*run).cutOne}, fault{10, (*run).delayOne}, fault{10, (*run).expire},
			fault{5, (*run).restart})
	}
	return all
}

func (r *run) pick() *slot { return r.slots[r.rand.IntN(len(r.slots))] }

// kill kills a process, and starts another one in its place.
func (r *run) kill() {
	s := r.pick()
	r.note(Event{Kind: Kill, Process: s.process.number})
	s.process.kill()
	r.begin(s)
}

func (r *run) freezeOne() {
	s := r.pick()
	r.thaw(s.process)
	r.freeze(s.process, 50*time.Millisecond+time.Duration(r.rand.Int64N(int64(3*time.Second))))
}

// cutOne cuts the connections of a process. Locks that last as long as a connection are lost.
func (r *run) cutOne() {
	s := r.pick()
	r.note(Event{Kind: Cut, Process: s.process.number})
	r.losing(Event{Process: s.process.number}, r.backend.lossy, s.proxy.cut)
}

// losing does what may end locks.
func (r *run) losing(e Event, lossy bool, do func()) {
	e.Kind, e.At, e.Kept = Loss, now(), r.backend.kept
	do()
	e.Until = now()
	if lossy {
		r.note(e)
	}
}

func (r *run) delayOne() {
	s := r.pick()
	r.note(Event{Kind: Delay, Process: s.process.number})
	s.proxy.delay(time.Duration(r.rand.Int64N(int64(time.Second))))
}

// expire ends all leases, as time does where their holders do not extend them.
func (r *run) expire() {
	r.note(Event{Kind: Expire})
	begin := now()
	if err := r.backend.expire(r.t.Context()); err != nil {
		r.t.Error(err)
	}
	for _, name := range r.backend.leases {
		r.note(Event{Kind: Loss, Name: name, At: begin, Until: now()})
	}
}

// restart restarts the database.
func (r *run) restart() {
	immediate := r.rand.IntN(2) == 0
	kind := RestartFast
	if immediate {
		kind = RestartImmediate
	}
	r.note(Event{Kind: kind})
	r.losing(Event{}, r.backend.lossy, func() { r.backend.stop(immediate) })
	r.backend.start()
}

// outage takes the database away for a while.
func (r *run) outage(d time.Duration) {
	r.note(Event{Kind: Outage})
	r.losing(Event{}, r.backend.lossy, func() {
		r.backend.stop(r.rand.IntN(2) == 0)
		time.Sleep(d) // the fault itself
	})
	r.backend.start()
	r.note(Event{Kind: Restored})
}

// strike picks a fault, again and again, for a time.
func (r *run) strike(faults []fault, length time.Duration) {
	total := 0
	for _, f := range faults {
		total += f.weight
	}
	for end := time.Now().Add(length); time.Now().Before(end); {
		time.Sleep(time.Duration(r.rand.Int64N(int64(600 * time.Millisecond)))) // between faults
		n := r.rand.IntN(total)
		i := slices.IndexFunc(faults, func(f fault) bool { n -= f.weight; return n < 0 })
		faults[i].do(r)
	}
}

// outageTime is how long a database is down.
func outageTime() time.Duration {
	if testenv.Long() {
		return 30 * time.Second
	}
	return 2 * time.Second
}

// chosenSeed returns the seed of a history, which its log has.
func chosenSeed(t *testing.T) uint64 {
	chosen := *seed
	if chosen == 0 {
		chosen = rand.Uint64() >> 12
	}
	t.Logf("-seed %d repeats the choices", chosen)
	return chosen
}

// check checks the history, and keeps one that has flaws.
func check(t *testing.T, events []Event) Report {
	t.Helper()
	report := Check(events)
	t.Logf("%d events: %v, faults %v; %d locks held; %d refresh tokens used, %d of them twice after a fault; %d logins lost",
		len(events), report.Operations, report.Faults, report.Holds, report.Tokens, report.Repeated, report.Lost)
	if len(report.Flaws) == 0 {
		return report
	}
	f, err := os.CreateTemp("", "history-*.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := json.NewEncoder(f)
	for _, e := range sorted(events) {
		if err := out.Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	for _, flaw := range report.Flaws {
		t.Errorf("%s: %s", flaw.Kind, flaw.Text)
	}
	t.Logf("the history is in %s", f.Name())
	return report
}

// Sixteen clients in twelve processes do what they like with a store while they are killed and
// suspended, their connections are cut, their leases expire, their clocks are wrong and the
// database restarts. Whatever they saw can have happened.
func TestHistory(t *testing.T) {
	if testing.Short() {
		t.Skip("each history takes its time")
	}
	for _, name := range allStores {
		t.Run(name, func(t *testing.T) {
			r := newRun(t, name, chosenSeed(t))
			r.strike(r.faults(), *length/2)
			if r.backend.network != "" {
				r.outage(outageTime())
			}
			r.strike(r.faults(), *length/2)
			reports[name] = check(t, r.end())
		})
	}
}
