package bridge

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/retryafter"
)

// The headers of the transport.
const (
	headerSession = "Mcp-Session-Id"
	headerVersion = "Mcp-Protocol-Version"
	headerLastID  = "Last-Event-Id"
	headerMethod  = "Mcp-Method"
	headerName    = "Mcp-Name"
	headerParam   = "Mcp-Param-"
)

const (
	acceptBoth   = "application/json, text/event-stream"
	acceptStream = "text/event-stream"
	jsonType     = "application/json"
)

const (
	// rejectedTries is how often a request that the server has rejected before it
	// did anything is sent, and rejectedWait the longest wait that is made for it.
	rejectedTries = 3
	rejectedWait  = 10 * time.Second

	// dialTimeout is how long a request that could not be sent at all is tried.
	dialTimeout = 6 * time.Second
	dialPause   = 150 * time.Millisecond
)

// upstream is the server's end of the bridge.
type upstream struct {
	*bridge
	legacy sseWire // HTTP+SSE, once that is what the server speaks

	expected  expectation   // of bodies whose length is not announced
	long      chan struct{} // holds a value for each of those under way that are long
	lateCalls lateCalls     // requests whose response may come on another stream

	// unsettled counts messages that the server has not taken and that are sent once more.
	unsettled      atomic.Int32
	checking       atomic.Bool    // a ping is finding out whether the session is still there
	serverRequests serverRequests // the server's

	mu           sync.Mutex             // guards what follows
	session      string                 // Mcp-Session-Id; empty: none
	users        *sync.WaitGroup        // the requests under way on it
	version      string                 // negotiated by initialize; empty: not yet
	round        int                    // counts sessions, so that one that ended is replaced once
	replacement  *replacement           // the replacement under way
	beginning    beginning              // what the server knows of that of the session
	initializing chan struct{}          // closed when it has been waited for
	stream       *sessionStream         // what the server sends outside of requests; nil: none
	tools        map[string][]parameter // parameters to mirror into headers, by tool

	inquiries   map[shape]*inquiry // of the present round
	unhelpful   map[shape]unhelpful
	acceptedAny bool // the server has taken a message on the session

	sessionState    sessionState // what the host has sent to the server
	sentCredentials credentials  // what no text of the server may repeat
}

// call sends a request and delivers the response to it. An error is why there is
// no response; a *rejection, which may hold one of the server, is for the caller to
// handle.
func (u *upstream) call(c *call) error {
	err := u.withReplacement(c, func() (int, error) { return u.attempt(c) })
	rejected, ok := errtype.As[*rejection](err)
	if ok && c.is("initialize") && u.Wire == WireAuto && !u.speaksSSE() && rejected.maybeSSE() {
		if done, err := u.fallBack(c, rejected); done {
			return err
		}
	}
	return err
}

// attempt is call for one session: it returns the session's round, and a rejection as
// it is.
func (u *upstream) attempt(c *call) (round int, err error) {
	if u.speaksSSE() {
		return u.legacy.attempt(c)
	}
	if err := u.awaitSession(c); err != nil {
		return 0, err
	}
	defer u.use()()
	u.lateCalls.enter(c)
	defer u.lateCalls.leave(c)
	return u.exchange(c, u.receiveResponse)
}

// accepted notes that the server has taken a message.
func (u *upstream) accepted(c *call, round int, resp *http.Response) {
	if c.is("initialize") {
		u.sessionBegun(resp.Header.Get(headerSession))
		u.cancelServerRequests()
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.acceptedAny = u.acceptedAny || u.round == round
}

// readRejection returns why the server rejected a message, or nil if it has responded to a batch
// nevertheless. tied is set if the message named a session.
func (u *upstream) readRejection(c *call, resp *http.Response, tied bool) error {
	r := u.rejectionOf(resp)
	r.tied = tied
	if r.body != nil && r.body.batch {
		nameless := r.body.namelessError(u.awaited)
		if nameless == nil && c.bridge != nil {
			u.deliver(r.body, c)
		}
		if c.responded() {
			return nil
		}
		r.body = nameless
	}
	return r
}

// exchange posts a message and, if the server accepts it, hands on the response. It returns
// the round of the session.
func (u *upstream) exchange(
	c *call, receive func(*call, *http.Response) error,
) (round int, err error) {
	round, resp, err := u.posted(c)
	switch {
	case err != nil:
		return round, err
	case resp.StatusCode/100 != 2:
		return round, u.readRejection(c, resp, resp.Request.Header.Get(headerSession) != "")
	}
	c.sent.accept()
	u.accepted(c, round, resp)
	return round, receive(c, resp)
}

// posted posts a message and returns the round that it was posted in, and the response. It
// tries again while the connection cannot be made, or the server has done nothing and names a
// later time.
func (u *upstream) posted(c *call) (round int, resp *http.Response, err error) {
	began := time.Now()
	for try := 1; ; try++ {
		var header http.Header
		round, header = u.header(c)
		c.round.Store(int64(round))
		left := c.left.Swap(true)
		if resp, err = u.post(c.sent.begin(c.ctx), u.URL, c.raw, header); err != nil {
			unsent := u.unsent(err)
			c.left.Store(left || !unsent)
			if c.ctx.Err() == nil && unsent && time.Since(began) < dialTimeout &&
				u.pauseUnsent(c.ctx, dialPause<<min(try-1, 3)) {
				continue
			}
			return round, nil, u.broken(err)
		}
		u.sentCredentials.note(resp.Request)
		wait, ok := retryafter.Parse(resp.Header, time.Now())
		if !later(resp.StatusCode) || !ok || wait > rejectedWait || try >= rejectedTries || c.hasty {
			return round, resp, nil
		}
		discard(resp)
		if !u.pauseUnsent(c.ctx, wait) {
			return round, nil, c.ctx.Err()
		}
	}
}

// pauseUnsent is pause before a message is sent once more that the server has not taken.
func (u *upstream) pauseUnsent(ctx context.Context, d time.Duration) bool {
	u.unsettled.Add(1)
	defer u.unsettled.Add(-1)
	return pause(ctx, d)
}

// request sends a request of the bridge's own and returns the server's response.
func (u *upstream) request(ctx context.Context, raw []byte) (*message, error) {
	return u.requestBy(ctx, raw, u.call)
}

// requestOn is request; plain makes the request a part of the beginning of a session, which
// neither waits for that nor replaces it.
func (u *upstream) requestOn(ctx context.Context, raw []byte, plain bool) (*message, error) {
	return u.requestBy(ctx, raw, func(c *call) error {
		c.plain = plain
		return u.call(c)
	})
}

// requestBy sends a request with a function and returns the response, with the error of a
// rejection whose body it is.
func (u *upstream) requestBy(
	ctx context.Context, raw []byte, send func(*call) error,
) (*message, error) {
	m, err := parse(raw)
	if err != nil {
		return nil, err
	}
	c := u.own(ctx, m)
	defer c.cancel()
	err = send(c)
	rejected, ok := errtype.As[*rejection](err)
	switch {
	case c.responded() && c.failed != nil:
		return nil, c.failed
	case c.responded():
		return c.got, nil // whatever became of the POST
	case ok && rejected.body != nil:
		return rejected.body, err
	case err == nil:
		err = lost
	}
	return nil, err
}

// notify sends a notification, or a response to a request of the server. What
// becomes of it is not reported, as in the protocol.
func (u *upstream) notify(ctx context.Context, m *message) error {
	if m.response() {
		switch r := u.serverRequests.replied(m); {
		case r.stale:
			u.Logger.Debug("a response was dropped: the session of the server's request is over")
			return nil
		case r.byUser:
			defer u.lateCalls.signal(every) // the server goes on
		}
	}
	c := &call{message: m, ctx: ctx}
	round, err := u.send(c)
	rejected, ok := errtype.As[*rejection](err)
	if !ok || !u.forgotten(c, round, rejected) {
		return err
	}
	rerr := u.replace(ctx, round, rejected.shape(), m.name())
	if rerr != nil || !m.outlives() {
		return rerr
	}
	_, err = u.send(c)
	u.helped(c, rejected.shape(), err)
	return err
}

// outlives reports whether a message without a response still means something in the
// session that replaces its own: neither a response nor what is about a request.
func (m *message) outlives() bool {
	return m.notification() && !m.is("notifications/cancelled") && !m.is("notifications/progress")
}

// send sends a message without a response on one session, and returns the session's round.
func (u *upstream) send(c *call) (round int, err error) {
	if u.speaksSSE() {
		return u.legacy.send(c)
	}
	if err := u.awaitSession(c); err != nil {
		return 0, err
	}
	return u.exchange(c, func(_ *call, resp *http.Response) error {
		discard(resp)
		return nil
	})
}

// header returns what a message is sent with, and the round of its session.
func (u *upstream) header(c *call) (int, http.Header) {
	m := c.message
	h := make(http.Header, 8+len(u.Header))
	maps.Copy(h, u.Header)
	h["Content-Type"] = []string{jsonType}
	h["Accept"] = []string{acceptBoth}
	if version := modernVersion(m); version != "" {
		u.mirror(h, m, version)
		return 0, h
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if !m.is("initialize") {
		nameSession(h, u.session, u.version)
	}
	return u.round, h
}

// nameSession puts into a header what names a session. Either may be empty.
func nameSession(h http.Header, session, version string) {
	if version != "" {
		h[headerVersion] = []string{headerValue(version)}
	}
	if session != "" {
		h[headerSession] = []string{session}
	}
}

// post sends one message.
func (u *upstream) post(
	ctx context.Context, url string, body []byte, header http.Header,
) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = header
	if len(body) > shortMessage {
		req.GetBody = func() (io.ReadCloser, error) {
			return io.NopCloser(countedReader{bytes.NewReader(body), &u.lines.sent}), nil
		}
		req.Body, _ = req.GetBody()
	}
	return u.HTTP.Do(req)
}

// contentType returns the media type without parameters, in lower case.
func contentType(h http.Header) string {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

// drainTime bounds the wait for what is not wanted.
const drainTime = 200 * time.Millisecond

// discard reads what is not wanted, so that the connection can be used again. One
// whose end is long in coming loses its connection instead.
func discard(resp *http.Response) {
	select {
	case <-begun(func() { _, _ = io.CopyN(io.Discard, resp.Body, 16<<10) }):
	case <-time.After(drainTime):
	}
	resp.Body.Close()
}
