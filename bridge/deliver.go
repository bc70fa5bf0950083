package bridge

import (
	"errors"
	"time"
)

// deliver hands a message of the server to the host. c is the request in whose
// response it came; nil: in none's.
func (b *bridge) deliver(m *message, c *call) {
	switch {
	case m.batch:
		m.each(func(part *message) {
			corrected, err := part.corrected()
			if err != nil {
				b.invalid(part.raw, err, c)
				return
			}
			b.deliver(corrected, c)
		})
	case m.response():
		if target := b.addressee(m, c); target != nil {
			b.respond(target, m)
			if target != c && target.responded() {
				target.endPost()
			}
		} else {
			b.Logger.Debug("the server responded to a request that is not open")
		}
	case m.method == nil, m.id != nil && !validID(m.id):
		b.invalid(m.raw, errNeither, c)
	default:
		if c != nil && c.beside != nil {
			c.beside(m)
		}
		b.up.serverRequests.note(m)
		if line := b.era.fromServer(m, c); line != nil {
			b.out.write(line)
		}
	}
}

// errNeither reports that a message is neither of the two.
var errNeither = errors.New("it is neither a request nor a response")

// endPost ends the POST of a call that got its response elsewhere, if it does not end by itself: to
// cancel a request while its response arrives may take the connection with it that the next
// request has just been given.
func (c *call) endPost() { time.AfterFunc(postGrace, c.cancel) }

// addressee returns the call that a response is for: the one with its id, or the
// one in whose response it came, if the server has made that id of its own (some write
// large numbers in another way than they read them).
func (b *bridge) addressee(m *message, c *call) *call {
	if c != nil && c.own && c.takes(m.id) {
		return c
	}
	if m.id != nil {
		b.mu.Lock()
		own := b.owned[idKey(m.id)]
		b.mu.Unlock()
		if own != nil {
			return own
		}
		if found := b.find(m.id); found != nil {
			return found
		}
	}
	if c != nil && !c.batch && !c.responded() && c.takes(m.id) {
		return c
	}
	return nil
}

// respond gives a call its response.
func (b *bridge) respond(c *call, m *message) {
	b.up.sessionState.note(c, m)
	b.up.carriedOut(c, m)
	if c.own {
		c.finish(m, nil)
		return
	}
	b.deliverResponse(c, m, modernVersion(c.message) != "")
}

// deliverResponse gives the host the response to a request. modern reports whether a modern
// server gave it.
func (b *bridge) deliverResponse(c *call, m *message, modern bool) {
	line, id := m.raw, m.id
	if !c.batch && idKey(id) != idKey(c.id) {
		line, id = set(line, "id", c.id), c.id
	}
	if m.result != nil && c.listsTools(id) {
		if result := b.up.listed(m.result, modern); len(result) != len(m.result) {
			line = set(line, "result", result)
		}
	}
	line = b.placeholder.emptyIfMissing(c, m, line)
	if c.claim(id) {
		b.out.write(line)
	}
}

// unregister has a call of the bridge's own not be found any more.
func (b *bridge) unregister(c *call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.owned[idKey(c.id)] == c {
		delete(b.owned, idKey(c.id))
	}
}

// invalid returns what a response that is not valid means for its request.
func invalid(why error) *Trouble {
	return notValid("the server's response is not valid JSON-RPC: " + why.Error())
}

// invalid handles a message from the server that is not valid: the request or the side that waits
// for it gets an error, as far as can be determined.
func (b *bridge) invalid(raw []byte, why error, c *call) {
	b.Logger.Debug("the server sent a message that is not valid JSON-RPC", "err", why)
	g := glimpseOf(raw)
	if g.method || g.id != nil || g.outcome || g.began && c != nil && why != errNeither {
		b.unreadable(g, c, why, invalid(why))
	}
}

// responsesAtOnce bounds the bridge's own responses to the server that are under way.
const responsesAtOnce = 32

// respondToServer sends the server a response of the bridge's own to one of its requests. It is
// dropped if the server takes none of those before: it may send requests without end.
func (b *bridge) respondToServer(response []byte) {
	m, err := parse(response)
	if err != nil {
		return
	}
	select {
	case b.responses <- struct{}{}:
		b.do(func() {
			defer func() { <-b.responses }()
			b.notify(m)
		})
	default:
		b.Logger.Debug("a request of the server gets no response: too many are under way")
	}
}
