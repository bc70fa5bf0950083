package bridge

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/sse"
)

// endpointTimeout bounds the wait for the first event of an HTTP+SSE stream, but for the time in which
// the user is waited for.
const endpointTimeout = 15 * time.Second

// fallBackWait bounds that wait for a server that has responded to initialize with an error of
// JSON-RPC: where it offers another kind of stream, that error is the response.
const fallBackWait = 3 * time.Second

// fallBackInterval is how long a rejected fall back to HTTP+SSE is not tried again.
const fallBackInterval = time.Minute

// postGrace is how long a POST may still be rejected when the stream for its response has ended:
// one that is was not carried out.
const postGrace = 2 * time.Second

// sseWire is HTTP+SSE, the transport of 2024-11-05: one stream on which the
// server sends everything, and an address to post to, which the stream names
// first. The stream is the session: when it ends, so do the requests that wait
// for a response on it, and the next one begins another.
type sseWire struct {
	up *upstream

	mu        sync.Mutex // guards what follows
	stream    *sseStream // nil: none is open
	known     bool       // the server speaks it
	rejected  time.Time  // when the server rejected a fall back to it
	opening   *replacement
	returning bool       // the stream is being opened again, although no request needs it
	again     resumption // when that is tried
}

// sseStream is one stream of HTTP+SSE.
type sseStream struct {
	endpoint string          // guarded by sseWire.mu
	round    int             // of the session on the stream
	alive    context.Context // ends with the stream
	hangUp   func()          // ends the stream
	over     chan struct{}   // closed when another can be opened
}

// end ends the stream, and returns when another can be opened.
func (s *sseStream) end() {
	s.hangUp()
	<-s.over
}

// now returns the state of the stream, and a channel that is closed when it ends.
func (s *sseStream) now() (streamState, <-chan struct{}) {
	if s.alive.Err() != nil {
		return streamNone, nil
	}
	return streamOpen, s.alive.Done()
}

// speaksSSE reports whether HTTP+SSE is what the server speaks.
func (u *upstream) speaksSSE() bool {
	if u.Wire == WireSSE {
		return true
	}
	u.legacy.mu.Lock()
	defer u.legacy.mu.Unlock()
	return u.legacy.known
}

// open opens the stream, unless it is.
func (w *sseWire) open(ctx context.Context) error {
	for {
		o := w.openingFor(ctx)
		if o == nil {
			return nil
		}
		if err := w.up.awaitReplacement(ctx, o); !o.again(ctx) {
			return err
		}
	}
}

// openingFor returns the opening under way of the stream, or starts one; nil: the stream is open.
func (w *sseWire) openingFor(ctx context.Context) *replacement {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.opening
	if o != nil || w.stream != nil {
		return o
	}
	o = &replacement{done: make(chan struct{}), background: inBackground(ctx)}
	w.opening = o
	life := w.up.lifeFor(ctx)
	w.up.do(func() {
		var s *sseStream
		if s, o.err = w.connect(life); o.err == nil && w.up.established() {
			// The old session ended with the old stream. A stream without one would be taken for it.
			if o.err = w.up.beginAgain(life); o.err != nil {
				s.end()
			}
		}
		w.mu.Lock()
		w.opening = nil
		w.mu.Unlock()
		close(o.done)
	})
	return o
}

// connect opens the stream and waits for its first event.
func (w *sseWire) connect(life context.Context) (*sseStream, error) {
	u := w.up
	ctx, cancel := context.WithCancel(life)
	opening, opened := u.bounded(ctx, endpointTimeout)
	defer opened()
	inTime := context.AfterFunc(opening, cancel)
	resp, err := u.get(ctx, "", "")
	if err != nil {
		cancel()
		return nil, u.broken(err)
	}
	if resp.StatusCode != http.StatusOK {
		defer cancel()
		r := u.rejectionOf(resp)
		r.atGET = true
		return nil, r
	}
	if kind := contentType(resp.Header); kind != acceptStream {
		defer cancel()
		discard(resp)
		return nil, &rejection{status: resp.StatusCode, atGET: true, Trouble: notMCP(kind)}
	}
	events := u.eventsOf(resp)
	endpoint, err := firstEndpoint(events.Reader, u.URL)
	if err != nil || !inTime() {
		cancel()
		resp.Body.Close()
		events.share.release()
		if t, ok := errtype.As[*Trouble](err); ok {
			return nil, t
		}
		return nil, noEndpoint
	}
	u.mu.Lock()
	round := u.advance()
	u.mu.Unlock()
	u.cancelServerRequests()
	s := &sseStream{endpoint: endpoint, round: round, alive: ctx, hangUp: cancel,
		over: make(chan struct{})}
	w.mu.Lock()
	w.stream, w.known = s, true
	w.mu.Unlock()
	u.Logger.Debug("the server speaks HTTP+SSE")
	u.do(func() {
		began := time.Now()
		_, err := u.events(events, nil, &resumption{})
		resp.Body.Close()
		w.mu.Lock()
		w.stream = nil
		if ctx.Err() == nil { // else the server has not ended it
			w.again.ended(time.Since(began), 0) // each stream begins with messages
		}
		w.mu.Unlock()
		cancel()
		close(s.over)
		if u.life.Err() == nil {
			u.Logger.Debug("the server's event stream ended", "err", err)
			w.comeBack()
		}
	})
	return s, nil
}

// comeBack opens a stream that has ended again, so that the host goes on hearing what belongs
// to no request. After too many tries that is left to the next request.
func (w *sseWire) comeBack() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.returning || !w.up.established() {
		return
	}
	w.returning = true
	w.up.do(func() {
		for {
			w.mu.Lock()
			if w.stream != nil || w.again.failures >= streamFailures {
				w.returning = false
				w.mu.Unlock()
				return
			}
			d := w.again.pause()
			w.mu.Unlock()
			if !pause(w.up.life, d) {
				return
			}
			if err := w.open(w.up.background(w.up.life)); err != nil {
				w.up.Logger.Debug("the server's event stream could not be opened again", "err", err)
				w.mu.Lock()
				w.again.failures++
				w.mu.Unlock()
			}
		}
	})
}

var noEndpoint = notValid("the server's event stream names no endpoint to send to")

// firstEndpoint returns the address that the endpoint event names.
func firstEndpoint(events *sse.Reader, base string) (string, error) {
	for {
		e, err := events.Next()
		if err != nil && !errors.Is(err, sse.ErrTooLarge) {
			return "", err
		}
		if err == nil && e.Type == "endpoint" {
			return endpointAt(base, e.Data)
		}
	}
}

// endpointAt returns the address that an endpoint event names. It must be of the server's own
// origin: messages carry the access token.
func endpointAt(base string, data []byte) (string, error) {
	from, err := url.Parse(base)
	if err != nil {
		return "", err
	}
	reference := strings.TrimSpace(string(data))
	to, err := from.Parse(reference)
	if err != nil || reference == "" {
		return "", newTrouble(CodeProtocol, "endpoint",
			"the server's event stream names an endpoint that is no URL, or none")
	}
	if !sameOrigin(to, from) || to.User != nil {
		return "", newTrouble(CodeProtocol, "endpoint",
			"the server's event stream names an endpoint at another origin, "+originOf(to)+" instead of "+
				originOf(from)+", where nothing is sent, as messages carry the access token")
	}
	return to.String(), nil
}

// moved notes that the server names another endpoint in the middle of a stream.
func (w *sseWire) moved(data []byte) {
	endpoint, err := endpointAt(w.up.URL, data)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.stream == nil: // no stream of HTTP+SSE
	case err != nil:
		w.up.Logger.Warn("the server names another endpoint, which is not taken", "err", err)
	default:
		w.stream.endpoint = endpoint
	}
}

// fallBack tries HTTP+SSE for an initialize that the server has rejected as servers of that
// do. It reports false if the server does not speak it.
func (u *upstream) fallBack(c *call, r *rejection) (done bool, err error) {
	if u.legacy.rejectedLately() {
		return false, nil
	}
	ctx := c.ctx
	if r.respondsTo(c.message) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, fallBackWait)
		defer cancel()
	}
	err = u.legacy.open(ctx)
	if t, ok := errtype.As[*Trouble](err); ok && t.Reason == "endpoint" {
		return true, err
	}
	if rejected, ok := errtype.As[*rejection](err); ok && rejected.status/100 == 4 {
		u.legacy.mu.Lock()
		u.legacy.rejected = time.Now()
		u.legacy.mu.Unlock()
	}
	if err != nil {
		return false, nil
	}
	return true, u.legacy.call(c)
}

// rejectedLately reports whether the server rejected a stream of HTTP+SSE a moment ago: an
// MCP host may send initialize again and again.
func (w *sseWire) rejectedLately() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(w.rejected) < fallBackInterval
}

// atSSE returns the rejection that a stream is which comes in response to a POST and begins as
// those of HTTP+SSE do: the address takes every method for the stream's.
func atSSE() error {
	t := newTrouble(CodeRejected, "http_sse", "the server speaks HTTP+SSE at this address: "+
		"it responds to a POST with an event stream that names an endpoint")
	return &rejection{status: http.StatusMethodNotAllowed, Trouble: t}
}

// reopen replaces the session of a round by another on a new stream.
func (w *sseWire) reopen(ctx context.Context, round int) error {
	w.mu.Lock()
	s := w.stream
	w.mu.Unlock()
	if s != nil && s.round == round {
		s.end()
	}
	return w.open(ctx)
}

// call sends a request and waits for its response on the stream.
func (w *sseWire) call(c *call) error {
	return w.up.withReplacement(c, func() (int, error) { return w.attempt(c) })
}

// attempt is call for one session: it returns the session's round.
func (w *sseWire) attempt(c *call) (round int, err error) {
	s, err := w.ready(c)
	if err != nil {
		return 0, err
	}
	c.on = s
	c.round.Store(int64(s.round))
	w.up.lateCalls.enter(c)
	defer w.up.lateCalls.leave(c)
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	defer context.AfterFunc(s.alive, func() { time.AfterFunc(postGrace, cancel) })()
	resp, err := w.post(ctx, s, c)
	if err == nil {
		err = w.up.receiveResponse(c, resp)
	}
	switch {
	case c.responded():
		return s.round, nil
	case c.ctx.Err() != nil:
		return s.round, c.ctx.Err()
	case s.alive.Err() != nil && !rejects(err):
		return s.round, lost
	}
	return s.round, err
}

// send sends a message that has no response, and returns the round of its session.
func (w *sseWire) send(c *call) (round int, err error) {
	s, err := w.ready(c)
	if err != nil {
		return 0, err
	}
	resp, err := w.post(c.ctx, s, c)
	if err == nil {
		discard(resp)
	}
	return s.round, err
}

// ready returns the stream on which a message may be sent. All but what a session begins with
// wait for a session on it.
func (w *sseWire) ready(c *call) (*sseStream, error) {
	w.mu.Lock()
	s := w.stream
	w.mu.Unlock()
	switch {
	case s != nil && (c.plain || c.is("initialize") || c.is("notifications/initialized")):
		return s, nil
	case c.plain:
		return nil, streamGone
	}
	for range streamFailures { // another request may have ended the stream just now
		if err := w.open(c.ctx); err != nil {
			return nil, err
		}
		w.mu.Lock()
		s = w.stream
		w.mu.Unlock()
		if s != nil {
			w.up.confirmAgain(c.ctx)
			return s, nil
		}
	}
	return nil, lost
}

// streamGone is the error of what belongs to the beginning of a session whose stream has ended.
var streamGone = &Trouble{Code: CodeUncertain, Reason: "connection_lost", Retry: true,
	Message: "the server's event stream ended before the session had begun"}

// post sends one message to the endpoint and returns the response, if the server accepts it.
func (w *sseWire) post(ctx context.Context, s *sseStream, c *call) (*http.Response, error) {
	u := w.up
	w.mu.Lock()
	endpoint := s.endpoint
	w.mu.Unlock()
	_, header := u.header(&call{message: &message{raw: c.raw}})
	c.left.Store(true)
	resp, err := u.post(c.sent.begin(ctx), endpoint, c.raw, header)
	if err != nil {
		return nil, u.broken(err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, u.readRejection(c, resp, true) // the endpoint names the session
	}
	c.sent.accept()
	return resp, nil
}
