package bridge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/sse"
)

// tooSlow ends a long response that comes so slowly that others wait for its memory.
var tooSlow = &Trouble{Code: CodeUncertain, Reason: "too_slow", Retry: true,
	Message: "the server's long response came so slowly that it was given up for others" + perhapsDone}

// body reads a whole message. The caller calls done when it has passed it on, and does
// not use it any more.
func (u *upstream) body(resp *http.Response) (b []byte, done func(), err error) {
	defer resp.Body.Close()
	if resp.ContentLength > int64(u.MaxMessage) {
		return nil, func() {}, tooLarge
	}
	if n := resp.ContentLength; n >= 0 && n <= shortMessage {
		b = make([]byte, n, n+1) // the line end will fit
		if _, err := io.ReadFull(resp.Body, b); err != nil {
			return nil, func() {}, u.brokeOff(err)
		}
		return b, func() {}, nil
	}
	share := u.memory.share(func() { resp.Body.Close() })
	next := func() {} // lets the next long message in
	done = func() {
		share.release()
		next()
	}
	r := bodyReader{upstream: u, share: share, ctx: resp.Request.Context(), from: resp.Body,
		length: int(resp.ContentLength)}
	b, err = r.read(func() { next = u.longTurn() })
	switch {
	case share.evicted.Load():
		return nil, done, tooSlow
	case err != nil:
		return nil, done, u.brokeOff(err)
	case len(b) > u.MaxMessage:
		return nil, done, tooLarge
	}
	share.arrived()
	return b, done, nil
}

// brokeOff returns what an error means with which the reading of a response ended.
func (u *upstream) brokeOff(err error) *Trouble {
	u.Logger.Debug("the response broke off", "err", err)
	if t, ok := errtype.As[*Trouble](err); ok {
		return t
	}
	return lost
}

// bodyReader reads one body into memory that grows with what arrives, whatever length
// was announced.
type bodyReader struct {
	*upstream
	share  *share
	ctx    context.Context
	from   io.Reader
	length int // negative: unknown
}

// read reads all, and calls long, once, before it is more than a long message.
func (r *bodyReader) read(long func()) ([]byte, error) {
	most := r.MaxMessage + 1 // one more byte means that it is too long
	if r.length >= 0 {
		most = r.length + 1 // the line end will fit
	}
	b := make([]byte, 0, min(4<<10, most))
	for {
		n, err := r.from.Read(b[len(b):min(cap(b), most)])
		b = b[:len(b)+n]
		r.share.read.Add(int64(n))
		switch {
		case len(b) == r.length:
			return b, nil
		case errors.Is(err, io.EOF) && r.length < 0:
			r.expected.met(len(b))
			return b, nil
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		case len(b) >= most:
			return b, nil
		case len(b) < cap(b):
			continue
		}
		next := r.capacity(cap(b), most)
		if cap(b) <= shortMessage && next > shortMessage {
			long()
		}
		if err := r.share.grow(r.ctx, next); err != nil {
			return nil, err
		}
		b = slices.Grow(b, next-len(b))
	}
}

// capacity returns the next capacity.
func (r *bodyReader) capacity(full, most int) int {
	switch {
	case r.length >= 0 && full >= shortMessage && most <= giantMessage:
		return most // that it is long is no lie, and it is not too much
	case r.length < 0 && full >= pipeSize && full < leastExpected:
		return min(r.expected.capacity(full), most)
	}
	return grown(full, most)
}

// eventReader reads events whose memory is counted.
type eventReader struct {
	*sse.Reader
	share *share

	// tooLarge is called with what is known of an event that is too large until it returns
	// true, and when it is whole. Nil: nothing is done.
	tooLarge func(g *glimpse, whole bool) (handled bool)
	skipped  *glimpse // the event that is too large; nil: it is not, or is handled
	handled  bool
}

// Write gets the data of an event that is too large. It takes no memory any more.
func (r *eventReader) Write(p []byte) (int, error) {
	if r.skipped == nil {
		r.skipped = new(glimpse)
	}
	_, _ = r.skipped.Write(p)
	r.share.release()
	r.handled = r.handled || r.tooLarge == nil || r.tooLarge(r.skipped, false)
	return len(p), nil
}

// Next returns the next event.
func (r *eventReader) Next() (sse.Event, error) {
	e, err := r.Reader.Next()
	if g := r.skipped; g != nil {
		if g.end(); !r.handled && errors.Is(err, sse.ErrTooLarge) {
			r.tooLarge(g, true)
		}
		r.skipped, r.handled = nil, false
	}
	if r.share.evicted.Load() {
		return e, tooSlow
	}
	r.share.arrived()
	return e, err
}

// eventsOf returns a reader of the events of a response.
func (u *upstream) eventsOf(resp *http.Response) *eventReader {
	share := u.memory.share(func() { resp.Body.Close() })
	body := countedReader{resp.Body, &share.read}
	r := &eventReader{Reader: sse.NewReader(body, u.MaxMessage), share: share}
	r.Skipped = r
	ctx := resp.Request.Context()
	r.Grow = func(from, most int) (int, error) {
		to := grown(from, most)
		return to, share.grow(ctx, to)
	}
	return r
}
