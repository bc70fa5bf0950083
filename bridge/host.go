package bridge

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
)

// read takes what the host writes until it stops.
func (b *front) read() error {
	in := &lines{Reader: bufio.NewReaderSize(b.Stdin, pipeSize), limit: b.MaxMessage, memory: &b.lines}
	wide := false
	for {
		line, dropped, err := in.next()
		if len(line) > pipeSize && !wide {
			wide = true
			widen(b.Stdin)
		}
		if len(line) > 0 || dropped != nil {
			if !b.enter() {
				return nil
			}
			if dropped != nil {
				b.current().rejectLine(dropped, errLine)
			} else {
				b.current().accept(line)
			}
			b.work.Done()
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// enter makes Run wait for what the reader is about to begin; the reader itself
// is not waited for, as nothing can end its wait for the host. It reports false if
// Run has stopped waiting.
func (b *front) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.life.Err() != nil {
		return false
	}
	b.work.Add(1)
	return true
}

// validID reports whether an id is a string or a number.
func validID(id []byte) bool {
	return (id[0] == '"' || id[0] == '-' || id[0] >= '0' && id[0] <= '9') && json.Valid(id)
}

// request makes sure that a request gets its response.
func (b *bridge) request(m *message) {
	if m.is("initialize") {
		b = b.front.sessionFor(m)
	}
	probe := b.era.probes(m)
	c, ok := b.open(m)
	if !ok {
		b.out.write(notForwarded("a request with this id is under way").response(m.id))
		return
	}
	if m.is("initialize") {
		// What the host sends meanwhile has to wait for the response.
		b.setBarrier(c.ended)
		b.do(func() {
			b.initialize(c)
			c.drop()
		})
		return
	}
	c.probe = probe
	b.after(func() {
		b.serve(c)
		c.drop()
	})
}

// serve carries a request out and reports why, if that did not work.
func (b *bridge) serve(c *call) {
	err := b.carryOut(c)
	if err == nil || c.responded() || c.ctx.Err() != nil {
		return
	}
	if rejected, ok := errtype.As[*rejection](err); ok && rejected.body != nil && !c.batch {
		b.respond(c, rejected.body) // whatever id it has, it came for this request
		return
	}
	c.fail(b.explain(err))
}

// carryOut responds to a request: the placeholder, the translation or the server.
func (b *bridge) carryOut(c *call) error {
	if done, err := b.placeholder.serve(c); done {
		return err
	}
	if c.isSignIn() && b.denies(c.message) {
		return errDenied
	}
	if done, err := b.era.serve(c); done {
		return err
	}
	return b.up.call(c)
}

// notification passes on what has no response, in the order in which it came, and beside the
// requests: only notifications/initialized has to come before what follows it.
func (b *bridge) notification(m *message) {
	switch {
	case m.is("notifications/cancelled"):
		b.cancelled(m)
	case m.is("notifications/initialized"):
		if over, ok := b.inTurn(func() { b.era.initialized(m) }); ok {
			// Servers may reject what overtakes it.
			b.setBarrier(over)
		}
	default:
		b.inTurn(func() {
			if !b.era.staysHere(m) {
				b.notify(m)
			}
		})
	}
}

// notify sends what has no response.
func (b *bridge) notify(m *message) {
	ctx := b.life
	if !b.up.serverRequests.byUser(m) {
		ctx = b.background(ctx)
	}
	ctx, cancel := b.accepting(ctx)
	defer cancel()
	if err := b.up.notify(ctx, m); err != nil && b.life.Err() == nil {
		b.Logger.Debug("a message could not be passed on", "method", m.name(), "err", err)
	}
}

// cancelled ends a request that the host does not wait for any more. Before
// 2026-07-28 the notification is passed on, since then the server notices the end of
// the request's stream.
func (b *bridge) cancelled(m *message) {
	id := member(m.params, "requestId")
	c := b.find(id)
	if c == nil {
		b.era.legacy.abandon(id)
		return
	}
	if c.is("initialize") {
		return
	}
	drop := func() {
		c.drop()
		b.era.legacy.abandon(id) // it may have requested input before its turn to end came
	}
	// However long what came before takes, the request is given up.
	late := time.AfterFunc(notificationWait, drop)
	if _, ok := b.inTurn(func() {
		defer drop()
		defer late.Stop()
		if b.era.cancels(c) {
			b.notify(m)
		}
	}); !ok {
		late.Stop()
		drop()
	}
}

// setBarrier makes what is read from now on wait until done is closed.
func (b *bridge) setBarrier(done <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.barrier = done
}

// after runs a piece of work once the barrier is open.
func (b *bridge) after(f func()) {
	b.mu.Lock()
	barrier := b.barrier
	b.mu.Unlock()
	b.do(func() {
		_ = wait(b.life, barrier)
		f()
	})
}
