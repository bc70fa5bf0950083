package bridge

import (
	"context"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A host starts a bridge for each server, and a server may send as much as it likes.
// What messages take is bounded for the whole process: long ones wait for their turn,
// short ones never do (docs/decisions/0070).

const (
	defaultMemory = 256 << 20

	// processMemory is what the process needs beside messages.
	processMemory = 40 << 20

	// leastMemory is what is left for messages at least.
	leastMemory = 24 << 20

	// A message up to shortMessage is not counted. One over giantMessage needs the turn
	// that one message has at a time, with memory of its own.
	shortMessage = 64 << 10
	giantMessage = 4 << 20

	// slowAfter is for how long a server may send less than slowBytes of a long
	// message while another one waits. Such a message is given up.
	slowAfter = 10 * time.Second
	slowBytes = 64 << 10

	// lineWait is how long a long line of the MCP host waits for memory while no other
	// long line makes progress. What the host sends after it waits, too, and that may be what
	// frees the memory.
	lineWait = 15 * time.Second
)

// thirds divides the memory of a process: what the host sends, what the server sends,
// and the giant among that.
func thirds(memory int) int64 {
	return max(int64(memory)-processMemory, leastMemory) / 3
}

// grown returns the capacity for a message that has filled one: not much more than
// what has arrived, whatever was announced.
func grown(capacity, most int) int {
	switch {
	case capacity < shortMessage:
		capacity = shortMessage
	case capacity < giantMessage:
		capacity = min(4*capacity, giantMessage)
	case capacity < 4*giantMessage:
		capacity = 4 * giantMessage
	default:
		return most
	}
	return min(capacity, most)
}

// memory is what the messages of a server take. Safe for concurrent use.
type memory struct {
	mu      sync.Mutex // guards what follows
	free    int64
	giant   *share            // whose turn it is
	active  map[*share]bool   // whether they wait
	lines   map[bool][]*share // those that wait for memory, and those that wait to be the giant
	changed chan struct{}     // closed when something is given back
}

func newMemory(size int64) *memory {
	return &memory{free: size, active: make(map[*share]bool), lines: make(map[bool][]*share),
		changed: make(chan struct{})}
}

// share is what one message takes. It is used by one goroutine at a time.
type share struct {
	memory *memory
	stop   func() // ends the reading of the message
	counts bool   // it is long enough to be counted

	read    atomic.Int64 // how much has arrived
	evicted atomic.Bool  // it came too slowly

	// guarded by memory.mu
	held   int64
	whole  bool // nothing more has to arrive
	seen   int64
	seenAt time.Time
}

// share begins a message; stop ends its reading.
func (m *memory) share(stop func()) *share { return &share{memory: m, stop: stop} }

// grow waits until the message may take so many bytes.
func (s *share) grow(ctx context.Context, to int) error {
	if to <= shortMessage {
		return nil
	}
	s.counts = true
	m := s.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.giant == s || int64(to) <= s.held {
		return nil
	}
	giant := to > giantMessage
	m.lines[giant] = append(m.lines[giant], s)
	m.active[s] = true
	defer func() {
		m.leave(giant, s)
		m.active[s] = false
	}()
	for {
		if m.lines[giant][0] == s && m.take(s, giant, int64(to)) {
			return nil
		}
		if err := m.wait(ctx); err != nil {
			return err
		}
	}
}

// take gives a message its bytes, if they are there. The caller holds mu.
func (m *memory) take(s *share, giant bool, to int64) bool {
	switch {
	case !giant && m.free >= to-s.held:
		m.free -= to - s.held
		s.held = to
	case m.giant == nil:
		// Others, too, take the giant's turn where there is not enough: each of them may
		// wait for what the others have.
		m.giant = s
		m.free += s.held
		s.held = 0
	default:
		return false
	}
	m.signal()
	return true
}

// wait waits until something has changed. The caller holds mu.
func (m *memory) wait(ctx context.Context) error {
	changed := m.changed
	m.mu.Unlock()
	var err error
	select {
	case <-changed:
	case <-time.After(slowAfter / 10):
	case <-ctx.Done():
		err = ctx.Err()
	}
	m.mu.Lock()
	m.evict(time.Now())
	return err
}

// evict gives up messages that come too slowly. The caller holds mu.
func (m *memory) evict(now time.Time) {
	for s, waits := range m.active {
		read := s.read.Load()
		switch since := now.Sub(s.seenAt); {
		case waits, s.whole, since > 2*slowAfter, read-s.seen >= slowBytes:
			s.seen, s.seenAt = read, now
		case since > slowAfter && !s.evicted.Swap(true):
			go s.stop()
		}
	}
}

// leave takes a message out of a line. The caller holds mu.
func (m *memory) leave(giant bool, s *share) {
	m.lines[giant] = slices.DeleteFunc(m.lines[giant], func(other *share) bool { return other == s })
	m.signal()
}

// signal wakes those that wait. The caller holds mu.
func (m *memory) signal() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// arrived notes that the message is complete: from now on the host's pace counts.
func (s *share) arrived() {
	if !s.counts {
		return
	}
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	s.whole = true
}

// release gives back what the message took, which must not be used any more. The share
// can be used for another one.
func (s *share) release() {
	if !s.counts {
		return
	}
	s.counts = false
	m := s.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	s.whole, s.seen, s.seenAt = false, 0, time.Time{}
	s.read.Store(0)
	if m.giant == s {
		// What is given back has to be there for the next one.
		m.mu.Unlock()
		runtime.GC()
		m.mu.Lock()
		m.giant = nil
	}
	m.free += s.held
	s.held = 0
	delete(m.active, s)
	m.signal()
}

// lineMemory is what the MCP host's lines take, for as long as anything refers to them.
type lineMemory struct {
	size int64
	used atomic.Int64
	sent atomic.Int64 // bytes of lines on their way to the server, of which only the change counts
}

// take waits for more bytes and reports whether they are there. It gives up after
// lineWait in which nothing was given back or sent.
func (m *lineMemory) take(n int64) bool {
	used, sent, since := m.used.Load(), m.sent.Load(), time.Now()
	for {
		nowUsed, nowSent := m.used.Load(), m.sent.Load()
		if nowUsed != used || nowSent-sent >= slowBytes {
			used, sent, since = nowUsed, nowSent, time.Now()
		}
		if used+n <= m.size {
			m.used.Add(n)
			return true
		}
		if n > m.size || time.Since(since) > lineWait {
			return false
		}
		time.Sleep(50 * time.Millisecond)
		runtime.GC() // which is what gives lines back
	}
}

// countedReader counts what is read.
type countedReader struct {
	io.Reader
	read *atomic.Int64
}

// Read implements [io.Reader].
func (r countedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.read.Add(int64(n))
	return n, err
}

// keep gives bytes back once the line is not referred to any more.
func (m *lineMemory) keep(line []byte, n int64) {
	switch {
	case cap(line) == 0:
		m.used.Add(-n)
	case n > 0:
		runtime.AddCleanup(&line[:1][0], func(n int64) { m.used.Add(-n) }, n)
	}
}
