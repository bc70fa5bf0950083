package lab

import (
	"sync"
	"time"
)

// clock is the time that the servers live by: the real one, or a test's, moved
// by an offset. The zero value is the real time.
type clock struct {
	mu     sync.Mutex // guards what follows
	base   func() time.Time
	offset time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	base, offset := c.base, c.offset
	c.mu.Unlock()
	if base == nil {
		base = time.Now
	}
	return base().Add(offset)
}

// SetClock replaces the time that the servers live by, nil meaning the real
// one, and undoes every Advance. Delays of faults stay in real time.
func (s *Server) SetClock(now func() time.Time) {
	s.clock.mu.Lock()
	defer s.clock.mu.Unlock()
	s.clock.base, s.clock.offset = now, 0
}

// Advance moves the servers' clock: tokens, codes and secrets age by d. The
// Date header of their responses moves with it.
func (s *Server) Advance(d time.Duration) {
	s.clock.mu.Lock()
	defer s.clock.mu.Unlock()
	s.clock.offset += d
}
