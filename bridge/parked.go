package bridge

import (
	"crypto/rand"
	"time"
)

// parkedFor is how long a request whose server waits for input is kept for the
// host to come back with it.
const parkedFor = 10 * time.Minute

// parked is a request that is under way at the server while the bridge requests input from the
// host in its place.
type parked struct {
	inner          *call
	err            chan error // why it has not been carried out
	inputRequestID []byte     // the id of the server's request that the host is to respond
	by             string     // the idKey of the host's request whose result reports it
	timer          *time.Timer
}

// park keeps a request until the host comes back with input, and returns the
// requestState that it comes with.
func (t *legacyServer) park(c *call, p *parked) (state string) {
	state = rand.Text()
	t.mu.Lock()
	defer t.mu.Unlock()
	p.by = idKey(c.id)
	t.parked[state] = p
	p.timer = time.AfterFunc(parkedFor, func() {
		if p := t.unpark(state); p != nil {
			t.abandonOne(p)
		}
	})
	return state
}

// unpark takes a request back.
func (t *legacyServer) unpark(state string) *parked {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.parked[state]
	if p != nil {
		delete(t.parked, state)
		p.timer.Stop()
	}
	return p
}

// abandon gives up what is parked for a request of the host: the host has cancelled that, and
// does not come back with input. The notification may have crossed the result that reports it.
func (t *legacyServer) abandon(id []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for state, p := range t.parked {
		if p.by == idKey(id) {
			delete(t.parked, state)
			p.timer.Stop()
			t.abandonOne(p)
		}
	}
}

// abandonOne gives a request up, and notifies the server.
func (t *legacyServer) abandonOne(p *parked) {
	t.eras.do(func() {
		defer p.inner.cancel()
		defer time.AfterFunc(notificationWait, p.inner.cancel).Stop()
		t.eras.notify(notification("notifications/cancelled", "params", object("requestId", p.inner.id)))
	})
}
