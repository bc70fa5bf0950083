package bridge

import (
	"context"
	"errors"
	"strconv"
)

// A session is what servers before 2026-07-28 may tie requests to
// ("Session Management" of those revisions). The host knows nothing of it: when
// the server forgets one, the bridge begins another with the host's own
// initialize.

// renewal is the replacement of a session that the server has ended. One is
// enough for all requests that meet its end.
type renewal struct {
	done chan struct{}
	err  error
}

// opened notes the session that the answer to initialize has begun.
func (u *upstream) opened(session string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.leaves(session)
	u.session, u.told = session, false
	u.round++
}

// agreed notes the version that the server has chosen.
func (u *upstream) agreed(version string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.version = version
}

// established reports whether the server has answered initialize.
func (u *upstream) established() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.version != ""
}

// renew replaces the session of a round, unless somebody has done so already.
func (u *upstream) renew(ctx context.Context, round int) error {
	u.mu.Lock()
	r := u.renewal
	if r == nil && u.round != round {
		u.mu.Unlock()
		return nil
	}
	if r == nil {
		r = &renewal{done: make(chan struct{})}
		u.renewal = r
		if u.stream != nil {
			u.stream.stop()
			u.stream = nil
		}
		u.do(func() {
			r.err = u.greet(u.life)
			u.mu.Lock()
			u.renewal = nil
			u.mu.Unlock()
			close(r.done)
		})
	}
	u.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// again replaces the session as it is.
func (u *upstream) again(ctx context.Context) error {
	u.mu.Lock()
	round := u.round
	u.mu.Unlock()
	return u.renew(ctx, round)
}

// greetings is how often a session is begun when the server ends each at once.
const greetings = 3

// errOver says that the server has ended the session of a notification.
var errOver = errors.New("the server has ended the session")

// greet begins a session with what the host said when it began: initialize and,
// once that is answered, notifications/initialized. The host hears nothing of it.
func (u *upstream) greet(ctx context.Context) error {
	hello := u.era.hello()
	if hello == nil {
		return &Trouble{Code: CodeProtocol, Reason: "protocol", Message: "the server has ended a session that the host has not begun"}
	}
	for try := 1; ; try++ {
		answer, err := u.ask(ctx, set(hello, "id", u.nextID()))
		if err != nil {
			return err
		}
		if answer.error != nil {
			return &Trouble{Code: CodeRefused, Reason: "refused", Message: "the server refuses a new session: " + text(member(answer.error, "message"))}
		}
		u.agreed(text(member(answer.result, "protocolVersion")))
		u.Logger.Debug("a new session with the server has begun")
		if err := u.era.confirm(ctx); !errors.Is(err, errOver) || try == greetings {
			return err
		}
	}
}

// initialized tells the server, once for each session, that it has begun, and
// listens to what it has to say outside of requests.
func (u *upstream) initialized(ctx context.Context, m *message) error {
	u.mu.Lock()
	told := u.told
	u.told = true
	u.mu.Unlock()
	if told {
		return nil
	}
	err := u.offer(func(ctx context.Context) error {
		_, err := u.send(ctx, m)
		return err
	})
	if !errors.Is(err, errOver) {
		u.listen(ctx)
	}
	return err
}

// close ends the session at the server (2025-11-25, "Session Management", 5).
func (u *upstream) close(ctx context.Context) {
	if u.speaksSSE() {
		return // the end of its stream is the end of the session
	}
	u.mu.Lock()
	session, version, gone := u.session, u.version, u.gone
	u.gone = true
	u.mu.Unlock()
	if session == "" || gone {
		return
	}
	u.endSession(ctx, session, version)
}

// nextID returns an id for a request of the bridge's own.
func (b *bridge) nextID() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.serial++
	return []byte(strconv.Quote("handstamp-" + strconv.Itoa(b.serial)))
}
