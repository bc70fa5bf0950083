package bridge

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// streamState is what a response may be expected of on a stream that is not the request's own.
type streamState int

const (
	streamNone   streamState = iota // there is none, and none is tried
	streamClosed                    // it is being opened, or is tried again after a pause
	streamOpen
)

// sessionStream is the stream of one session on which the server sends what belongs to no
// request.
type sessionStream struct {
	stop    context.CancelFunc
	head    chan struct{} // closed once the server has responded to the first GET
	givenUp atomic.Bool   // the tries have ended
	wake    chan struct{} // ends the wait after that

	mu      sync.Mutex // guards what follows
	state   streamState
	changed chan struct{} // closed when the state changes
}

func newSessionStream(stop context.CancelFunc) *sessionStream {
	return &sessionStream{stop: stop, head: make(chan struct{}), wake: make(chan struct{}, 1), state: streamClosed,
		changed: make(chan struct{})}
}

// now returns the state, and a channel that is closed when it changes.
func (s *sessionStream) now() (streamState, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, s.changed
}

func (s *sessionStream) set(state streamState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != state {
		s.state = state
		close(s.changed)
		s.changed = make(chan struct{})
	}
}

// listen opens the session's own stream, on which the server sends what belongs
// to no request, for as long as the session lasts. It waits until that is open:
// what a server wants to send while it is not, some throw away, and a request
// whose tool requests something from the host would wait for ever.
func (u *upstream) listen(ctx context.Context) {
	if u.speaksSSE() {
		return
	}
	u.mu.Lock()
	if u.stream != nil {
		u.mu.Unlock()
		return
	}
	life, cancel := context.WithCancel(u.life)
	s := newSessionStream(cancel)
	u.stream = s
	u.mu.Unlock()
	u.do(func() {
		defer cancel()
		u.keepStream(life, s)
	})
	timer := time.NewTimer(streamWait)
	defer timer.Stop()
	select {
	case <-s.head:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// inUse takes up the session's stream again, if the tries to open it have ended: the server
// has just responded to a request, if only that it will do so on the stream.
func (u *upstream) inUse() {
	u.mu.Lock()
	s := u.stream
	u.mu.Unlock()
	if s != nil && s.givenUp.CompareAndSwap(true, false) {
		s.set(streamClosed)
		s.wake <- struct{}{} // it holds the one value of a stream that is given up
	}
}

// keepStream keeps the session's stream open. A server that rejects it before it was ever open
// offers none, whatever status it gives for that; one that had it open may just not be ready.
func (u *upstream) keepStream(ctx context.Context, s *sessionStream) {
	ctx = u.background(ctx)
	responded := sync.OnceFunc(func() { close(s.head) })
	defer responded()
	defer s.set(streamNone)
	var r resumption
	known, probed := false, false // the server has had it open; whether the session has ended with it
	for ctx.Err() == nil {
		session, _ := u.currentSession()
		resp, err := u.get(ctx, session, r.id)
		responded()
		switch {
		case err != nil:
			r.failures++
		case resp.StatusCode == http.StatusOK && contentType(resp.Header) == acceptStream:
			known, probed = true, false
			s.set(streamOpen)
			u.listenTo(resp, &r)
			s.set(streamClosed)
		default:
			discard(resp)
			passing := notNow(resp.StatusCode)
			if !known && !passing {
				return
			}
			r.rejected(resp.Header)
			if !passing && !probed {
				probed = true
				u.do(func() { u.probe(ctx) })
			}
		}
		if !u.pauseStream(ctx, s, &r) {
			return
		}
	}
}

// listenTo delivers what comes on the session's stream until that ends.
func (u *upstream) listenTo(resp *http.Response, r *resumption) {
	defer resp.Body.Close()
	began := time.Now()
	messages, _ := u.events(u.eventsOf(resp), nil, r)
	r.ended(time.Since(began), messages)
}

// pauseStream waits for the next try. After too many failures it waits until the server is
// in use again.
func (u *upstream) pauseStream(ctx context.Context, s *sessionStream, r *resumption) bool {
	if r.failures < streamFailures {
		return pause(ctx, r.pause())
	}
	s.set(streamNone)
	u.Logger.Debug("the session's stream is given up until the server is used again")
	if !pause(ctx, r.pause()) {
		return false
	}
	s.givenUp.Store(true)
	select {
	case <-s.wake:
		return true
	case <-ctx.Done():
		return false
	}
}

// probe lets a ping find out whether the session has ended with its stream: if so, the ping
// is rejected, and the session replaced as for any request.
func (u *upstream) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(u.background(ctx), aliveTimeout)
	defer cancel()
	if _, err := u.request(ctx, object("jsonrpc", "2.0", "id", u.nextID(), "method", "ping")); err != nil {
		u.Logger.Debug("the session's stream was rejected, and a ping had no response", "err", err)
	}
}

// notNow reports whether a status reports that the server cannot do now what it may do later.
func notNow(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status/100 == 5 && status != http.StatusNotImplemented && status != http.StatusHTTPVersionNotSupported
}
