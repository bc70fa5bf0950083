package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// A Flaw is something in a history that must not happen.
type Flaw struct {
	Kind string // one of the Flaw constants
	Text string
}

const (
	FlawTorn         = "torn read"
	FlawFork         = "lost update"              // two Puts replaced one revision
	FlawConflict     = "conflict, and stored"     // ErrConflict of a Put whose value was read
	FlawRevision     = "revision given twice"     // to two values
	FlawForeign      = "read of nothing put"      // a value that no Put has begun to store
	FlawOrder        = "not linearizable"         // no order of the operations explains the results
	FlawUndecided    = "not decided"              // the search for an order took too long
	FlawTwoHolders   = "lock held by two"         //
	FlawTwoRefreshes = "refresh token used twice" // without a fault that explains it
	FlawUnnamed      = "loss that is not named"   // a login ended without the reason
)

// Report is what a history shows.
type Report struct {
	Operations map[Kind]map[Result]int // the empty result: the process was killed meanwhile
	Faults     map[Kind]int
	Holds      int // locks that were held
	Tokens     int // refresh tokens that were sent
	Repeated   int // those that a further process has sent, after a fault that explains it
	Lost       int // logins that ended, named
	Flaws      []Flaw
}

// searchTime bounds the search for an order of one key's operations.
const searchTime = time.Minute

// Check checks a history, whose events may be in any order.
func Check(events []Event) Report {
	events = sorted(events)
	c := &checker{events: events, spans: spans(events), kills: make(map[int]int64), Report: Report{
		Operations: make(map[Kind]map[Result]int), Faults: make(map[Kind]int),
	}}
	c.count()
	keys := make(map[string][]span)
	for _, s := range c.spans {
		if s.Kind == Get || s.Kind == Put || s.Kind == Delete {
			keys[s.Key] = append(keys[s.Key], s)
		}
	}
	for key, operations := range keys {
		c.register(key, operations)
	}
	c.locks()
	c.tokens()
	slices.SortFunc(c.Flaws, func(a, b Flaw) int { return cmp.Compare(a.Kind+a.Text, b.Kind+b.Text) })
	return c.Report
}

type checker struct {
	events []Event
	spans  []span
	losses []Event

	// kills has when processes were killed. One may have gone on for a moment: the event comes
	// before the kill.
	kills map[int]int64
	Report
}

func (c *checker) flaw(kind, format string, args ...any) {
	c.Flaws = append(c.Flaws, Flaw{kind, fmt.Sprintf(format, args...)})
}

func (c *checker) count() {
	for _, e := range c.events {
		switch {
		case e.Client != 0:
			continue
		case e.Kind == Loss:
			c.losses = append(c.losses, e)
			continue
		case e.Kind == Kill:
			c.kills[e.Process] = e.At
		}
		c.Faults[e.Kind]++
	}
	lost := make(map[[2]string]bool)
	for _, s := range c.spans {
		if c.Operations[s.Kind] == nil {
			c.Operations[s.Kind] = make(map[Result]int)
		}
		c.Operations[s.Kind][s.Result]++
		switch s.Result {
		case Torn:
			c.flaw(FlawTorn, "client %d read %s: %s", s.Client, s.Key, s.Text)
		case Named:
			lost[[2]string{s.Key, s.Value}] = true
		case Unnamed:
			c.flaw(FlawUnnamed, "client %d at %s: %s", s.Client, s.Key, s.Text)
		}
	}
	c.Lost = len(lost)
}

// register checks the operations of one key: they are those of a register with compare-and-swap.
func (c *checker) register(key string, operations []span) {
	before := len(c.Flaws)
	values := c.values(key, operations)
	c.forks(key, operations, values)
	if len(c.Flaws) > before {
		return // there is no order; the fault is reported
	}
	history := values.history(operations)
	switch porcupine.CheckOperationsTimeout(register, history, searchTime) {
	case porcupine.Illegal:
		c.flaw(FlawOrder, "key %s: no order of its %d operations explains their results", key, len(history))
	case porcupine.Unknown:
		c.flaw(FlawUndecided, "key %s: %d operations", key, len(history))
	}
}

// values is what the operations of a key show about its values.
type values struct {
	of   map[string]string // the value of a revision
	seen map[string]int64  // when a value was first known to be stored
}

func (c *checker) values(key string, operations []span) *values {
	v := &values{make(map[string]string), make(map[string]int64)}
	put := make(map[string]bool)
	for _, s := range operations {
		put[s.Value] = put[s.Value] || s.Kind == Put
	}
	for _, s := range operations {
		if s.Result != OK || s.Kind == Delete {
			continue
		}
		if !put[s.Value] {
			c.flaw(FlawForeign, "key %s has the value %q", key, s.Value)
		}
		if other, ok := v.of[s.Revision]; ok && other != s.Value {
			c.flaw(FlawRevision, "key %s: %s is the revision of %s and %s", key, s.Revision, other, s.Value)
		}
		v.of[s.Revision] = s.Value
		if at, ok := v.seen[s.Value]; !ok || s.end < at {
			v.seen[s.Value] = s.end
		}
	}
	return v
}

// forks looks for two Puts that have replaced the same revision.
func (c *checker) forks(key string, operations []span, v *values) {
	successor := make(map[string]string)
	for _, s := range operations {
		_, stored := v.seen[s.Value]
		if s.Kind == Put && s.Result == Conflict && stored {
			c.flaw(FlawConflict, "key %s: %s", key, s.Value)
		}
		if s.Kind != Put || s.Expected == "" || !stored {
			continue
		}
		if other, ok := successor[s.Expected]; ok {
			c.flaw(FlawFork, "key %s: %s and %s have replaced revision %s", key, other, s.Value, s.Expected)
		}
		successor[s.Expected] = s.Value
	}
}
