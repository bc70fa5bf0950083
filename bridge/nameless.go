package bridge

// A server that does not know which request it rejects sends a JSON-RPC error that names none: with
// the id null, without one, or with one that no request has. Some mean a session that they have
// forgotten.

// namelessError returns the error that names no request: the message, or the first such one in a
// batch, if nothing else in it names one. It returns nil for everything else.
func (m *message) namelessError(named func(id []byte) bool) *message {
	if !m.batch {
		if !m.response() || m.error == nil || m.id != nil && named(m.id) {
			return nil
		}
		return m
	}
	var nameless *message
	others := false
	m.each(func(part *message) {
		part, err := part.corrected()
		switch {
		case err != nil || !part.response():
		case part.namelessError(named) == nil:
			others = true
		case nameless == nil:
			nameless = part
		}
	})
	if others {
		return nil
	}
	return nameless
}

// nameless returns the rejection that a message is which came in response to a request and names
// none. One that came on a stream for all it gives to the request that it is about.
func (u *upstream) nameless(m *message, c *call) error {
	if c == nil {
		if e := m.namelessError(u.awaited); e != nil && !u.lateCalls.reject(u.rejectionFor(e)) {
			u.checkSession()
		}
		return nil
	}
	if c.streamed || c.is("initialize") || modernVersion(c.message) != "" {
		return nil
	}
	e := m.namelessError(func(id []byte) bool { return c.batch || sameID(id, c.id) || u.awaited(id) })
	if e == nil {
		c.streamed = true // what comes later is about the request
		return nil
	}
	return u.rejectionFor(e)
}

// rejectionFor returns the rejection that a JSON-RPC error is.
func (u *upstream) rejectionFor(e *message) *rejection {
	return &rejection{status: 200, body: e, tied: true, Trouble: newTrouble(CodeRejected, "rejected",
		"the server rejects the request: "+u.shown(text(member(e.error, "message"))))}
}

// checkSession finds out whether the session is still there, once at a time: the server has
// rejected one of several requests.
func (u *upstream) checkSession() {
	if u.checking.CompareAndSwap(false, true) {
		u.do(func() {
			defer u.checking.Store(false)
			u.probe(u.life)
		})
	}
}

// reject gives a rejection to the request that it is about: to a ping of the bridge's own, which
// finds that out, or to the only request under way. It reports false if there is none, or several.
func (l *lateCalls) reject(r *rejection) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	var sign chan *rejection
	for c := range l.posted {
		if sign = c.sign; c.own && c.is("ping") {
			break
		}
		if len(l.posted) > 1 {
			sign = nil
		}
	}
	if sign == nil {
		return false
	}
	select {
	case <-sign:
	default:
	}
	sign <- r
	return true
}
