package bridge

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
)

// agreementWait is how long a server that does not send what it agrees to, as it
// must, is waited for.
const agreementWait = 10 * time.Second

// listening is a stream of notifications for a host that would get them by itself in a session
// ("subscriptions/listen").
type listening struct {
	stop     context.CancelFunc
	decided  chan struct{} // closed once the server has agreed or rejected, or is not waited for
	decide   func()
	agreed   []byte     // the notifications that the server agreed to send; nil: it did not send them
	rejected *rejection // nil: it did not reject
}

// subscribe changes the resources whose changes the host gets, and returns once the
// server has agreed to that: later changes reach the host.
func (t *modernServer) subscribe(c *call) error {
	uri := text(member(c.params, "uri"))
	adds := c.is("resources/subscribe")
	t.mu.Lock()
	if adds {
		t.resources[uri] = true
	} else {
		delete(t.resources, uri)
	}
	t.mu.Unlock()
	l := t.listen()
	if l == nil {
		return nil
	}
	select {
	case <-l.decided:
	case <-time.After(agreementWait):
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
	if !adds {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case l.rejected != nil:
		delete(t.resources, uri)
		return l.rejected
	case l.agreed != nil && !lists(member(l.agreed, "resourceSubscriptions"), uri):
		delete(t.resources, uri)
		return newTrouble(CodeTranslation, "not_subscribed",
			"the server does not agree to send changes of this resource")
	}
	return nil
}

// lists reports whether an array has a text.
func lists(array []byte, wanted string) (found bool) {
	_ = elements(array, func(element []byte) bool {
		found = text(element) == wanted
		return !found
	})
	return found
}

// listen requests from the server the notifications that a session would bring by
// itself, and for those that the host has subscribed to; nil: there are none to
// request. An earlier request gives way once the server has agreed: a
// notification may come twice meanwhile, but none gets lost between two streams.
func (t *modernServer) listen() *listening {
	t.mu.Lock()
	defer t.mu.Unlock()
	var filter []any
	for _, kind := range []string{"tools", "prompts", "resources"} {
		if string(member(t.offers, kind, "listChanged")) == "true" {
			filter = append(filter, kind+"ListChanged", true)
		}
	}
	if len(t.resources) > 0 {
		filter = append(filter, "resourceSubscriptions", slices.Sorted(maps.Keys(t.resources)))
	}
	if len(filter) == 0 {
		for _, l := range t.streams {
			l.stop()
		}
		t.streams = nil
		return nil
	}
	ctx, stop := context.WithCancel(t.eras.life)
	l := &listening{stop: stop, decided: make(chan struct{})}
	l.decide = sync.OnceFunc(func() { close(l.decided) })
	t.streams = append(t.streams, l)
	params := object("notifications", object(filter...))
	t.eras.do(func() {
		defer t.leave(l)
		t.keepListening(ctx, l, params)
	})
	return l
}

// keepListening takes up a stream of notifications again and again.
func (t *modernServer) keepListening(ctx context.Context, l *listening, params []byte) {
	backoff := resumption{}
	for ctx.Err() == nil {
		began := time.Now()
		raw := t.modernize(t.eras.newRequest("subscriptions/listen", "params", params))
		if !t.listenOnce(ctx, l, raw) {
			return
		}
		l.decide() // nothing waits for the next try
		if time.Since(began) > longestPause {
			backoff.failures = 0
		}
		if backoff.failures++; !pause(ctx, backoff.pause()) {
			return
		}
		ctx = t.eras.background(ctx)
	}
}

// listenOnce passes on notifications until their stream ends. It reports whether
// another try makes sense.
func (t *modernServer) listenOnce(ctx context.Context, l *listening, raw []byte) bool {
	response, err := t.eras.up.requestBy(ctx, raw, func(c *call) error {
		c.quiet, c.beside = true, func(got *message) {
			if got.is("notifications/subscriptions/acknowledged") {
				t.acknowledged(l, member(got.params, "notifications"))
			}
		}
		return t.eras.up.call(c)
	})
	rejected, ok := errtype.As[*rejection](err)
	if !ok && response != nil && response.error != nil {
		code := errorCode(response)
		ok = code == codeNoMethod || code == codeInvalidArgs // any other may not last
		rejected = &rejection{body: response,
			Trouble: newTrouble(CodeRejected, "rejected", "the server sends no notifications")}
	}
	if !ok || rejected.Retry {
		return true
	}
	t.eras.Logger.Debug("the server does not send notifications", "err", rejected)
	t.mu.Lock()
	l.rejected = rejected
	t.mu.Unlock()
	return false
}

// acknowledged notes what the server has agreed to send, and ends the streams before.
func (t *modernServer) acknowledged(l *listening, notifications []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l.agreed = notifications
	if i := slices.Index(t.streams, l); i > 0 {
		for _, before := range t.streams[:i] {
			before.stop()
		}
		t.streams = slices.Delete(t.streams, 0, i)
	}
	l.decide()
}

// leave forgets a stream that is over.
func (t *modernServer) leave(l *listening) {
	l.stop()
	l.decide()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.streams = slices.DeleteFunc(t.streams, func(other *listening) bool { return other == l })
}
