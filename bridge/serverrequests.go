package bridge

import (
	"bytes"
	"sync"
)

// Many servers count the ids of their requests anew in each session: the response of the MCP
// host's to a request of a session that was replaced would be taken for that to another one.

// serverRequestsKept bounds the requests of the server that are remembered.
const serverRequestsKept = 1000

// serverRequests are the server's requests to the host. The zero value is none. It is safe for
// concurrent use.
type serverRequests struct {
	mu    sync.Mutex        // guards what follows
	open  map[string][]byte // ids of those without a response
	stale map[string]bool   // those of them whose session is over
}

// note remembers a request of the server, or that it has cancelled one.
func (q *serverRequests) note(m *message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch key := idKey(m.id); {
	case m.is("notifications/cancelled"):
		delete(q.open, idKey(member(m.params, "requestId")))
	case m.request():
		delete(q.stale, key)
		if q.open == nil {
			q.open = make(map[string][]byte)
		}
		if len(q.open) < serverRequestsKept {
			q.open[key] = bytes.Clone(m.id)
		}
	}
}

// replied notes the host's response to a request, and reports whether the session of that is
// over.
func (q *serverRequests) replied(m *message) (stale bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	key := idKey(m.id)
	stale = q.stale[key]
	delete(q.stale, key)
	delete(q.open, key)
	return stale
}

// endSession notes that the session is over, and returns the ids of the requests that have no
// response.
func (q *serverRequests) endSession() (ids [][]byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stale == nil || len(q.stale) >= serverRequestsKept {
		q.stale = make(map[string]bool)
	}
	for key, id := range q.open {
		q.stale[key] = true
		ids = append(ids, id)
	}
	clear(q.open)
	return ids
}

// inherit takes over those of a session that the host has ended.
func (q *serverRequests) inherit(before *serverRequests) {
	before.endSession()
	before.mu.Lock()
	defer before.mu.Unlock()
	q.stale, before.stale = before.stale, nil
}

// cancelServerRequests cancels the server's requests to the host that belong to the session before. It
// returns before those of the next one come.
func (u *upstream) cancelServerRequests() {
	ids := u.serverRequests.endSession()
	if u.era.translates() {
		return // the host has its own requests for them
	}
	for _, id := range ids {
		u.out.write(object("jsonrpc", "2.0", "method", "notifications/cancelled",
			"params", object("requestId", id, "reason", "the server has ended its session")))
	}
}
