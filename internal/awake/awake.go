// Package awake bounds work by the time that the process was able to run. A
// process that is stopped (SIGSTOP, a paused container or virtual machine, a
// laptop's sleep) wakes to find every ordinary deadline over, although what it
// waits for may long be there to be read.
package awake

import (
	"context"
	"time"
)

// tick is the longest stretch of time that counts at once: whatever happens
// between two ticks, at most one tick has passed.
const tick = 250 * time.Millisecond

// WithTimeout returns a copy of parent that ends with [context.DeadlineExceeded]
// as its cause, or with cause if that is not nil, after the process has been
// awake for d. Its Deadline is the parent's, and its Err is
// [context.Canceled]. Calling cancel releases its resources.
func WithTimeout(parent context.Context, d time.Duration, cause error) (ctx context.Context, cancel context.CancelFunc) {
	if cause == nil {
		cause = context.DeadlineExceeded
	}
	ctx, end := context.WithCancelCause(parent)
	step := min(tick, max(d, 1))
	go func() {
		// A Ticker drops the ticks that nobody took: after a stop there is one.
		ticker := time.NewTicker(step)
		defer ticker.Stop()
		for left := d; left > 0; left -= step {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
		end(cause)
	}()
	return ctx, func() { end(context.Canceled) }
}
