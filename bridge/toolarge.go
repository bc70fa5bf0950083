package bridge

import "errors"

// tooLarge is the error for a request whose response is over the limit.
var tooLarge = newTrouble(CodeProtocol, "too_large",
	"the server's response is too large; --max-memory allows larger ones")

// errLine is the error for a message of the MCP host that is over the limit.
var errLine = newTrouble(codeInvalid, "too_large",
	"the message is too large, alone or with those under way; --max-memory allows more")

// errTooLarge is what the server gets for a request of its own that is over the limit.
var errTooLarge = errors.New("it is too large")

// tooLarge handles an event over the limit, which is skipped: a request that it responds to
// fails, as far as can be determined which one, and a request of the server is rejected. c is the
// request whose stream it is; nil: none's. It reports false where that depends on what is to
// come; whole is set once all of it is known.
func (u *upstream) tooLarge(g *glimpse, c *call, whole bool) (handled bool) {
	switch {
	case g.method && !whole:
		return false // its id may follow
	case !g.method && c == nil && !whole && (g.id == nil || !g.responds()):
		return false
	}
	u.Logger.Warn("the server sent a message that is too large, which was skipped")
	u.unreadable(g, c, errTooLarge, tooLarge)
	return true
}

// unreadable handles a message of the server that was not read: a request of the server is
// rejected, and the request to which it is the response fails. c is the request whose stream
// it is; nil: none's.
func (b *bridge) unreadable(g *glimpse, c *call, why error, t *Trouble) {
	if g.method {
		if g.id != nil {
			b.respondToServer(notParsed("the message is not valid JSON-RPC: " + why.Error()).response(g.id))
		}
		return
	}
	target := b.addressee(&message{id: g.id}, c)
	switch {
	case target == nil:
		return
	case target.batch && g.id != nil:
		target.failPart(g.id, t)
	default:
		target.fail(t)
	}
	if target == c && target.responded() {
		target.cancel() // the event may never end
	} else if target.responded() {
		target.endPost()
	}
}
