package bridge

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"

	"github.com/handstamp/handstamp/internal/sse"
)

// receive delivers what answers a request.
func (u *upstream) receive(c *call, resp *http.Response) error {
	switch kind := contentType(resp.Header); {
	case kind == acceptStream:
		return u.follow(c, resp)
	case resp.StatusCode == http.StatusAccepted || resp.StatusCode == http.StatusNoContent || resp.ContentLength == 0:
		// Early servers answer on the stream of the session.
		discard(resp)
		select {
		case <-c.ended:
			return nil
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	case kind == jsonType, kind == "":
		body, done, err := u.body(resp)
		defer done()
		if err != nil {
			return err
		}
		m, err := parse(oneLine(body))
		if err != nil || !m.batch && !m.response() {
			return &Trouble{Code: CodeProtocol, Reason: "protocol", Message: "the server's answer is no JSON-RPC response"}
		}
		if err := u.nameless(m, c); err != nil {
			return err
		}
		u.deliver(m, c)
		if !c.answered() {
			return &Trouble{Code: CodeProtocol, Reason: "protocol", Message: "the server's answer leaves requests of the batch open"}
		}
		return nil
	default:
		discard(resp)
		return &Trouble{Code: CodeProtocol, Reason: "protocol", Message: "the server answers with " + strconv.Quote(kind) + ", which is no MCP"}
	}
}

// follow delivers the events of a request's stream until it is answered, and
// resumes a stream that breaks before that, if the server gave its events ids.
func (u *upstream) follow(c *call, resp *http.Response) error {
	modern := modernVersion(c.message) != ""
	backoff := resumption{}
	for {
		events := sse.NewReader(resp.Body, u.MaxMessage)
		err := u.events(events, c, &backoff)
		resp.Body.Close()
		switch {
		case c.answered():
			return nil
		case c.ctx.Err() != nil:
			return c.ctx.Err()
		case errors.Is(err, sse.ErrTooLarge):
			return tooLarge
		case rejects(err):
			return err
		case modern || backoff.id == "":
			return lost
		}
		if resp, err = u.resume(c.ctx, &backoff); err != nil {
			return err
		}
	}
}

// events delivers events until the call is answered or the stream ends.
func (u *upstream) events(events *sse.Reader, c *call, backoff *resumption) error {
	for {
		e, err := events.Next()
		backoff.note(events)
		if err != nil {
			return err
		}
		if len(e.Data) == 0 || e.Type != "" && e.Type != "message" {
			continue
		}
		m, err := parse(oneLine(e.Data))
		if err != nil {
			u.Logger.Debug("the server sent an event that is no JSON-RPC message")
			continue
		}
		backoff.failures = 0
		if err := u.nameless(m, c); err != nil {
			return err
		}
		u.deliver(m, c)
		if c != nil && c.answered() {
			return nil
		}
	}
}

// body reads a whole message. The caller calls done when it has passed it on.
func (u *upstream) body(resp *http.Response) (b []byte, done func(), err error) {
	defer resp.Body.Close()
	if resp.ContentLength > int64(u.MaxMessage) {
		return nil, func() {}, tooLarge
	}
	if n := resp.ContentLength; n >= 0 {
		done = u.long.enter(int(n))
		b = make([]byte, n, n+1) // the line end will fit
		_, err = io.ReadFull(resp.Body, b)
	} else {
		b, done, err = u.readAll(io.LimitReader(resp.Body, int64(u.MaxMessage)+1))
	}
	if err != nil {
		u.Logger.Debug("the answer broke off", "err", err)
		return nil, done, lost
	}
	if len(b) > u.MaxMessage {
		return nil, done, tooLarge
	}
	return b, done, nil
}

// readAll is io.ReadAll for bodies that may be long.
func (u *upstream) readAll(r io.Reader) (b []byte, done func(), err error) {
	b, done = make([]byte, 0, 4<<10), func() {}
	for {
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if errors.Is(err, io.EOF) {
			u.expected.met(len(b))
			return b, done, nil
		}
		if err != nil {
			return nil, done, err
		}
		if len(b) < cap(b) {
			continue
		}
		room := 4 * cap(b)
		if room > pipeSize {
			if cap(b) <= pipeSize {
				done = u.long.enter(longMessage)
			}
			room = u.expected.room(cap(b))
		}
		b = slices.Grow(b, room-len(b))
	}
}
