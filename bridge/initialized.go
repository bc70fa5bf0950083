package bridge

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/handstamp/handstamp/internal/errtype"
)

// beginning is what the server knows of the beginning of a session, for which it responds to
// initialize first, and gets notifications/initialized then.
type beginning int

const (
	beginningOpen  beginning = iota // there was no notification yet
	beginningSent                   // it is on its way
	beginningLost                   // all tries to send it have failed: the next request is another reason
	beginningKnown                  // the server has taken or rejected it, or has carried out a request
)

// initialized notifies the server, once for each session, that it has begun, and
// listens to what it sends outside of requests. Servers may reject what overtakes that: whoever
// comes second waits for it.
func (u *upstream) initialized(ctx context.Context, m *message) error {
	u.mu.Lock()
	round, over := u.round, u.initializing
	sends := u.beginning == beginningOpen || u.beginning == beginningLost
	if sends {
		over = make(chan struct{})
		u.beginning, u.initializing = beginningSent, over
	}
	u.mu.Unlock()
	if !sends {
		return wait(ctx, over)
	}
	defer close(over)
	var failed atomic.Bool // one try has
	c := &call{message: m, plain: true, sent: new(sending)}
	held := func() bool { return u.userAwaited() || u.delayed() && !failed.Load() && !c.sent.atServer() }
	err := u.offer(ctx, held, func(ctx context.Context) error {
		c.ctx = ctx
		return u.sendInitialized(c, round, &failed)
	})
	if errors.Is(err, errOver) {
		return err
	}
	u.listen(ctx)
	return err
}

// sendInitialized sends the notification of a round, and once more for as long as the server, or
// what is before it, is restarting: there is no session without it, and it does nothing that could
// be doubled. An error means that the server does not know of it.
func (u *upstream) sendInitialized(c *call, round int, failed *atomic.Bool) error {
	for try := 1; ; try++ {
		_, err := u.send(c)
		again, sign := unreachableYet(err) && !errors.Is(err, streamGone), sessionUnknown
		if rejected, ok := errtype.As[*rejection](err); ok && !again {
			sign = rejected.sessionSign(&call{message: c.message})
		}
		if err == nil || sign != sessionUnknown { // another try would come to the same
			u.notified(round, beginningKnown)
			if sign == sessionOver {
				return errOver
			}
			return nil
		}
		failed.Store(true)
		wait := dialPause << min(try, 4)
		if t, ok := errtype.As[*Trouble](err); ok {
			wait = max(wait, t.RetryAfter)
		}
		if !again || !pause(c.ctx, wait) {
			u.notified(round, beginningLost)
			return err
		}
		if !u.unnotified(round) {
			return err
		}
	}
}

// notified notes what has become of the notification of a round.
func (u *upstream) notified(round int, is beginning) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.round == round && u.beginning == beginningSent {
		u.beginning = is
	}
}

// unnotified reports whether the notification of a round is still to be sent.
func (u *upstream) unnotified(round int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.round == round && u.beginning == beginningSent
}

// carriedOut notes the response to a request: a server that carries one out takes the session for
// begun, whatever has become of the notification. To a ping it may respond before that.
func (u *upstream) carriedOut(c *call, m *message) {
	if m.result == nil || c.batch || c.is("initialize") || c.is("ping") {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.round == int(c.round.Load()) && u.beginning != beginningOpen {
		u.beginning = beginningKnown
	}
}

// confirmAgain notifies the server that the session has begun, if all tries to do that before were
// lost.
func (u *upstream) confirmAgain(ctx context.Context) {
	u.mu.Lock()
	unknown := u.beginning == beginningLost && u.replacement == nil
	u.mu.Unlock()
	if !unknown {
		return
	}
	if err := u.era.confirm(ctx); err != nil {
		u.notNotified(err)
	}
}

func (u *upstream) notNotified(err error) {
	u.Logger.Debug("the server could not be notified that the session has begun", "err", err)
}
