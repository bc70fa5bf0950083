// Package awake bounds work by the time that the process was able to run. After a stop (SIGSTOP, a
// paused container or virtual machine, a laptop's sleep) every ordinary deadline of a process has
// passed, although the response that it waits for may have been received and only needs to be read.
//
// It is not a clock: expiry times of tokens use the wall clock.
package awake

import (
	"context"
	"sync"
	"time"
)

// tick is the longest stretch of time that counts at once: whatever happens
// between two ticks, at most one tick has passed.
const tick = 250 * time.Millisecond

// WithTimeout returns a copy of parent that ends with [context.DeadlineExceeded]
// after the process has been awake for d. [context.Cause] then returns cause, or
// the same error if cause is nil. Its Deadline is the parent's: by the
// clock it is not known when d is over. Calling cancel releases its resources.
func WithTimeout(parent context.Context, d time.Duration,
	cause error) (ctx context.Context, cancel context.CancelFunc) {
	if cause == nil {
		cause = context.DeadlineExceeded
	}
	inner, end := context.WithCancelCause(parent)
	c := &timeoutContext{Context: inner, end: end, done: make(chan struct{})}
	if err := parent.Err(); err != nil {
		c.finish(err, context.Cause(parent))
	} else {
		go c.count(d, cause)
	}
	return c, func() { c.finish(context.Canceled, context.Canceled) }
}

// timeoutContext has a done channel of its own, and thereby an error of its own
// that the contexts derived from it share; the inner one holds the cause.
type timeoutContext struct {
	context.Context
	end  context.CancelCauseFunc
	done chan struct{}

	mu  sync.Mutex
	err error // guarded by mu
}

// count ends the context after d, or with its parent.
func (c *timeoutContext) count(d time.Duration, cause error) {
	step := min(tick, max(d, 1))
	// A Ticker drops the ticks that were not received: after a stop there is one.
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	for left := d; left > 0; left -= step {
		select {
		case <-ticker.C:
		case <-c.Context.Done():
			c.finish(c.Context.Err(), context.Cause(c.Context))
			return
		}
	}
	c.finish(context.DeadlineExceeded, cause)
}

func (c *timeoutContext) finish(err, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	c.end(cause)
	close(c.done)
}

// Done implements [context.Context].
func (c *timeoutContext) Done() <-chan struct{} { return c.done }

// Err implements [context.Context].
func (c *timeoutContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
