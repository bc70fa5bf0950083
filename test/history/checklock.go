package history

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// hold is the time during which a client surely holds a lock.
type hold struct {
	span
	from, until int64
}

// locks looks for locks that two clients hold at the same time.
func (c *checker) locks() {
	held := make(map[[2]string][]hold)
	for _, s := range c.spans {
		if s.Kind == Lock && s.Result == OK {
			c.Holds++
			name := [2]string{s.Key, s.Name}
			held[name] = append(held[name], hold{s, s.end, c.until(s)})
		}
	}
	for name, holds := range held {
		slices.SortFunc(holds, func(a, b hold) int { return cmp.Compare(a.from, b.from) })
		for i := 1; i < len(holds); i++ {
			before, now := holds[i-1], holds[i]
			if now.from < before.until {
				c.flaw(FlawTwoHolders, "the lock %s of %s: clients %d and %d for %d ns", name[1], name[0],
					before.Client, now.Client, min(now.until, before.until)-now.from)
			}
			if before.until > now.until {
				holds[i] = before // the next one is compared with whoever holds it longest
			}
		}
	}
}

// until returns when a client that took a lock may hold it no longer: it has begun to release it,
// was killed, or may have lost it.
func (c *checker) until(s span) int64 {
	until := int64(math.MaxInt64)
	for _, e := range after(c.events, s.end) {
		if e.Kind == Unlock && e.Client == s.Client && e.Key == s.Key && e.Name == s.Name {
			until = e.At
			break
		}
	}
	if at, killed := c.kills[s.Process]; killed {
		until = min(until, max(at, s.end))
	}
	for _, e := range c.losses {
		// A lock that was waited for meanwhile may have been taken before, and be heard of afterwards.
		if e.of(s.Process, s.Name) && e.Until >= s.At {
			until = min(until, max(e.At, s.end))
		}
	}
	return until
}

// of reports whether a process may have lost a lock of that name.
func (e Event) of(process int, name string) bool {
	return (e.Process == 0 || e.Process == process) && (e.Name == "" || e.Name == name)
}

// after returns the events from a time on.
func after(events []Event, at int64) []Event {
	i, _ := slices.BinarySearchFunc(events, at, func(e Event, at int64) int {
		return cmp.Compare(e.At, at)
	})
	return events[i:]
}

// tokens looks for refresh tokens that two processes have sent without a fault that explains it:
// that the first was killed, lost its lock or was given no token, or that the second had lost its lock
// to the first.
func (c *checker) tokens() {
	sent := make(map[string][]span)
	for _, s := range c.spans {
		if s.Kind == Send {
			sent[s.Value] = append(sent[s.Value], s)
		}
	}
	c.Tokens = len(sent)
	for _, sends := range sent {
		for i, s := range sends[1:] {
			if first := sends[i]; c.explains(first, s) {
				c.Repeated++
			} else {
				c.flaw(FlawTwoRefreshes, "clients %d and %d at %s", first.Client, s.Client, s.Key)
			}
		}
	}
}

// explains reports whether the first request did not lead to a stored response, by a fault.
func (c *checker) explains(first, second span) bool {
	if first.Result == Failed || first.Result == Rejected {
		return true
	}
	if at, killed := c.kills[first.Process]; killed && at <= second.At {
		return true
	}
	begin, secondBegin := c.begin(first), c.begin(second)
	return slices.ContainsFunc(c.losses, func(e Event) bool {
		// The refresh was written before its token was sent.
		outlasts := e.Kept && second.At-first.At < int64(silence)
		return !outlasts && e.of(first.Process, "refresh") && e.At <= second.At && e.Until >= begin ||
			!e.Kept && e.of(second.Process, "refresh") && e.At <= first.At && e.Until >= secondBegin
	})
}

// silence is how long a lock that outlasts its connection is left to a holder that does not
// extend it: on a busy machine one that lives may not come to it.
const silence = 6 * time.Second

// begin returns when the refresh began in which a token was sent.
func (c *checker) begin(sent span) int64 {
	begin := sent.At
	for _, s := range c.spans {
		if s.At > sent.At {
			break
		}
		if s.Kind == Refresh && s.Client == sent.Client {
			begin = s.At
		}
	}
	return begin
}
