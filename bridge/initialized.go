package bridge

import (
	"context"
	"errors"

	"github.com/handstamp/handstamp/internal/errtype"
)

// initialized notifies the server, once for each session, that it has begun, and
// listens to what it sends outside of requests. Servers may reject what overtakes that: whoever
// comes second waits for it.
func (u *upstream) initialized(ctx context.Context, m *message) error {
	u.mu.Lock()
	round, sent, over := u.round, u.initializedSent, u.initializing
	if !sent {
		over = make(chan struct{})
		u.initializedSent, u.initializing = true, over
	}
	u.mu.Unlock()
	if sent {
		return wait(ctx, over)
	}
	defer close(over)
	err := u.offer(func(ctx context.Context) error { return u.sendInitialized(ctx, m, round) })
	if rejected, ok := errtype.As[*rejection](err); ok && rejected.sessionSign(&call{message: m}) == sessionOver {
		return errOver
	}
	u.listen(ctx)
	return err
}

// sendInitialized sends the notification of a round, and once more for as long as the server, or
// what is before it, is restarting: there is no session without it, and it does nothing that could
// be doubled.
func (u *upstream) sendInitialized(ctx context.Context, m *message, round int) error {
	for try := 1; ; try++ {
		_, err := u.send(&call{message: m, ctx: ctx, plain: true})
		if !unreachableYet(err) || errors.Is(err, streamGone) {
			return err
		}
		if !pause(ctx, dialPause<<min(try, 4)) {
			u.initializedLost(round)
			return err
		}
		u.mu.Lock()
		replaced := u.round != round
		u.mu.Unlock()
		if replaced {
			return err
		}
	}
}

// initializedLost notes that the server does not know that the session of a round has begun.
func (u *upstream) initializedLost(round int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.round == round {
		u.initializedSent = false
	}
}

// confirmAgain notifies the server that the session has begun, if all tries to do that before were
// lost.
func (u *upstream) confirmAgain(ctx context.Context) {
	u.mu.Lock()
	unknown := u.initializing != nil && !u.initializedSent && u.replacement == nil
	u.mu.Unlock()
	if !unknown {
		return
	}
	if err := u.era.confirm(ctx); err != nil {
		u.Logger.Debug("the server could not be notified that the session has begun", "err", err)
	}
}
