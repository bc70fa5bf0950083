//go:build unix

package history

import (
	"slices"
	"strconv"
	"testing"
)

// script builds a history: each line is an operation of one client, at times that follow each
// other: "client kind key ...". The begin and the end are one apart.
type script struct {
	at     int64
	events []Event
}

func (s *script) event(e Event) {
	s.at++
	e.At = s.at
	if e.Process == 0 && e.Client != 0 {
		e.Process = e.Client
	}
	s.events = append(s.events, e)
}

// do is an operation from begin to end.
func (s *script) do(e Event) {
	begin := e
	begin.Result = ""
	if e.Kind != Put && e.Kind != Send {
		begin.Value = ""
	}
	begin.Revision = ""
	s.event(begin)
	s.event(e)
}

func (s *script) put(client int, expected, value string, r Result) {
	revision := ""
	if r == OK {
		revision = "r" + value
	}
	s.do(Event{Client: client, Kind: Put, Key: "k", Value: value, Expected: expected, Revision: revision, Result: r})
}

func (s *script) get(client int, value string) {
	s.do(Event{Client: client, Kind: Get, Key: "k", Value: value, Revision: "r" + value, Result: OK})
}

func (s *script) absent(client int) {
	s.do(Event{Client: client, Kind: Get, Key: "k", Result: Absent})
}

func (s *script) remove(client int, expected string, r Result) {
	s.do(Event{Client: client, Kind: Delete, Key: "k", Expected: expected, Result: r})
}

func (s *script) lock(client int) {
	s.do(Event{Client: client, Kind: Lock, Key: "k", Name: "refresh", Result: OK})
}

func (s *script) unlock(client int) {
	s.do(Event{Client: client, Kind: Unlock, Key: "k", Name: "refresh", Result: OK})
}

func (s *script) send(client int, token string, r Result) {
	s.do(Event{Client: client, Kind: Send, Key: "k", Value: token, Result: r})
}

func (s *script) fault(kind Kind, process int) {
	s.event(Event{Kind: kind, Process: process, Until: s.at + 1})
}

// Histories that can have happened have no flaw, and each one that cannot has the flaw that it was
// given.
func TestCheck(t *testing.T) {
	for name, test := range map[string]struct {
		history func(s *script)
		flaw    string // empty: none
	}{
		"one after the other": {func(s *script) {
			s.absent(1)
			s.put(1, "", "a", OK)
			s.get(2, "a")
			s.put(2, "ra", "b", OK)
			s.put(1, "ra", "c", Conflict)
			s.get(1, "b")
			s.remove(1, "ra", Conflict)
			s.remove(1, "rb", OK)
			s.remove(2, "rb", OK)
			s.absent(2)
			s.put(2, "", "d", OK)
		}, ""},
		"a lost update": {func(s *script) {
			s.put(1, "", "a", OK)
			s.put(1, "ra", "b", OK)
			s.put(2, "ra", "c", OK)
		}, FlawFork},
		"a lost update of a client that was killed": {func(s *script) {
			s.put(1, "", "a", OK)
			s.event(Event{Client: 2, Kind: Put, Key: "k", Value: "c", Expected: "ra"})
			s.put(1, "ra", "b", OK)
			s.get(3, "c")
		}, FlawFork},
		"a Put over what is there": {func(s *script) {
			s.put(1, "", "a", OK)
			s.put(2, "", "b", OK)
		}, FlawOrder},
		"a read of the value before": {func(s *script) {
			s.put(1, "", "a", OK)
			s.put(1, "ra", "b", OK)
			s.get(2, "a")
		}, FlawOrder},
		"two reads in the wrong order": {func(s *script) {
			s.put(1, "", "a", OK)
			s.event(Event{Client: 1, Kind: Put, Key: "k", Value: "b", Expected: "ra"})
			s.get(2, "b")
			s.get(3, "a")
			s.event(Event{Client: 1, Kind: Put, Key: "k", Value: "b", Expected: "ra", Revision: "rb", Result: OK})
		}, FlawOrder},
		"two reads while a Put is under way": {func(s *script) {
			s.put(1, "", "a", OK)
			s.event(Event{Client: 1, Kind: Put, Key: "k", Value: "b", Expected: "ra"})
			s.get(2, "a")
			s.get(3, "b")
			s.event(Event{Client: 1, Kind: Put, Key: "k", Value: "b", Expected: "ra", Revision: "rb", Result: OK})
		}, ""},
		"a value that was deleted comes back": {func(s *script) {
			s.put(1, "", "a", OK)
			s.remove(1, "ra", OK)
			s.get(2, "a")
		}, FlawOrder},
		"a value that was put is gone": {func(s *script) {
			s.put(1, "", "a", OK)
			s.absent(2)
		}, FlawOrder},
		"a conflict that there was not": {func(s *script) {
			s.put(1, "", "a", OK)
			s.put(1, "ra", "b", Conflict)
		}, FlawOrder},
		"a conflict of a Put that took place": {func(s *script) {
			s.put(1, "", "a", OK)
			s.put(1, "ra", "b", Conflict)
			s.get(2, "b")
		}, FlawConflict},
		"a failed Put that took place": {func(s *script) {
			s.put(1, "", "a", OK)
			s.put(1, "ra", "b", Failed)
			s.get(2, "b")
		}, ""},
		"a failed Put that did not take place": {func(s *script) {
			s.put(1, "", "a", OK)
			s.put(1, "ra", "b", Failed)
			s.get(2, "a")
			s.put(2, "ra", "c", OK)
		}, ""},
		"a failed Delete that took place late": {func(s *script) {
			s.put(1, "", "a", OK)
			s.remove(1, "ra", Failed)
			s.get(2, "a")
			s.absent(2)
		}, ""},
		"a failed Delete of another revision": {func(s *script) {
			s.put(1, "", "a", OK)
			s.put(1, "ra", "b", OK)
			s.remove(1, "ra", Failed)
			s.absent(2)
		}, FlawOrder},
		"a failed Delete that took place, and another one that found nothing": {func(s *script) {
			s.put(1, "", "a", OK)
			s.remove(1, "ra", Failed)
			s.absent(3)
			s.remove(2, "ra", OK)
			s.put(2, "", "b", OK)
			s.get(1, "b")
		}, ""},
		"a value that is read after it was gone": {func(s *script) {
			s.put(1, "", "a", OK)
			s.remove(1, "ra", Failed)
			s.absent(2)
			s.get(2, "a")
		}, FlawOrder},
		"a value gone, though no operation deleted it": {func(s *script) {
			s.put(1, "", "a", OK)
			s.put(2, "", "b", Failed)
			s.get(2, "b")
		}, FlawOrder},
		"a Delete that finds what it says is gone": {func(s *script) {
			s.put(1, "", "a", OK)
			s.put(1, "ra", "b", OK)
			s.remove(1, "ra", OK)
			s.get(2, "b")
		}, FlawOrder},
		"a conflict of a Delete where nothing is": {func(s *script) {
			s.put(1, "", "a", OK)
			s.remove(1, "ra", OK)
			s.remove(2, "ra", Conflict)
		}, FlawOrder},
		"a torn read": {func(s *script) {
			s.put(1, "", "a", OK)
			s.do(Event{Client: 2, Kind: Get, Key: "k", Result: Torn})
		}, FlawTorn},
		"a value from nowhere": {func(s *script) { s.get(1, "a") }, FlawForeign},
		"a revision that is given twice": {func(s *script) {
			s.put(1, "", "a", OK)
			s.remove(1, "ra", OK)
			s.do(Event{Client: 1, Kind: Put, Key: "k", Value: "b", Revision: "ra", Result: OK})
		}, FlawRevision},
		"a lock, one after the other": {func(s *script) {
			s.lock(1)
			s.unlock(1)
			s.lock(2)
			s.unlock(2)
		}, ""},
		"a lock of two": {func(s *script) {
			s.lock(1)
			s.lock(2)
			s.unlock(1)
		}, FlawTwoHolders},
		"a lock of three": {func(s *script) {
			s.lock(1)
			s.event(Event{Process: 4, Kind: Kill})
			s.unlock(1)
			s.lock(2)
			s.lock(3)
		}, FlawTwoHolders},
		"a lock that one holds long beside others": {func(s *script) {
			s.fault(Loss, 0)
			s.lock(1)
			s.do(Event{Client: 2, Process: 2, Kind: Lock, Key: "other", Name: "refresh", Result: OK})
			s.lock(3)
			s.unlock(3)
			s.unlock(1)
		}, FlawTwoHolders},
		"a lock of a process that was killed": {func(s *script) {
			s.lock(1)
			s.fault(Kill, 1)
			s.lock(2)
		}, ""},
		"a lock of a process that goes on while it is killed": {func(s *script) {
			s.fault(Kill, 1)
			s.lock(1)
			s.lock(2)
		}, ""},
		"a lock of two, after that of a process that was killed": {func(s *script) {
			s.fault(Kill, 1)
			s.lock(1)
			s.lock(2)
			s.lock(3)
		}, FlawTwoHolders},
		"a token of two, the first of whom goes on while it is killed": {func(s *script) {
			s.fault(Kill, 1)
			s.event(Event{Client: 1, Process: 1, Kind: Refresh, Key: "k"})
			s.event(Event{Client: 1, Process: 1, Kind: Send, Key: "k", Value: "t"})
			s.send(2, "t", OK)
		}, ""},
		"a lock beside another process that was killed": {func(s *script) {
			s.lock(1)
			s.fault(Kill, 3)
			s.lock(2)
		}, FlawTwoHolders},
		"a lock of a process that was frozen": {func(s *script) {
			s.lock(1)
			s.fault(Freeze, 1)
			s.lock(2)
		}, FlawTwoHolders},
		"a lock that was lost": {func(s *script) {
			s.lock(1)
			s.fault(Loss, 0)
			s.lock(2)
		}, ""},
		"a lock that is taken while locks are lost": {func(s *script) {
			s.event(Event{Kind: Loss, Until: s.at + 4})
			s.lock(1)
			s.lock(2)
		}, ""},
		"a lock that is lost before its holder hears of it": {func(s *script) {
			s.event(Event{Client: 1, Kind: Lock, Key: "k", Name: "refresh"})
			s.fault(Loss, 0)
			s.event(Event{Client: 1, Kind: Lock, Key: "k", Name: "refresh", Result: OK})
			s.lock(2)
		}, ""},
		"a lock that was taken after others were lost": {func(s *script) {
			s.fault(Loss, 0)
			s.lock(1)
			s.lock(2)
		}, FlawTwoHolders},
		"the loss of another lock": {func(s *script) {
			s.lock(1)
			s.event(Event{Kind: Loss, Name: "login", Until: s.at + 1})
			s.lock(2)
		}, FlawTwoHolders},
		"a token of two": {func(s *script) {
			s.send(1, "t", OK)
			s.send(2, "t", OK)
		}, FlawTwoRefreshes},
		"a token of two after the lock was lost": {func(s *script) {
			s.send(1, "t", OK)
			s.fault(Loss, 1)
			s.send(2, "t", OK)
		}, ""},
		"a token of two, the second of whom had lost its lock to the first": {func(s *script) {
			s.event(Event{Client: 2, Process: 2, Kind: Refresh, Key: "k"})
			s.fault(Loss, 2)
			s.send(1, "t", OK)
			s.send(2, "t", OK)
		}, ""},
		"a token of two, the second of whom loses its lock afterwards": {func(s *script) {
			s.event(Event{Client: 2, Process: 2, Kind: Refresh, Key: "k"})
			s.send(1, "t", OK)
			s.fault(Loss, 2)
			s.send(2, "t", OK)
		}, FlawTwoRefreshes},
		"a token of two, the second of whom began after a loss": {func(s *script) {
			s.fault(Loss, 2)
			s.event(Event{Client: 2, Process: 2, Kind: Refresh, Key: "k"})
			s.send(1, "t", OK)
			s.send(2, "t", OK)
		}, FlawTwoRefreshes},
		"a token of two after a loss that the lock outlasts": {func(s *script) {
			s.send(1, "t", OK)
			s.event(Event{Kind: Loss, Process: 1, Kept: true, Until: s.at + 1})
			s.send(2, "t", OK)
		}, FlawTwoRefreshes},
		"a token of two after a loss, and longer than the lock outlasts that": {func(s *script) {
			s.send(1, "t", OK)
			s.event(Event{Kind: Loss, Process: 1, Kept: true, Until: s.at + 1})
			s.at += int64(silence)
			s.send(2, "t", OK)
		}, ""},
		"a token of one, and another one": {func(s *script) {
			s.send(1, "t", OK)
			s.send(2, "u", OK)
		}, ""},
		"a token of two, the first of whom was killed": {func(s *script) {
			s.event(Event{Client: 1, Process: 1, Kind: Send, Key: "k", Value: "t"})
			s.fault(Kill, 1)
			s.send(2, "t", OK)
		}, ""},
		"a token of two, the second of whom was killed": {func(s *script) {
			s.send(1, "t", OK)
			s.fault(Kill, 2)
			s.send(3, "t", OK)
		}, FlawTwoRefreshes},
		"a token of two, the first of whom was frozen": {func(s *script) {
			s.event(Event{Client: 1, Process: 1, Kind: Send, Key: "k", Value: "t"})
			s.fault(Freeze, 1)
			s.send(2, "t", OK)
		}, FlawTwoRefreshes},
		"a token that is rejected, and sent again": {func(s *script) {
			s.send(1, "t", Rejected)
			s.send(2, "t", Rejected)
		}, ""},
		"a token that was used, and is rejected": {func(s *script) {
			s.send(1, "t", OK)
			s.send(2, "t", Rejected)
		}, FlawTwoRefreshes},
		"a token whose response did not come": {func(s *script) {
			s.send(1, "t", Failed)
			s.send(1, "t", OK)
		}, ""},
		"a login that ended without a reason": {func(s *script) {
			s.do(Event{Client: 1, Kind: Refresh, Key: "k", Result: Unnamed})
		}, FlawUnnamed},
	} {
		t.Run(name, func(t *testing.T) {
			var s script
			test.history(&s)
			report := Check(s.events)
			if test.flaw == "" && len(report.Flaws) > 0 {
				t.Errorf("flaws %v", report.Flaws)
			}
			if test.flaw != "" && !slices.ContainsFunc(report.Flaws, func(f Flaw) bool { return f.Kind == test.flaw }) {
				t.Errorf("flaws %v, want %s", report.Flaws, test.flaw)
			}
		})
	}
}

// A flaw among thousands of operations is found.
func TestCheckLongHistory(t *testing.T) {
	var s script
	s.put(1, "", "0", OK)
	last := "0"
	for i := range 3000 {
		next := strconv.Itoa(i + 1)
		s.put(1+i%16, "r"+last, next, OK)
		s.get(1+(i+1)%16, next)
		last = next
	}
	if report := Check(s.events); len(report.Flaws) > 0 {
		t.Fatalf("flaws %v", report.Flaws[:1])
	}
	s.get(3, "0")
	if report := Check(s.events); len(report.Flaws) != 1 || report.Flaws[0].Kind != FlawOrder {
		t.Errorf("flaws %v, want %s", report.Flaws, FlawOrder)
	}
}

// Deletes whose result is not known do not keep the search from its end, although each of them
// may have happened at any time after it began.
func TestCheckUnknownDeletes(t *testing.T) {
	var s script
	for i := range 400 {
		value := strconv.Itoa(i)
		s.put(1, "", value, OK)
		for client := range 10 {
			s.remove(10*i+client+2, "r"+value, Failed)
		}
		if i%2 == 0 {
			s.get(1, value)
		}
		s.absent(1)
	}
	if report := Check(s.events); len(report.Flaws) > 0 {
		t.Fatalf("flaws %v", report.Flaws[:1])
	}
	s.get(1, "7")
	if report := Check(s.events); len(report.Flaws) != 1 || report.Flaws[0].Kind != FlawOrder {
		t.Errorf("flaws %v, want %s", report.Flaws, FlawOrder)
	}
}
