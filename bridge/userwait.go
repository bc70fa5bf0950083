package bridge

import (
	"context"
	"time"
)

const (
	// userWait is how long a request waits for the user to sign in before the
	// host gets an error: most hosts give up by themselves a little later.
	userWait = 50 * time.Second

	// userWaitStep is how often that time is counted.
	userWaitStep = time.Second
)

// userChanged bounds the requests under way while the user is awaited, and corrects what the host
// was shown.
func (b *bridge) userChanged() {
	ctx, cancel := context.WithCancel(b.life)
	b.mu.Lock()
	b.endUserWait()
	b.endUserWait = cancel
	awaited := b.userAwaited()
	b.mu.Unlock()
	if awaited {
		go b.limitUserWait(ctx)
	}
	b.placeholder.updateSignIn()
}

// limitUserWait ends requests with an error whose wait for the user takes too long: nothing would
// receive their response later. What the server is carrying out does not wait for the user, whose
// login another request needs, and a subscription has no response that the host waits for.
func (b *bridge) limitUserWait(ctx context.Context) {
	waited := make(map[*call]time.Duration)
	for pause(ctx, userWaitStep) {
		awaited, text := b.User.status()
		if !awaited {
			return
		}
		before := waited
		waited = make(map[*call]time.Duration)
		for _, c := range b.due() {
			waited[c] = before[c]
			if c.is("subscriptions/listen") || c.sent.atServer() {
				continue
			}
			if waited[c] += userWaitStep; waited[c] >= userWait {
				c.fail(signInFirst(text)) // first: the end of its context has it forgotten
				c.cancel()
			}
		}
	}
}
