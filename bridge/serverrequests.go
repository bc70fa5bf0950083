package bridge

import (
	"bytes"
	"maps"
	"sync"
)

// Many servers restart the ids of their requests in each session: the response of the MCP
// host's to a request of a session that was replaced would be taken for that to another one.

// serverRequestsKept bounds the requests of the server that are remembered.
const serverRequestsKept = 1000

// serverRequests are the server's requests to the host. It is safe for concurrent use.
type serverRequests struct {
	mu   sync.Mutex                // guards what follows
	open map[string]*serverRequest // by idKey
}

// serverRequest is a request that has no response yet.
type serverRequest struct {
	id     []byte
	byUser bool // the user responds to it
	stale  bool // its session is over
}

// forUser reports whether a message is a request that the user responds to.
func (m *message) forUser() bool {
	return m.request() && (m.is("elicitation/create") || m.is("sampling/createMessage"))
}

// note remembers a request of the server, or that it has cancelled one.
func (q *serverRequests) note(m *message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case m.is("notifications/cancelled"):
		if key := idKey(member(m.params, "requestId")); q.open[key] != nil && !q.open[key].stale {
			delete(q.open, key)
		}
	case m.request():
		if len(q.open) >= serverRequestsKept {
			maps.DeleteFunc(q.open, func(_ string, r *serverRequest) bool { return r.stale })
		}
		if len(q.open) < serverRequestsKept {
			q.open[idKey(m.id)] = &serverRequest{id: bytes.Clone(m.id), byUser: m.forUser()}
		}
	}
}

// replied notes the host's response to a request, which it returns.
func (q *serverRequests) replied(m *message) (r serverRequest) {
	q.mu.Lock()
	defer q.mu.Unlock()
	key := idKey(m.id)
	if known := q.open[key]; known != nil {
		r = *known
	}
	delete(q.open, key)
	return r
}

// byUser reports whether a message, or a part of a batch, is what the user has responded to a request.
func (q *serverRequests) byUser(m *message) (is bool) {
	if m.batch {
		m.each(func(part *message) { is = is || q.byUser(part) })
		return is
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	known := q.open[idKey(m.id)]
	return m.response() && known != nil && known.byUser
}

// endSession notes that the session is over, and returns the ids of the requests that have no
// response.
func (q *serverRequests) endSession() (ids [][]byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.open {
		if !r.stale {
			ids = append(ids, r.id)
		}
		r.stale = true
	}
	return ids
}

// inherit takes over those of a session that the host has ended.
func (q *serverRequests) inherit(before *serverRequests) {
	before.endSession()
	before.mu.Lock()
	defer before.mu.Unlock()
	q.open, before.open = before.open, q.open
}

// cancelServerRequests cancels the server's requests to the host that belong to the session
// before. It returns before those of the next one come.
func (u *upstream) cancelServerRequests() {
	ids := u.serverRequests.endSession()
	if u.era.now().translates {
		return // the host has its own requests for them
	}
	for _, id := range ids {
		u.out.write(notification("notifications/cancelled",
			"params", object("requestId", id, "reason", "the server has ended its session")).raw)
	}
}
