package chaos

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// plan is what a run is, drawn from its seed alone.
type plan struct {
	seed uint64

	server    string // legacy, stateless, modern or sse
	host      string // legacy, probing or modern
	http2     bool
	json      bool   // responses are JSON where there is a choice, not events
	stream    string // what the GET stream of a session is
	forgotten string // how it rejects a session that is over
	probed    string // how a legacy server rejects server/discover
	persist   bool   // sessions survive a restart

	rate   float64 // how many of the requests meet a fault
	swarm  float64 // how many of the faults this server has
	quake  float64 // how many of the host's steps are accompanied by an event at the server
	gentle bool    // such events are sessions that the server forgets, and nothing else
	steps  int
	flight int // requests of the host that are under way at most
	ending string
	wire   int // bridge.Wire
	ping   time.Duration
}

// dice returns a source of randomness for one decision, which is the same
// whatever else happened in the run before it.
func (p *plan) dice(about ...any) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprintln(h, about...)
	return rand.New(rand.NewPCG(p.seed, h.Sum64()))
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func drawPlan(seed uint64) *plan {
	p := &plan{seed: seed}
	r := p.dice("plan")
	p.server = pick(r, "legacy", "legacy", "legacy", "stateless", "modern", "sse")
	p.host = pick(r, "legacy", "legacy", "probing", "modern")
	p.http2 = r.IntN(4) == 0
	p.json = r.IntN(2) == 0
	p.stream = pick(r, streams...)
	p.forgotten = pick(r, forgottenShapes...)
	p.probed = pick(r, probedShapes...)
	p.persist = r.IntN(3) == 0
	p.rate = pick(r, 0, 0.1, 0.3, 0.6)
	p.swarm = pick(r, 0.1, 0.3, 1)
	p.quake = pick(r, 0, 0, 0.02, 0.1)
	p.gentle = r.IntN(2) == 0
	p.steps = pick(r, 10, 25, 60)
	p.flight = pick(r, 1, 4, 16)
	p.ending = pick(r, "settled", "settled", "abrupt", "cancelled", "broken")
	if r.IntN(3) == 0 {
		p.ping = 5 * time.Second
	}
	if r.IntN(3) == 0 {
		p.wire = map[string]int{"sse": 2}[p.server]
		if p.wire == 0 {
			p.wire = 1
		}
	}
	return p
}

// healthy reports whether the server does nothing wrong but forget sessions, so that each
// call has a response of the server's.
func (p *plan) healthy() bool {
	lost := p.server == "sse" && p.quake > 0 // with its stream a session loses what is under way
	unclear := p.host == "modern" && (p.probed == "empty" || p.probed == "202")
	return p.rate == 0 && (p.quake == 0 || p.gentle) && !lost && !unclear
}

func (p *plan) String() string {
	return fmt.Sprintf("%s host, %s server (http2 %v, json %v, wire %d, GET stream %q, forgotten %q, probed %q, sessions kept %v), "+
		"faults %.1f of %.1f, events %.2f (gentle %v), %d steps, %d in flight, ping %v, ending %q",
		p.host, p.server, p.http2, p.json, p.wire, p.stream, p.forgotten, p.probed, p.persist,
		p.rate, p.swarm, p.quake, p.gentle, p.steps, p.flight, p.ping, p.ending)
}
