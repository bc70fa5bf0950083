package bridge

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/handstamp/handstamp/internal/sse"
)

// endpointTimeout bounds the wait for the first event of an HTTP+SSE stream.
const endpointTimeout = 15 * time.Second

// sseWire is HTTP+SSE, the transport of 2024-11-05: one stream on which the
// server says everything, and an address to post to, which the stream names
// first. The stream is the session: when it ends, so do the requests that wait
// for an answer on it, and the next one begins another.
type sseWire struct {
	up *upstream

	mu       sync.Mutex // guards what follows
	endpoint string     // empty: no stream
	round    int        // of the session on the stream
	hangUp   func()     // ends the stream
	ended    chan struct{}
	spoken   bool // the server speaks it
	opening  *renewal
}

// speaksSSE reports whether the server is spoken to by HTTP+SSE.
func (u *upstream) speaksSSE() bool {
	if u.wire == WireSSE {
		return true
	}
	u.legacy.mu.Lock()
	defer u.legacy.mu.Unlock()
	return u.legacy.spoken
}

// open opens the stream, unless it is.
func (w *sseWire) open(ctx context.Context) error {
	w.mu.Lock()
	o := w.opening
	if o == nil && w.endpoint != "" {
		w.mu.Unlock()
		return nil
	}
	if o == nil {
		o = &renewal{done: make(chan struct{})}
		w.opening = o
		w.up.do(func() {
			if o.err = w.connect(); o.err == nil && w.up.established() {
				o.err = w.up.greet(w.up.life) // the old session ended with the old stream
			}
			w.mu.Lock()
			w.opening = nil
			w.mu.Unlock()
			close(o.done)
		})
	}
	w.mu.Unlock()
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// connect opens the stream and waits for its first event.
func (w *sseWire) connect() error {
	u := w.up
	ctx, cancel := context.WithCancel(u.life)
	timer := time.AfterFunc(endpointTimeout, cancel)
	resp, err := u.get(ctx, "")
	if err != nil {
		cancel()
		return u.broken(err)
	}
	if resp.StatusCode != http.StatusOK || contentType(resp.Header) != acceptStream {
		defer cancel()
		return u.refused(resp)
	}
	events := sse.NewReader(resp.Body, u.MaxMessage)
	endpoint, err := firstEndpoint(events, u.URL)
	if err != nil || !timer.Stop() {
		cancel()
		resp.Body.Close()
		return &Trouble{Code: CodeProtocol, Reason: "protocol", Message: "the server's event stream names no endpoint to send to"}
	}
	ended := make(chan struct{})
	u.mu.Lock()
	round := u.advance()
	u.mu.Unlock()
	w.mu.Lock()
	w.endpoint, w.ended, w.spoken = endpoint, ended, true
	w.round, w.hangUp = round, cancel
	w.mu.Unlock()
	u.Logger.Debug("the server speaks HTTP+SSE")
	u.do(func() {
		err := u.events(events, nil, &resumption{})
		cancel()
		resp.Body.Close()
		if u.life.Err() == nil {
			u.Logger.Debug("the server's event stream ended", "err", err)
		}
		w.mu.Lock()
		w.endpoint = ""
		w.mu.Unlock()
		close(ended)
	})
	return nil
}

// firstEndpoint returns the address that the endpoint event names. It must be of
// the server's own origin: messages carry the access token.
func firstEndpoint(events *sse.Reader, base string) (string, error) {
	for {
		e, err := events.Next()
		if err != nil {
			return "", err
		}
		if e.Type != "endpoint" {
			continue
		}
		from, err := url.Parse(base)
		if err != nil {
			return "", err
		}
		to, err := from.Parse(string(e.Data))
		if err != nil || to.Scheme != from.Scheme || to.Host != from.Host || to.User != nil {
			return "", errors.New("the endpoint is of another origin")
		}
		return to.String(), nil
	}
}

// reopen replaces the session of a round by another on a new stream.
func (w *sseWire) reopen(ctx context.Context, round int) error {
	w.mu.Lock()
	ended, hangUp, mine := w.ended, w.hangUp, w.round == round && w.endpoint != ""
	w.mu.Unlock()
	if mine {
		hangUp()
		<-ended
	}
	return w.open(ctx)
}

// call sends a request and waits for its answer on the stream.
func (w *sseWire) call(c *call) error {
	return w.up.insist(c, func() (int, error) { return w.attempt(c) })
}

// attempt is call for one session: it returns the session's round.
func (w *sseWire) attempt(c *call) (round int, err error) {
	round, ended, err := w.ready(c)
	if err != nil {
		return round, err
	}
	if c.sink != nil {
		w.up.adopt(c)
		defer w.up.forget(c)
	}
	if err := w.post(c); err != nil {
		return round, err
	}
	return round, w.await(c, ended)
}

// await waits for the answer on the stream.
func (w *sseWire) await(c *call, ended <-chan struct{}) error {
	select {
	case <-c.ended:
		return nil
	case <-ended:
		if c.answered() {
			return nil
		}
		return lost
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}

// send sends a message that has no answer, and returns the round of its session.
func (w *sseWire) send(c *call) (round int, err error) {
	if round, _, err = w.ready(c); err != nil {
		return round, err
	}
	return round, w.post(c)
}

// ready returns the round of the session, and a channel that is closed when its stream
// ends. All but what a session begins with wait for a session on it.
func (w *sseWire) ready(c *call) (round int, ended <-chan struct{}, err error) {
	w.mu.Lock()
	round, ended, open := w.round, w.ended, w.endpoint != ""
	w.mu.Unlock()
	switch {
	case open && (c.plain || c.is("initialize") || c.is("notifications/initialized")):
		return round, ended, nil
	case c.plain && !c.is("initialize"):
		return round, nil, lost // its session has ended with the stream
	}
	if err := w.open(c.ctx); err != nil {
		return round, nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.round, w.ended, nil
}

// post sends one message to the endpoint.
func (w *sseWire) post(c *call) error {
	u := w.up
	w.mu.Lock()
	endpoint := w.endpoint
	w.mu.Unlock()
	if endpoint == "" {
		return lost
	}
	_, header := u.header(&call{message: &message{raw: c.raw}})
	resp, err := u.postTo(c.ctx, endpoint, c.raw, header)
	if err != nil {
		return u.broken(err)
	}
	if resp.StatusCode/100 == 2 {
		discard(resp)
		return nil
	}
	return u.rejected(c, resp, true) // the endpoint names the session
}
