package bridge

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// A server may end its response to a POST without the response to the request in it: early
// servers of Streamable HTTP send that on the session's stream, HTTP+SSE has no other way.

const (
	// lateWait is how long a response may come on an open stream after the POST has ended
	// without it, counted from the last sign that the request is being carried out.
	lateWait = 5 * time.Minute

	// reopenWait is how long a stream that is not open is waited for meanwhile.
	reopenWait = 30 * time.Second
)

// lateCalls are the requests that were posted and whose response may come on a stream for all.
type lateCalls struct {
	mu     sync.Mutex // guards what follows
	posted map[*call]bool
}

// enter adds a call that is posted, and leave removes it.
func (l *lateCalls) enter(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.posted[c], c.sign = true, make(chan *rejection, 1)
}

func (l *lateCalls) leave(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.posted, c)
}

// note takes a message of the server's for a sign: progress for its own request, and a request
// that the user has to respond to for all of them.
func (l *lateCalls) note(m *message) {
	switch {
	case m.is("notifications/progress"):
		if token := idKey(member(m.params, "progressToken")); token != "" {
			l.signal(func(c *call) bool { return token == idKey(member(c.meta, "progressToken")) })
		}
	case m.forUser():
		l.signal(every)
	}
}

// signal gives a sign to those that it is for.
func (l *lateCalls) signal(is func(c *call) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.posted {
		if is(c) {
			select {
			case c.sign <- nil:
			default:
			}
		}
	}
}

func every(*call) bool { return true }

// await waits for a response that did not come in the POST's own response, and returns an
// error once it cannot be expected any more. came describes what came instead; now returns the
// state of the stream on which the response may come, and a channel that is closed when that
// changes.
func (u *upstream) await(c *call, came string, now func() (streamState, <-chan struct{})) error {
	last := time.Now()
	var closed time.Time // when the stream was found closed; zero: it is open
	for {
		state, changed := now()
		limit := last.Add(lateWait)
		switch {
		case c.responded():
			return nil
		case state == streamNone:
			return noResponse(came + ", and no stream is open on which one could come")
		case state == streamOpen:
			closed = time.Time{}
		case closed.IsZero():
			closed = time.Now()
		}
		because := fmt.Sprintf(", and none came on its stream within %d minutes", int(lateWait.Minutes()))
		if !closed.IsZero() && closed.Add(reopenWait).Before(limit) {
			limit = closed.Add(reopenWait)
			because = ", and the stream on which one could come did not open again"
		}
		select {
		case <-c.ended:
		case <-c.ctx.Done():
			if c.responded() {
				return nil
			}
			return c.ctx.Err()
		case <-changed:
		case rejection := <-c.sign:
			if rejection != nil {
				return rejection
			}
			last = time.Now()
		case <-time.After(time.Until(limit)):
			return noResponse(came + because)
		}
	}
}

// late is await for the stream of the session on which a request was posted.
func (u *upstream) late(c *call, resp *http.Response, came string) error {
	if c.on != nil {
		return u.await(c, came, c.on.now)
	}
	u.inUse()
	session := resp.Request.Header.Get(headerSession)
	return u.await(c, came, func() (streamState, <-chan struct{}) {
		u.mu.Lock()
		s, current := u.stream, u.session
		u.mu.Unlock()
		if s == nil || current != session || modernVersion(c.message) != "" {
			return streamNone, nil
		}
		return s.now()
	})
}

// noResponse is the error for a request whose response will not come.
func noResponse(came string) *Trouble {
	return newTrouble(CodeUncertain, "no_response", "the server "+came+perhapsDone)
}

// describeStatus describes a response with nothing in it.
func describeStatus(resp *http.Response) string {
	return fmt.Sprintf("ended its response (HTTP status %d, %s) without a JSON-RPC response in it",
		resp.StatusCode, http.StatusText(resp.StatusCode))
}

// describeEvents describes a request's stream that ended.
func describeEvents(messages int) string {
	switch messages {
	case 0:
		return "ended the request's event stream without a message"
	case 1:
		return "ended the request's event stream after one message without the response"
	}
	return fmt.Sprintf("ended the request's event stream after %d messages without the response",
		messages)
}
