package bridge

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// call is a request of the host's without a response yet. It gets exactly one: the first counts.
type call struct {
	*message
	bridge *bridge
	ctx    context.Context
	cancel context.CancelFunc
	ended  chan struct{} // closed when it has its response, or no longer waits for one
	once   sync.Once
	ids    [][]byte        // the requests of a batch
	lists  map[string]bool // those of them that list tools, by idKey
	open   int             // how many of them have no response yet; guarded by bridge.mu

	// Of a call of the bridge's own.
	beside func(m *message) // gets what comes in the response beside that; nil: nothing does
	got    *message         // its response, once it has ended
	failed *Trouble         // or why it has none

	inputRequests chan *message // receives the server's requests in this call; nil: the host does
	own           bool          // the bridge's own, of which the host knows nothing
	probe         bool          // a server/discover with which the host begins
	quiet         bool          // the host does not get the acknowledgement of the subscription
	plain         bool          // sent on the session as it is, without a wait or a replacement
	hasty         bool          // a rejection is of interest, and not made up for later
	left          atomic.Bool   // it may have reached the server
	round         atomic.Int64  // of the session that it was sent on last
	sent          *sending      // how far it has come; nil: it has no response
	streamed      bool          // the server has sent something on the request's stream

	on   *sseStream      // the stream of HTTP+SSE that it was sent for; nil: none
	sign chan *rejection // receives nil for a sign that it is being carried out, or its rejection

	resumed chan struct{} // closed when a subscription that waited is the server's
}

// open registers a request. It reports false for an id that is in use: the
// protocol forbids it, and two responses with one id could not be distinguished.
func (b *bridge) open(m *message) (*call, bool) {
	c := &call{message: m, bridge: b, ended: make(chan struct{}), sent: new(sending)}
	c.ctx, c.cancel = context.WithCancel(b.life)
	if m.is("ping") {
		c.ctx = b.background(c.ctx) // hosts send it when they are idle
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c.ids = [][]byte{m.id}
	if m.batch {
		c.ids = nil
		m.each(func(part *message) {
			if !part.request() {
				return
			}
			c.ids = append(c.ids, part.id)
			if part.is("tools/list") {
				if c.lists == nil {
					c.lists = make(map[string]bool)
				}
				c.lists[idKey(part.id)] = true
			}
		})
	}
	for _, id := range c.ids {
		if b.calls[idKey(id)] != nil {
			c.cancel()
			return nil, false
		}
	}
	for _, id := range c.ids {
		b.calls[idKey(id)] = c
	}
	c.open = len(c.ids)
	return c, true
}

// listsTools reports whether the response to an id is a list of tools.
func (c *call) listsTools(id []byte) bool {
	return c.is("tools/list") || c.lists[idKey(id)]
}

// own returns a call that the host knows nothing of. It is found by its id, on whatever stream
// its response comes, until it has ended or is cancelled.
func (b *bridge) own(ctx context.Context, m *message) *call {
	c := &call{message: m, bridge: b, ended: make(chan struct{}), sent: new(sending), own: true}
	ctx, cancel := context.WithCancel(ctx)
	c.ctx, c.cancel = ctx, func() {
		b.unregister(c)
		cancel()
	}
	// The host may have a call with the same id: its initialize is sent in its name.
	b.mu.Lock()
	defer b.mu.Unlock()
	b.owned[idKey(c.id)] = c
	return c
}

// find returns the call with an id, or nil.
func (b *bridge) find(id []byte) *call {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls[idKey(id)]
}

// due returns the calls without a response.
func (b *bridge) due() []*call {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Values(b.calls))
}

// claim reports whether a response to id may be given: none was.
func (c *call) claim(id []byte) bool {
	b := c.bridge
	b.mu.Lock()
	key := idKey(id)
	mine := b.calls[key] == c
	if mine {
		delete(b.calls, key)
		c.open--
	}
	last := c.open == 0
	b.mu.Unlock()
	if mine && last {
		c.end()
	}
	return mine
}

// end ends the wait for a response, given or not.
func (c *call) end() { c.once.Do(func() { close(c.ended) }) }

// takes reports whether a response with an id may be for the call: the id may have been left
// out.
func (c *call) takes(id []byte) bool { return id == nil || sameID(id, c.id) }

// sameID reports whether two ids are one: some servers write an id in another way than they
// read it.
func sameID(a, b []byte) bool {
	x, y := idKey(a), idKey(b)
	if x == y {
		return x != ""
	}
	n, errN := strconv.ParseFloat(strings.TrimPrefix(x, `"`), 64)
	m, errM := strconv.ParseFloat(strings.TrimPrefix(y, `"`), 64)
	return errN == nil && errM == nil && n == m
}

// drop forgets the call, whose response is not wanted any more.
func (c *call) drop() {
	c.bridge.mu.Lock()
	for _, id := range c.ids {
		if key := idKey(id); c.bridge.calls[key] == c {
			delete(c.bridge.calls, key)
		}
	}
	c.bridge.mu.Unlock()
	c.end()
	c.cancel()
}

// responded reports whether the call has ended.
func (c *call) responded() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// reply responds with a result, a JSON value. It reports false if there is a response already,
// or the call has ended.
func (c *call) reply(result []byte) bool {
	if !c.claim(c.id) {
		return false
	}
	c.bridge.out.write(object("jsonrpc", "2.0", "id", c.id, "result", result))
	return true
}

// fail ends the call with an error, all requests of a batch alike.
func (c *call) fail(t *Trouble) {
	if c.batch {
		for _, id := range c.ids {
			c.failPart(id, t)
		}
		c.end()
		return
	}
	if c.own {
		c.finish(nil, t)
		return
	}
	c.failPart(c.id, t)
}

// finish ends a call of the bridge's own with its response, or with why there is none, unless
// it has ended.
func (c *call) finish(got *message, failed *Trouble) {
	c.once.Do(func() {
		c.got, c.failed = got, failed
		close(c.ended)
	})
	c.bridge.unregister(c)
}

// failPart ends one request with an error.
func (c *call) failPart(id []byte, t *Trouble) {
	if c.claim(id) {
		c.bridge.out.write(t.response(id))
	}
}
