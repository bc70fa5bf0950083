package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/sse"
)

// receiveResponse delivers the response to a request.
func (u *upstream) receiveResponse(c *call, resp *http.Response) error {
	if contentType(resp.Header) == acceptStream {
		return u.follow(c, resp)
	}
	m, done, err := u.inBody(c, resp)
	defer done()
	switch {
	case c.responded():
		return nil
	case err != nil:
		return err
	case m == nil:
		return u.late(c, resp, describeStatus(resp))
	}
	if err := u.nameless(m, c); err != nil {
		return err
	}
	if !m.batch && !u.awaited(m.id) {
		m.id = nil // there is one request that this body can be the response to
	}
	u.deliver(m, c)
	if !c.responded() {
		return u.late(c, resp, describeStatus(resp))
	}
	u.inUse()
	return nil
}

// inBody returns the response that a body holds; nil: none, and it need not hold one. The
// caller calls done when it has passed it on.
func (u *upstream) inBody(c *call, resp *http.Response) (m *message, done func(), err error) {
	kind := contentType(resp.Header)
	// A request may be accepted with whatever words: its response comes elsewhere.
	accepted := resp.StatusCode == http.StatusAccepted || c.on != nil
	if !maybeJSON(kind) && resp.ContentLength != 0 {
		discard(resp)
		if accepted {
			return nil, func() {}, nil
		}
		return nil, func() {}, notMCP(kind)
	}
	body, done, err := u.body(resp)
	if err != nil {
		if c.ctx.Err() != nil {
			err = c.ctx.Err()
		}
		return nil, done, err
	}
	empty := len(bytes.TrimSpace(body)) == 0
	m, err = readMessage(body)
	switch {
	case err == nil && (m.batch || m.response()):
		return m, done, nil
	case accepted || empty:
		return nil, done, nil
	case err != nil && !namesJSON(kind):
		return nil, done, notMCP(kind)
	case err != nil:
		return nil, done, invalid(err)
	}
	return nil, done, notValid("the server's response is not a JSON-RPC response")
}

// maybeJSON reports whether a body of a media type may be JSON: some servers name none, or
// what their framework puts where they name none.
func maybeJSON(kind string) bool {
	switch kind {
	case "text/plain", "application/octet-stream":
		return true
	}
	return namesJSON(kind)
}

// namesJSON reports whether a media type is one for JSON, or none at all.
func namesJSON(kind string) bool { return kind == "" || strings.Contains(kind, "json") }

func notMCP(kind string) *Trouble {
	return notValid("the server's response is " + strconv.Quote(kind) +
		", not MCP; check that the URL is that of an MCP endpoint")
}

// errEndpoint is the error of a stream that begins with an address to post to, as those of
// HTTP+SSE do.
var errEndpoint = errors.New("bridge: an endpoint event")

// requestStream is the event stream in which the response to a request comes, with all that
// continue it.
type requestStream struct {
	*upstream
	c        *call
	ctx      context.Context // ends when what continues the stream has been silent for too long
	cancel   context.CancelFunc
	quiet    *time.Timer // nil: the stream that the POST began has not ended
	messages int
	session  string // its Mcp-Session-Id; empty: none
	resumption
}

// follow delivers the events of a request's stream until it has its response, and
// resumes a stream that breaks before that, if the server gave its events ids.
func (u *upstream) follow(c *call, resp *http.Response) error {
	s := &requestStream{upstream: u, c: c, session: resp.Request.Header.Get(headerSession)}
	if c.is("initialize") {
		s.session = resp.Header.Get(headerSession)
	}
	s.ctx, s.cancel = context.WithCancel(c.ctx)
	defer s.cancel()
	began := time.Now()
	s.onEvent = func(again bool) {
		if s.quiet != nil && (!again || time.Since(began) >= longLived) {
			s.quiet.Reset(lateWait)
		}
	}
	for {
		began = time.Now()
		before := s.id
		n, err := u.events(u.eventsOf(resp), c, &s.resumption)
		resp.Body.Close()
		s.messages += n
		if c.responded() {
			u.inUse()
			return nil
		}
		if s.id == "" || modernVersion(c.message) != "" || !resumable(err) || s.ctx.Err() != nil {
			return s.finish(resp, err)
		}
		if s.ended(time.Since(began), n); s.id != before {
			s.failures = 0 // the server has gone on, and wants to be polled
		}
		next, err := s.next()
		if err != nil {
			return s.finish(resp, err)
		}
		resp = next
	}
}

// resumable reports whether a stream that ended with an error can be taken up again.
func resumable(err error) bool {
	_, final := errtype.As[*Trouble](err)
	return !final && !errors.Is(err, errEndpoint)
}

// next opens the stream again.
func (s *requestStream) next() (*http.Response, error) {
	if s.quiet == nil {
		// What is resumed may be silent for as long as a response may be late.
		s.quiet = time.AfterFunc(lateWait, s.cancel)
	}
	return s.resume(s.ctx, s.c.sent, &s.resumption, s.session)
}

// finish returns what the end of the stream means, and waits where the response may
// come elsewhere.
func (s *requestStream) finish(resp *http.Response, err error) error {
	if s.quiet != nil {
		s.quiet.Stop()
	}
	switch {
	case s.c.responded():
		return nil
	case s.c.ctx.Err() != nil:
		return s.c.ctx.Err()
	case errors.Is(err, errEndpoint):
		return atSSE()
	case !resumable(err):
		return err
	case s.ctx.Err() != nil:
		return noResponse(fmt.Sprintf("%s, and nothing came on the one that continues it "+
			"within %d minutes", describeEvents(s.messages), int(lateWait.Minutes())))
	case errors.Is(err, io.EOF), errors.Is(err, errNotResumed):
		return s.late(s.c, resp, describeEvents(s.messages))
	}
	return lost
}

// events delivers events until the call has its response or the stream ends, and returns how many
// messages came. c is the request whose stream it is; nil: none's.
func (u *upstream) events(events *eventReader, c *call, r *resumption) (messages int, err error) {
	defer events.share.release()
	events.tooLarge = func(g *glimpse, whole bool) bool { return u.tooLarge(g, c, whole) }
	for {
		events.share.release()
		e, err := events.Next()
		r.note(events.Reader)
		switch {
		case errors.Is(err, sse.ErrTooLarge):
			err = nil // it was handled
		case err != nil:
			return messages, err
		case e.Type == "endpoint" && c != nil && messages == 0:
			return messages, errEndpoint
		case e.Type == "endpoint":
			u.legacy.moved(e.Data)
			continue
		case len(e.Data) == 0 || e.Type != "" && e.Type != "message":
			continue
		default:
			err = u.receive(e.Data, c)
		}
		messages++
		r.received()
		if err != nil || c != nil && c.responded() {
			return messages, err
		}
	}
}

// receive delivers a message that came on a stream, unless it rejects the request whose stream
// that is.
func (u *upstream) receive(data []byte, c *call) error {
	m, err := readMessage(data)
	if err != nil {
		u.invalid(data, err, c)
		return nil
	}
	if err := u.nameless(m, c); err != nil {
		return err
	}
	u.deliver(m, c)
	if c == nil && m.method != nil {
		u.lateCalls.note(m)
	}
	return nil
}
