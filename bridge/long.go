package bridge

import (
	"sync"
	"sync/atomic"
	"time"
)

// Long messages are rare, and few programs give a bridge much memory.

// expectation is how long a message is thought to be that turns out to be long:
// as the last one was. Growing step by step copies what is there each time. Safe
// for concurrent use.
type expectation struct{ last atomic.Int64 }

const (
	leastExpected = 256 << 10
	mostExpected  = 2 << 20
)

// capacity returns the capacity for what is longer than a capacity.
func (e *expectation) capacity(than int) int {
	return max(2*than, int(min(max(e.last.Load(), leastExpected), mostExpected)))
}

// met notes how long a message was.
func (e *expectation) met(n int) {
	if n > pipeSize {
		e.last.Store(int64(n + n/16)) // the next may be a little longer
	}
}

const (
	// together is how many long messages are read at once. They leave through one pipe: what
	// is read sooner only waits there.
	together = 4

	// queueWait is how long one waits. A server may hold back the rest of one
	// response until another is read.
	queueWait = 250 * time.Millisecond
)

// longTurn waits for the turn of a long message, or for so long that it goes on without, and
// returns what ends it. It may be called twice.
func (u *upstream) longTurn() (done func()) {
	select {
	case u.long <- struct{}{}:
		return sync.OnceFunc(func() { <-u.long })
	case <-time.After(queueWait):
		return func() {}
	}
}
