//go:build unix

package history

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

// The search for an order agrees with one that tries all of them, on small histories of every kind:
// those that a register has given, and the same with a result changed.
func TestCheckAgreesWithAllOrders(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	possible, impossible, histories := 0, 0, 30_000
	if testing.Short() {
		histories = 6000
	}
	for range histories {
		events := smallHistory(random)
		if comparesUnread(events) {
			continue
		}
		want := anyOrder(spans(events))
		if flaws := Check(events).Flaws; (len(flaws) == 0) != want {
			for _, s := range spans(events) {
				t.Logf("%d to %d: %s %q, expected %q: %s", s.At, s.end, s.Kind, s.Value, s.Expected, s.Result)
			}
			t.Fatalf("flaws %v; is there an order: %v", flaws, want)
		}
		if want {
			possible++
		} else {
			impossible++
		}
	}
	if min(possible, impossible) < histories/10 {
		t.Errorf("%d histories are possible, %d are not: too few of a kind", possible, impossible)
	}
}

// smallHistory returns a history of a few operations, some of them at once, and a Get at the end.
func smallHistory(random *rand.Rand) []Event {
	const operations = 7
	stored := ""
	known := []string{""} // the values whose revisions clients have read
	var events []Event
	at := int64(0)
	for i := range operations {
		e := Event{Client: i + 1, Process: i + 1, Key: "k", Kind: []Kind{Get, Put, Put, Delete}[random.IntN(4)]}
		if i == operations-1 {
			e.Kind = Get
		}
		at += 1000 // no two times are the same
		begin, end := at-100*random.Int64N(25)+int64(i), at+100*random.Int64N(25)+int64(50+i)
		if i == operations-1 {
			begin, end = at+3000, at+3100
		}
		expected := known[random.IntN(len(known))]
		if e.Kind != Get && expected != "" {
			e.Expected = "r" + expected
		}
		if e.Kind == Put {
			e.Value = strconv.Itoa(i)
		}
		e.At = begin
		events = append(events, e)
		e.At = end
		switch {
		case e.Kind == Get && stored == "":
			e.Result = Absent
		case e.Kind == Get:
			e.Result, e.Value, e.Revision = OK, stored, "r"+stored
		case e.Kind == Delete && (expected == "" || stored == ""):
			e.Result = OK
			if stored != "" {
				e.Result = Conflict
			}
		case expected != stored:
			e.Result = Conflict
		case e.Kind == Delete:
			stored, e.Result = "", OK
		default:
			stored, e.Result, e.Revision = e.Value, OK, "r"+e.Value
		}
		if e.Kind != Get && random.IntN(4) == 0 { // it may have taken place
			e.Result, e.Revision = Failed, ""
		}
		if e.Revision != "" {
			known = append(known, e.Value)
		}
		events = append(events, e)
	}
	if random.IntN(2) == 0 { // one result is another operation's
		i, j := 2*random.IntN(operations)+1, 2*random.IntN(operations)+1
		if a, b := &events[i], events[j]; a.Kind == Get && b.Kind == Get {
			a.Result, a.Value, a.Revision = b.Result, b.Value, b.Revision
		} else if a.Kind != Get {
			a.Result, a.Revision = []Result{OK, Conflict}[random.IntN(2)], ""
			if a.Kind == Put && a.Result == OK {
				a.Revision = "r" + a.Value
			}
		}
	}
	return sorted(events)
}

// comparesUnread reports whether a revision is compared that no operation has read: no client does that.
func comparesUnread(events []Event) bool {
	return slices.ContainsFunc(events, func(e Event) bool {
		return e.Expected != "" && !slices.ContainsFunc(events, func(read Event) bool { return read.Revision == e.Expected })
	})
}

// anyOrder tries all orders of operations on a register, and that those whose result is not known
// take place or do not.
func anyOrder(operations []span) bool {
	var search func(stored string, left []span) bool
	search = func(stored string, left []span) bool {
		if len(left) == 0 {
			return true
		}
		first := int64(math.MaxInt64) // the end of what ends first
		for _, o := range left {
			if o.Result != Failed {
				first = min(first, o.end)
			}
		}
		for i, o := range left {
			if o.At > first {
				continue
			}
			rest := slices.Delete(slices.Clone(left), i, i+1)
			for _, next := range outcomes(stored, o) {
				if search(next, rest) {
					return true
				}
			}
		}
		return false
	}
	return search("", operations)
}

// outcomes returns what may be stored after an operation, nothing if its result cannot be.
func outcomes(stored string, o span) (after []string) {
	revision := ""
	if stored != "" {
		revision = "r" + stored
	}
	equal := revision == o.Expected
	switch {
	case o.Result == Failed && equal && o.Kind == Put:
		return []string{stored, o.Value}
	case o.Result == Failed && equal:
		return []string{stored, ""}
	case o.Result == Failed:
		return []string{stored}
	case o.Kind == Get && (o.Result == Absent && stored == "" || o.Result == OK && stored == o.Value && stored != ""):
		return []string{stored}
	case o.Kind == Put && o.Result == OK && equal:
		return []string{o.Value}
	case o.Kind == Put && o.Result == Conflict && !equal:
		return []string{stored}
	case o.Kind == Delete && o.Result == OK && (equal || stored == ""):
		return []string{""}
	case o.Kind == Delete && o.Result == Conflict && !equal && stored != "":
		return []string{stored}
	}
	return nil
}
