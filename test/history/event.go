package history

import (
	"cmp"
	"slices"
)

// Kind is what an event is about.
type Kind string

// What clients do.
const (
	Get     Kind = "get"
	Put     Kind = "put"
	Delete  Kind = "delete"
	Lock    Kind = "lock"   // from the begin of the wait until the lock is held
	Unlock  Kind = "unlock" // from the begin of the release
	Refresh Kind = "refresh"
	Login   Kind = "login"
	Send    Kind = "send" // of a refresh token, until the response is received
)

// What is done to them.
const (
	Kill   Kind = "kill"   // of a process
	Loss   Kind = "loss"   // of locks that a process holds, as when its connection is cut, at some time until Until
	Freeze Kind = "freeze" // of a process, until Thaw
	Thaw   Kind = "thaw"
	Cut    Kind = "cut"   // of a process's connections
	Delay  Kind = "delay" // of what they carry
	Skew   Kind = "skew"  // a process starts with another clock

	RestartFast      Kind = "restart, fast"      // which asks the database to end
	RestartImmediate Kind = "restart, immediate" // which does not
	Outage           Kind = "outage"             // of the database, until Restored
	Restored         Kind = "restored"
	Expire           Kind = "expiry" // of leases
)

// Result is how an operation ended.
type Result string

const (
	OK       Result = "ok"
	Absent   Result = "absent"   // nothing is stored
	Conflict Result = "conflict" // another revision is stored
	Failed   Result = "failed"   // and changed nothing, or it is not known whether it did
	Torn     Result = "torn"     // the value is none that was put, or it is reported as damaged
	Rejected Result = "rejected" // by the server
	Named    Result = "named"    // the login ended, and the library named an interrupted refresh
	Unnamed  Result = "unnamed"  // the login ended without that reason
)

// An Event is a line of a history: that an operation begins, or how it ended.
type Event struct {
	At      int64  `json:"at"` // nanoseconds of the machine's monotonic clock
	Until   int64  `json:"until,omitempty"`
	Process int    `json:"process"` // 0 is every process
	Client  int    `json:"client,omitempty"`
	Kind    Kind   `json:"kind"`
	Result  Result `json:"result,omitempty"` // empty: it begins

	Key  string `json:"key,omitempty"`
	Name string `json:"name,omitempty"` // of the lock; empty with Loss: of all

	// Value names the value that was put or read: each Put has another one. With Send it is a
	// hash of the refresh token, with Refresh the time at which a login ended.
	Value string `json:"value,omitempty"`

	// Expected is the revision that Put and Delete compare; Revision is that of the value.
	Expected string `json:"expected,omitempty"`
	Revision string `json:"revision,omitempty"`

	// Kept with Loss is that a lock outlasts it under which something was written.
	Kept bool `json:"kept,omitempty"`

	Text string `json:"text,omitempty"` // an error, for whoever reads the history
}

// span is an operation with its begin and its end, which is zero where its process was killed
// before.
type span struct {
	Event       // the begin, with what the end adds
	end   int64 // 0: unknown
}

// spans pairs begins with ends. A client does one thing at a time, but sends while it refreshes.
func spans(events []Event) []span {
	type activity struct {
		client int
		kind   Kind
		value  string // of Send
	}
	var all []span
	open := make(map[activity]int)
	for _, e := range events {
		a := activity{e.Client, e.Kind, ""}
		if e.Kind == Send {
			a.value = e.Value
		}
		at, ok := open[a]
		switch {
		case e.Client == 0: // done to clients
		case e.Result == "":
			open[a] = len(all)
			all = append(all, span{Event: e})
		case ok:
			s := &all[at]
			s.end, s.Result, s.Text = e.At, e.Result, e.Text
			s.Revision = cmp.Or(e.Revision, s.Revision)
			s.Value = cmp.Or(e.Value, s.Value)
			delete(open, a)
		}
	}
	return all
}

// sorted returns the events in the order of time.
func sorted(events []Event) []Event {
	events = slices.Clone(events)
	slices.SortStableFunc(events, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
	return events
}
