package cli

import (
	"context"
	"time"
)

// openDelay is how long a login at a terminal leaves to the user before the browser opens without
// Enter: who looks elsewhere is not left waiting.
const openDelay = 10 * time.Second

// opening opens the URL of a login when the user presses Enter, or after openDelay, and again with
// each further Enter: a tab can be lost.
type opening struct {
	open    func(context.Context, string) error // returns at once
	pressed chan struct{}
}

func newOpening(open func(context.Context, string) error) *opening {
	return &opening{open: open, pressed: make(chan struct{}, 1)}
}

// press notes that the user has pressed Enter.
func (o *opening) press() {
	select {
	case o.pressed <- struct{}{}:
	default: // the one before is not yet handled
	}
}

// begin is the [handstamp.Prompt.OpenURL] of the login whose context is ctx.
func (o *opening) begin(ctx context.Context, rawURL string) error {
	go o.wait(ctx, rawURL)
	return nil
}

func (o *opening) wait(ctx context.Context, rawURL string) {
	delay := time.NewTimer(openDelay)
	defer delay.Stop()
	for {
		select {
		case <-o.pressed:
			delay.Stop()
		case <-delay.C:
		case <-ctx.Done():
			return
		}
		_ = o.open(ctx, rawURL) // it has warned
	}
}
