package bridge

import (
	"errors"
	"net/http"
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
		m, err := heard(body)
		if err != nil {
			return invalid(err)
		}
		if !m.batch && !m.response() {
			return &Trouble{Code: CodeProtocol, Reason: "protocol", Message: "the server's answer is no JSON-RPC response"}
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
		err := u.events(u.eventsOf(resp), c, &backoff)
		resp.Body.Close()
		switch {
		case c.answered():
			return nil
		case c.ctx.Err() != nil:
			return c.ctx.Err()
		case errors.Is(err, sse.ErrTooLarge):
			return tooLarge
		case errors.Is(err, tooSlow):
			return tooSlow
		case modern || backoff.id == "":
			return lost
		}
		if resp, err = u.resume(c.ctx, &backoff); err != nil {
			return err
		}
	}
}

// events delivers events until the call is answered or the stream ends.
func (u *upstream) events(events *eventReader, c *call, backoff *resumption) error {
	defer events.share.release()
	for {
		events.share.release()
		e, err := events.Next()
		backoff.note(events.Reader)
		if err != nil {
			return err
		}
		if len(e.Data) == 0 || e.Type != "" && e.Type != "message" {
			continue
		}
		backoff.failures = 0
		if m, err := heard(e.Data); err != nil {
			u.invalid(e.Data, err, c)
		} else {
			u.deliver(m, c)
		}
		if c != nil && c.answered() {
			return nil
		}
	}
}
