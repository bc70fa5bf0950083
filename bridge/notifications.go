package bridge

import (
	"context"
	"time"
)

const (
	// notificationWait is how long what the host sends next waits for the server to accept
	// a notification.
	notificationWait = 2 * time.Second

	// offerWait is how much of that notifications/initialized takes, after which the
	// session's stream is opened.
	offerWait = notificationWait - streamWait

	// notificationTimeout is how long the server may take to accept a notification, or a
	// response of the host, while nothing waits for it.
	notificationTimeout = time.Minute

	// notificationsKept bounds the notifications that wait for their turn.
	notificationsKept = 1000
)

// turns is the order of the host's notifications.
type turns struct {
	waiting int             // those whose turn has not come
	last    <-chan struct{} // closed when the turn of the last one is over
}

// inTurn does what a notification of the host wants, after those that came before: one that takes
// long goes on beside those that follow. It returns a channel that is closed when its turn is
// over, and reports false if too many wait.
func (b *bridge) inTurn(work func()) (over <-chan struct{}, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.turns.waiting >= notificationsKept {
		b.Logger.Warn("a notification was dropped: the server accepts none, and too many wait")
		return nil, false
	}
	b.turns.waiting++
	b.sent.Add(1)
	before, barrier, done := b.turns.last, b.barrier, make(chan struct{})
	b.turns.last = done
	b.do(func() {
		defer close(done)
		<-before
		b.mu.Lock()
		b.turns.waiting--
		b.mu.Unlock()
		_ = wait(b.life, barrier)
		held := func() bool { return b.delayed() || b.up.replacing() }
		b.within(notificationWait, held, func() {
			defer b.sent.Done()
			work()
		})
	})
	return done, true
}

// within runs a piece of work and returns when that is done, or goes on beside whatever
// follows: after a time, unless something else holds it up, or when the session ends. What goes on
// beside has reached the server, so that the order is kept.
func (b *bridge) within(wait time.Duration, held func() bool, work func()) {
	done := make(chan struct{})
	b.do(func() {
		defer close(done)
		work()
	})
	for again := true; again; again = held() {
		select {
		case <-done:
			return
		case <-b.life.Done():
			return
		case <-time.After(wait):
		}
	}
}

// offer sends a message without a response. It returns nil if the server has not accepted that in
// time, unless something else holds it up: the work goes on then.
func (b *bridge) offer(ctx context.Context, held func() bool, send func(ctx context.Context) error) error {
	result := make(chan error, 1)
	b.within(offerWait, held, func() {
		ctx, cancel := b.accepting(ctx)
		defer cancel()
		result <- send(ctx)
	})
	select {
	case err := <-result:
		return err
	default:
		return b.life.Err()
	}
}

// delayed reports whether it is no fault of the server that a message has not reached it.
func (b *bridge) delayed() bool { return b.userAwaited() || b.up.unsettled.Load() != 0 }

// userAwaited reports whether a user has to act before requests can go through.
func (b *bridge) userAwaited() bool {
	awaited, _ := b.User.status()
	return awaited
}

// accepting returns a context for a message without a response, which belongs to no request. It
// ends when the server has not accepted the message in time.
func (b *bridge) accepting(request context.Context) (context.Context, context.CancelFunc) {
	return b.bounded(b.lifeFor(request), notificationTimeout)
}

// bounded returns a context that ends after a time, of which the time in which the user is waited
// for is no part.
func (b *bridge) bounded(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		for d > 0 && pause(ctx, min(d, userWaitStep)) {
			if !b.userAwaited() {
				d -= userWaitStep
			}
		}
	}()
	return ctx, cancel
}
