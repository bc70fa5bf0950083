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
	c := &timeoutContext{Context: inner, end: end, done: make(chan struct{}), left: d, cause: cause}
	if err := parent.Err(); err != nil {
		c.finish(err, context.Cause(parent))
		return c, func() {}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// Neither takes a goroutine before it has something to do: most timeouts are never reached.
	c.unwatch = context.AfterFunc(inner, func() { c.finish(inner.Err(), context.Cause(inner)) })
	c.timer = time.AfterFunc(c.step(), c.count)
	return c, func() { c.finish(context.Canceled, context.Canceled) }
}

// Restart has a context of [WithTimeout] end d from now: what it bounds makes progress.
func Restart(ctx context.Context, d time.Duration) {
	if c, ok := ctx.(*timeoutContext); ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.left = d
	}
}

// timeoutContext has a done channel of its own, and thereby an error of its own
// that the contexts derived from it share; the inner one holds the cause.
type timeoutContext struct {
	context.Context
	end   context.CancelCauseFunc
	cause error
	done  chan struct{}

	mu      sync.Mutex
	err     error         // guarded by mu
	left    time.Duration // guarded by mu; what the timer has not been set to yet
	timer   *time.Timer   // guarded by mu; nil if the parent had ended before
	unwatch func() bool   // guarded by mu; ends the watch of the parent, as the timer
}

// step takes the next stretch of time from what is left. c.mu is held.
func (c *timeoutContext) step() time.Duration {
	step := min(tick, max(c.left, 0))
	c.left -= step
	return step
}

// count is called when a stretch of time is over. After a stop the timer fires once, however many
// stretches the stop lasted.
func (c *timeoutContext) count() {
	c.mu.Lock()
	over := c.left <= 0
	if !over && c.err == nil {
		c.timer.Reset(c.step())
	}
	c.mu.Unlock()
	if over {
		c.finish(context.DeadlineExceeded, c.cause)
	}
}

func (c *timeoutContext) finish(err, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	if c.timer != nil {
		c.timer.Stop()
		c.unwatch()
	}
	c.end(cause)
	close(c.done)
}

// Done implements [context.Context].
func (c *timeoutContext) Done() <-chan struct{} { return c.done }

// AfterFunc has package context watch c without a goroutine, as it watches contexts of its own. The
// watcher asks for Err, which c has by then.
func (c *timeoutContext) AfterFunc(f func()) (stop func() bool) {
	return context.AfterFunc(c.Context, func() {
		c.finish(c.Context.Err(), context.Cause(c.Context))
		f()
	})
}

// Err implements [context.Context].
func (c *timeoutContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
