package bridge

import (
	"bytes"
	"slices"
)

// What the host sends is forwarded as it came, or not at all: a message that host,
// bridge and server may read in different ways would get past the filter of tools.

// accept handles one message from the host.
func (b *bridge) accept(line []byte) {
	m, err := parse(line)
	switch {
	case err != nil:
		b.rejectLine(glimpseOf(line), notParsed("the message is not valid JSON: "+err.Error()))
		return
	case m.batch:
		b.acceptBatch(m)
		return
	}
	if m.mangled {
		m.id = validUTF8(m.id) // the response to it is valid
	}
	if t := b.objection(m); t != nil && !(t == errDenied && b.placeholder.offers(m)) {
		b.rejectMessage(m, t)
		return
	}
	switch {
	case m.request():
		b.request(m)
	case m.notification():
		b.notification(m)
	case !b.era.modern.replied(m):
		b.send(m)
	}
}

// send passes on what has no response.
func (b *bridge) send(m *message) {
	b.sent.Add(1)
	b.after(func() {
		defer b.sent.Done()
		b.notify(m)
	})
}

// objection returns why a message is not forwarded; nil: it is.
func (b *bridge) objection(m *message) *Trouble {
	switch {
	case m.mangled && b.Tool != nil:
		return notParsed("the message is not valid UTF-8")
	case m.twice != "":
		return notForwarded("the message has more than one " + m.twice)
	case m.similar != "" && b.Tool != nil:
		return notForwarded("the message has a member that is " + m.similar + " in another case")
	case m.id != nil && !validID(m.id):
		return notForwarded("an id is a string or a number")
	case b.denies(m):
		return errDenied
	case m.method == nil && (m.id == nil || !m.response()):
		return notForwarded("that is no JSON-RPC message")
	}
	return nil
}

// errDenied is the error of a call of a tool that [Options.Tool] denies.
var errDenied = newTrouble(codeInvalidArgs, "tool_denied",
	"this tool may not be called through this bridge")

// denies reports whether a message calls a tool that the host may not call. A call that names no
// tool in the way of MCP may name it in another.
func (b *bridge) denies(m *message) bool {
	name := text(m.target)
	return m.is("tools/call") && b.Tool != nil && (name == "" || !b.Tool(name))
}

// rejectMessage sends an error for a message that is not forwarded to whichever side waits for
// its response.
func (b *bridge) rejectMessage(m *message, t *Trouble) {
	g := &glimpse{id: m.id, method: m.seen&hasMethod != 0, outcome: m.outcome()}
	if m.twice == "id" || g.id != nil && !validID(g.id) {
		g.id = nil
	}
	if g.method && m.twice == "" && m.id == nil {
		b.Logger.Warn("a notification of the host was not forwarded", "why", t.Message)
		return
	}
	b.rejectLine(g, t)
}

// rejectLine sends the host an error for a message that is not forwarded. For a response,
// the server that waits for it gets an error, too.
func (b *bridge) rejectLine(g *glimpse, t *Trouble) {
	id := g.id
	if id != nil && !g.method {
		if m, err := parse(t.response(id)); err == nil && g.outcome && !b.era.modern.replied(m) {
			b.send(m)
		}
		id = nil
	}
	if id != nil && b.find(id) != nil {
		id = nil // another request has it
	}
	b.out.write(t.response(id))
}

// acceptBatch handles a batch from the host: each request in it that is not forwarded gets
// an error, and the rest is forwarded as it came.
func (b *bridge) acceptBatch(m *message) {
	var kept [][]byte
	requests := make(map[string]bool)
	all := 0
	_ = elements(m.raw, func(element []byte) bool {
		all++
		part, err := parse(element)
		switch {
		case err != nil || part.batch:
			b.rejectLine(new(glimpse), notForwarded("the batch has an element that is no JSON-RPC message"))
			return true
		case part.request() && requests[idKey(part.id)]:
			b.rejectLine(new(glimpse), notForwarded("the batch has two requests with one id"))
			return true
		}
		if t := b.objection(part); t != nil {
			b.rejectMessage(part, t)
			return true
		}
		if b.takesPart(part) {
			return true
		}
		kept = append(kept, element)
		if part.request() {
			requests[idKey(part.id)] = true
		}
		return true
	})
	switch {
	case all == 0:
		b.rejectLine(new(glimpse), notForwarded("the batch is empty"))
		return
	case len(kept) == 0:
		return
	case len(kept) < all:
		m = &message{batch: true, raw: array(kept)}
	}
	if len(requests) == 0 {
		b.send(m)
		return
	}
	b.request(m)
}

// takesPart deals with a part of a batch that concerns the session, or a request, and not the
// server alone. It reports false for all others.
func (b *bridge) takesPart(part *message) bool {
	switch {
	case part.method == nil:
		return b.era.modern.replied(part)
	case part.request():
		return false
	case part.is("notifications/initialized"),
		part.is("notifications/cancelled") && b.find(member(part.params, "requestId")) != nil:
		b.notification(part)
		return true
	}
	return false
}

// array returns the JSON array of elements.
func array(elements [][]byte) []byte {
	return slices.Concat([]byte{'['}, bytes.Join(elements, []byte{','}), []byte{']'})
}
