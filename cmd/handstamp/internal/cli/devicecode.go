package cli

import (
	"cmp"
	"context"
	"time"

	"github.com/handstamp/handstamp"
)

// showCodes has a client show the codes of logins on another device, until each has ended.
func (a *app) showCodes(c *handstamp.Client, t *target) {
	var shown countdown
	c.Prompt.ShowCode = a.showCode(t, &shown)
	loggedIn := c.Hooks.LoggedIn
	c.Hooks.LoggedIn = func(e handstamp.LoginEvent) {
		shown.end()
		loggedIn(e)
	}
}

// showCode returns the [handstamp.Prompt.ShowCode] of a login on another device.
func (a *app) showCode(
	t *target, shown *countdown,
) func(context.Context, handstamp.DeviceAuthorization) {
	return func(_ context.Context, d handstamp.DeviceAuthorization) {
		if a.global.json {
			_ = a.err.json(map[string]any{"login": map[string]any{
				"server": d.ServerURL, "issuer": d.Issuer, "user_code": d.UserCode,
				"verification_uri":          d.VerificationURI,
				"verification_uri_complete": d.VerificationURIComplete,
				"expires_at":                d.ExpiresAt.UTC().Format(time.RFC3339),
			}}, false)
			return
		}
		a.err.line("Sign in to %s at %s", t.name, d.Issuer)
		a.err.note("", "On any device, open this page and enter the code:")
		a.err.raw("\n  " + clean(d.VerificationURI) + "\n  " + clean(d.UserCode) + "\n")
		a.showQRCode(cmp.Or(d.VerificationURIComplete, d.VerificationURI))
		a.err.note("", "The code is valid for %s", span(time.Until(d.ExpiresAt)))
		if a.err.terminal {
			shown.begin(a.err, d.ExpiresAt)
		}
	}
}

// countdown shows on a terminal how long a code is still valid.
type countdown struct {
	cancel context.CancelFunc // nil: nothing is shown
	ended  chan struct{}
}

// begin shows the countdown until end is called or the time has come.
func (c *countdown) begin(p *printer, until time.Time) {
	c.end()
	ctx, cancel := context.WithDeadline(context.Background(), until)
	c.cancel, c.ended = cancel, make(chan struct{})
	go func() {
		defer close(c.ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			left := time.Until(until).Truncate(time.Second)
			p.progress("Waiting for you: %s left", max(0, left))
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
}

// end waits until nothing is shown any more; the next line takes the place of the last.
func (c *countdown) end() {
	if c.cancel != nil {
		c.cancel()
		<-c.ended
		c.cancel = nil
	}
}
