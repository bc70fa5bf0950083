package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/sse"
)

// receive delivers what answers a request.
func (u *upstream) receive(c *call, resp *http.Response) error {
	kind := contentType(resp.Header)
	if kind == acceptStream {
		return u.follow(c, resp)
	}
	accepted := resp.StatusCode == http.StatusAccepted || c.on != nil // whatever it says: the response comes elsewhere
	if !maybeJSON(kind) && resp.ContentLength != 0 {
		discard(resp)
		if accepted {
			return u.late(c, resp, cameStatus(resp))
		}
		return notMCP(kind)
	}
	body, done, err := u.body(resp)
	defer done()
	switch {
	case c.answered():
		return nil
	case c.ctx.Err() != nil:
		return c.ctx.Err()
	case err != nil:
		return err
	}
	empty := len(bytes.TrimSpace(body)) == 0
	m, err := heard(body)
	switch {
	case empty, accepted && (err != nil || !m.batch && !m.response()):
		return u.late(c, resp, cameStatus(resp))
	case err != nil && !strings.Contains(kind, "json") && kind != "":
		return notMCP(kind)
	case err != nil:
		return invalid(err)
	case !m.batch && !m.response():
		return &Trouble{Code: CodeProtocol, Reason: "protocol", Message: "the server's response is no JSON-RPC response"}
	}
	if !m.batch && u.find(m.id) == nil {
		m.id = nil // there is one request that this body can be the response to
	}
	u.deliver(m, c)
	if !c.answered() {
		return u.late(c, resp, cameStatus(resp))
	}
	u.inUse()
	return nil
}

// maybeJSON reports whether a body of a media type may be JSON: some servers name none, or
// what their framework puts where they name none.
func maybeJSON(kind string) bool {
	switch kind {
	case "", "text/plain", "application/octet-stream":
		return true
	}
	return strings.Contains(kind, "json")
}

func notMCP(kind string) *Trouble {
	return &Trouble{Code: CodeProtocol, Reason: "protocol", Message: "the server's response is " + strconv.Quote(kind) + ", which is no MCP"}
}

// errEndpoint says that a stream begins with an address to post to, as those of HTTP+SSE do.
var errEndpoint = errors.New("bridge: an endpoint event")

// follow delivers the events of a request's stream until it is answered, and
// resumes a stream that breaks before that, if the server gave its events ids.
func (u *upstream) follow(c *call, resp *http.Response) error {
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	// What is resumed may be silent for as long as a response may be late.
	var quiet *time.Timer
	began := time.Now()
	r := resumption{heard: func(again bool) {
		if quiet != nil && (!again || time.Since(began) >= longLived) {
			quiet.Reset(lateWait)
		}
	}}
	for messages := 0; ; {
		began = time.Now()
		before := r.id
		n, err := u.events(sse.NewReader(resp.Body, u.MaxMessage), c, &r)
		messages += n
		if c.answered() && c.sink == nil {
			discard(resp) // the end is near, and the connection can be used again
		}
		resp.Body.Close()
		switch {
		case c.answered():
			u.inUse()
			return nil
		case c.ctx.Err() != nil:
			return c.ctx.Err()
		case errors.Is(err, sse.ErrTooLarge):
			return tooLarge
		case errors.Is(err, errEndpoint):
			return u.atSSE(c)
		case ctx.Err() != nil:
			return noResponse(cameEvents(messages) + fmt.Sprintf(", and nothing came on the one that continues it within %d minutes", int(lateWait.Minutes())))
		case modernVersion(c.message) != "" || r.id == "":
			if errors.Is(err, io.EOF) {
				return u.late(c, resp, cameEvents(messages))
			}
			return lost
		}
		if r.ended(time.Since(began), n); r.id != before {
			r.failures = 0 // the server has gone on, and wants to be polled
		}
		if quiet == nil {
			quiet = time.AfterFunc(lateWait, cancel)
			defer quiet.Stop()
		}
		next, err := u.resume(ctx, &r)
		switch {
		case c.answered():
			return nil
		case errors.Is(err, errNotResumed):
			return u.late(c, resp, cameEvents(messages))
		case err != nil && c.ctx.Err() != nil:
			return c.ctx.Err()
		case err != nil:
			return noResponse(cameEvents(messages))
		}
		resp = next
	}
}

// events delivers events until the call is answered or the stream ends, and returns how many
// messages came. c is the request whose stream it is; nil: none's.
func (u *upstream) events(events *sse.Reader, c *call, r *resumption) (messages int, err error) {
	for {
		e, err := events.Next()
		r.note(events)
		if err != nil {
			return messages, err
		}
		if e.Type == "endpoint" {
			if c != nil && messages == 0 {
				return messages, errEndpoint
			}
			u.legacy.moved(e.Data)
			continue
		}
		if len(e.Data) == 0 || e.Type != "" && e.Type != "message" {
			continue
		}
		m, err := heard(e.Data)
		messages++
		r.failures = 0
		if r.heard != nil {
			r.heard(true)
		}
		if err != nil {
			u.invalid(e.Data, err, c)
		} else {
			u.deliver(m, c)
		}
		if c != nil && c.answered() {
			return messages, nil
		}
		if c == nil && err == nil && m.method != nil {
			u.waiting.note(m)
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
