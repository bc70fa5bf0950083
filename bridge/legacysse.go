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
	events := u.eventsOf(resp)
	endpoint, err := firstEndpoint(events.Reader, u.URL)
	if err != nil || !timer.Stop() {
		cancel()
		resp.Body.Close()
		return &Trouble{Code: CodeProtocol, Reason: "protocol", Message: "the server's event stream names no endpoint to send to"}
	}
	ended := make(chan struct{})
	w.mu.Lock()
	w.endpoint, w.ended, w.spoken = endpoint, ended, true
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

// call sends a request and waits for its answer on the stream.
func (w *sseWire) call(c *call) error {
	ended, err := w.ready(c.ctx, c.message)
	if err != nil {
		return err
	}
	if c.sink != nil {
		w.up.adopt(c)
		defer w.up.forget(c)
	}
	if err := w.post(c.ctx, c.raw); err != nil {
		return err
	}
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

// send sends a message that has no answer.
func (w *sseWire) send(ctx context.Context, m *message) error {
	if _, err := w.ready(ctx, m); err != nil {
		return err
	}
	return w.post(ctx, m.raw)
}

// ready returns a channel that is closed when the stream ends. All but the
// handshake, which is a part of that, wait for a session on it.
func (w *sseWire) ready(ctx context.Context, m *message) (<-chan struct{}, error) {
	w.mu.Lock()
	ended, open := w.ended, w.endpoint != ""
	w.mu.Unlock()
	if open && (m.is("initialize") || m.is("notifications/initialized")) {
		return ended, nil
	}
	if err := w.open(ctx); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended, nil
}

// post sends one message to the endpoint.
func (w *sseWire) post(ctx context.Context, raw []byte) error {
	u := w.up
	w.mu.Lock()
	endpoint := w.endpoint
	w.mu.Unlock()
	if endpoint == "" {
		return lost
	}
	_, header := u.header(&call{message: &message{raw: raw}})
	resp, err := u.postTo(ctx, endpoint, raw, header)
	if err != nil {
		return u.broken(err)
	}
	if resp.StatusCode/100 == 2 {
		discard(resp)
		return nil
	}
	return u.refused(resp)
}
