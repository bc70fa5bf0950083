package cli

import (
	"context"
	"sync"
	"time"

	"github.com/handstamp/handstamp"
)

// countdown shows on a terminal how long a login still waits for the user.
type countdown struct {
	mu     sync.Mutex
	cancel context.CancelFunc // nil: nothing is shown
	ended  chan struct{}
}

// begin shows the countdown until end is called, ctx ends or the time has come. On anything but a
// terminal, nothing is shown.
func (c *countdown) begin(ctx context.Context, p *printer, until time.Time) {
	c.end()
	if !p.terminal {
		return
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	ended := make(chan struct{})
	c.mu.Lock()
	c.cancel, c.ended = cancel, ended
	c.mu.Unlock()
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for ctx.Err() == nil {
			p.progress("%s left to sign in", max(0, time.Until(until).Truncate(time.Second)))
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}()
}

// end waits until nothing is shown any more; the next line takes the place of the last.
func (c *countdown) end() {
	c.mu.Lock()
	cancel, ended := c.cancel, c.ended
	c.cancel = nil
	c.mu.Unlock()
	if cancel != nil {
		cancel()
		<-ended
	}
}

// countDown has a client's logins show how long they wait, until each has ended.
func (a *app) countDown(c *handstamp.Client) {
	if a.global.json || a.global.quiet {
		return
	}
	shown := &a.waiting
	begin := func(ctx context.Context) { shown.begin(ctx, a.err, time.Now().Add(c.LoginTimeout)) }
	show, waiting := c.Prompt.Show, c.Prompt.Waiting
	c.Prompt.Show = func(ctx context.Context, r handstamp.AuthorizationRequest) {
		shown.end()
		show(ctx, r)
		begin(ctx)
	}
	c.Prompt.Waiting = func(ctx context.Context, r handstamp.AuthorizationRequest) {
		shown.end()
		waiting(ctx, r)
		begin(ctx)
	}
	loggedIn := c.Hooks.LoggedIn
	c.Hooks.LoggedIn = func(e handstamp.LoginEvent) {
		shown.end()
		loggedIn(e)
	}
}
