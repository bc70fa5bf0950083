package bridge

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
)

// A session is what servers before 2026-07-28 may tie requests to
// ("Session Management" of those revisions). It is hidden from the host: when
// the server forgets one, the bridge begins another with the host's own
// initialize.

// replacement is the replacement of a session that the server has ended. One is
// enough for all requests that meet its end.
type replacement struct {
	done       chan struct{}
	err        error
	background bool // no request of the host needs it
}

// again reports whether a replacement that is over is to be tried again, for a request of the host:
// this one was not for the host, so that the user was not needed.
func (r *replacement) again(request context.Context) bool {
	return request.Err() == nil && r.err != nil && r.background && !inBackground(request)
}

// sessionBegun notes the session that the response to initialize has begun.
func (u *upstream) sessionBegun(session string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.endPrevious(session)
	u.session = session
	u.advance()
}

// advance begins another round. The caller holds mu.
func (u *upstream) advance() int {
	u.beginning, u.initializing, u.acceptedAny = beginningOpen, nil, false
	u.round++
	clear(u.inquiries)
	return u.round
}

// currentSession returns the id of the present session and its version of MCP; empty: none.
func (u *upstream) currentSession() (session, version string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.session, u.version
}

// setVersion notes the version that the server has chosen.
func (u *upstream) setVersion(version string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.version = version
}

// established reports whether the server has responded to initialize.
func (u *upstream) established() bool {
	_, version := u.currentSession()
	return version != ""
}

// awaitSession waits until a session that is being replaced has been, and the server knows that it
// has begun, for a message that is no part of that.
func (u *upstream) awaitSession(c *call) error {
	if c.plain || c.is("initialize") || c.response() || modernVersion(c.message) != "" {
		return nil
	}
	u.mu.Lock()
	r := u.replacement
	u.mu.Unlock()
	if r != nil {
		_ = u.awaitReplacement(c.ctx, r) // if that failed, this is another try
	}
	u.confirmAgain(c.ctx)
	return c.ctx.Err()
}

// awaitReplacement waits for a replacement, before which the server takes nothing, and returns what
// came of it.
func (u *upstream) awaitReplacement(ctx context.Context, r *replacement) error {
	u.unsettled.Add(1)
	defer u.unsettled.Add(-1)
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// replace replaces the session of a round, unless that was done already, because the
// server has rejected a message of a method. It returns errTooSoon if that did not help a
// moment ago.
func (u *upstream) replace(ctx context.Context, round int, s shape, method string) error {
	for {
		r, err := u.replacementFor(ctx, round, s, method)
		if r == nil {
			return err
		}
		if err := u.awaitReplacement(ctx, r); !r.again(ctx) {
			return err
		}
	}
}

// replacementFor returns the replacement under way, or starts one; nil: it is done, or not to be
// done.
func (u *upstream) replacementFor(
	ctx context.Context, round int, s shape, method string,
) (*replacement, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.replacement != nil:
		return u.replacement, nil
	case u.round != round:
		return nil, nil
	case u.tooSoon(s):
		return nil, errTooSoon
	}
	return u.beginReplacement(ctx, s, method), nil
}

// beginReplacement starts to replace the session. The caller holds mu.
func (u *upstream) beginReplacement(ctx context.Context, s shape, method string) *replacement {
	r := &replacement{done: make(chan struct{}), background: inBackground(ctx)}
	u.replacement = r
	if u.stream != nil {
		u.stream.stop()
		u.stream = nil
	}
	round, life := u.round, u.lifeFor(ctx)
	u.do(func() {
		if u.speaksSSE() {
			r.err = u.legacy.reopen(life, round)
		} else {
			r.err = u.beginAgain(life)
		}
		u.mu.Lock()
		if permanent(r.err) {
			u.replacedFor(s, method)
		}
		u.replacement = nil
		u.mu.Unlock()
		close(r.done)
	})
	return r
}

// replacing reports whether a session is being replaced: what was sent meanwhile waits for that.
func (u *upstream) replacing() bool {
	u.mu.Lock()
	replacing := u.replacement != nil
	u.mu.Unlock()
	u.legacy.mu.Lock()
	defer u.legacy.mu.Unlock()
	return replacing || u.legacy.opening != nil
}

// permanent reports whether a replacement that ended with an error, or with none, would
// end so again: not if the server could not be reached, or not now, or the user has to sign in.
func permanent(err error) bool {
	t, ok := errtype.As[*Trouble](err)
	return err == nil || errors.Is(err, errOver) || ok && !t.Retry && !t.fromSignIn && t != lost
}

// replaceCurrent replaces the session as it is.
func (u *upstream) replaceCurrent(ctx context.Context) error {
	u.mu.Lock()
	round := u.round
	u.mu.Unlock()
	return u.replace(ctx, round, shape{status: http.StatusNotFound}, "notifications/initialized")
}

// initializeTries is how often a session is begun when the server ends each at once.
const initializeTries = 2

// errOver reports that the server has ended the session of a notification.
var errOver = &Trouble{Code: CodeRejected, Reason: "session_ended", Message: "the server ends each session at once"}

// beginAgain begins a session with what the host sent when it began: initialize and,
// once that has its response, notifications/initialized. The host does not notice.
func (u *upstream) beginAgain(ctx context.Context) error {
	hello := u.era.now().hello
	if hello == nil {
		return notValid("the server has ended a session that the MCP host has not begun")
	}
	for try := 1; ; try++ {
		response, err := u.reintroduce(ctx, hello)
		if err != nil {
			return err
		}
		if response.error != nil {
			return rejectedBy("a new session", response)
		}
		u.setVersion(text(member(response.result, "protocolVersion")))
		u.Logger.Debug("a new session with the server has begun")
		err = u.era.confirm(ctx)
		_, rejected := errtype.As[*rejection](err)
		switch {
		case errors.Is(err, errOver) && try < initializeTries:
			continue
		case rejected: // the next request sends it once more, and the server may work without
			u.notNotified(err)
		case err != nil:
			return err
		}
		u.restore(ctx, member(response.result, "capabilities"))
		return nil
	}
}

// reintroduce sends the initialize of a session that replaces another. It is sent again
// for a while if the server goes away meanwhile: it does nothing that could be doubled.
func (u *upstream) reintroduce(ctx context.Context, hello []byte) (*message, error) {
	began := time.Now()
	for try := 1; ; try++ {
		response, err := u.beginWithin(ctx, replacementTimeout, func(ctx context.Context) (*message, error) {
			return u.requestOn(ctx, set(hello, "id", u.nextID()), true)
		})
		if err == nil || response != nil || !temporary(err) || time.Since(began) > dialTimeout {
			return response, err
		}
		if !pause(ctx, dialPause<<min(try, 4)) {
			return nil, ctx.Err()
		}
	}
}

const (
	// firstTimeout is how long a server may take to respond to the first initialize of a host, which
	// may have to wake it, and replacementTimeout to that of a session that replaces another.
	firstTimeout       = 5 * time.Minute
	replacementTimeout = time.Minute
)

// beginTimeout returns how long the server may take to respond to the host's own initialize.
// Negative: for as long as it takes.
func (o *Options) beginTimeout() time.Duration {
	if o.InitializeWait < 0 {
		return o.InitializeWait
	}
	return firstTimeout
}

// beginWithin sends initialize and gives it up after a time: where it was swallowed on its way, no
// request would go through for as long as the connection lives. Another one does nothing that
// could be doubled. A negative time is none.
func (u *upstream) beginWithin(
	ctx context.Context, d time.Duration, send func(context.Context) (*message, error),
) (*message, error) {
	if d < 0 {
		return send(ctx)
	}
	bounded, cancel := u.bounded(ctx, d)
	defer cancel()
	response, err := send(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		err = unreachable("the server has not responded to initialize")
	}
	return response, err
}

// temporary reports whether an error is what clients see while a server is restarted.
func temporary(err error) bool {
	if rejected, ok := errtype.As[*rejection](err); ok {
		return rejected.status == http.StatusBadGateway || rejected.status == http.StatusServiceUnavailable ||
			rejected.status == http.StatusGatewayTimeout
	}
	return errors.Is(err, lost)
}

// close ends the session at the server.
func (u *upstream) close(ctx context.Context) {
	if u.speaksSSE() {
		return // the end of its stream is the end of the session
	}
	u.mu.Lock()
	session, version := u.session, u.version
	u.session = ""
	u.mu.Unlock()
	if session != "" {
		u.endSession(ctx, session, version)
	}
}

// nextID returns an id for a request of the bridge's own.
func (b *bridge) nextID() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.serial++
	return []byte(strconv.Quote("handstamp-" + strconv.Itoa(b.serial)))
}
