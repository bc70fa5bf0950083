package bridge

import (
	"context"
	"sync/atomic"
)

// sending is how far a request has come on its way to the server. It is safe for concurrent use,
// and nil is that of a message whose way is of no interest.
type sending struct {
	written   atomic.Bool             // the server has been sent all of it
	responded atomic.Bool             // and has begun to respond, if only to reject it
	accepted  atomic.Bool             // the server has accepted it, and not taken that back
	continues atomic.Pointer[sending] // the way of the request that this one continues; nil: of none
}

type sendingKey struct{}

// begin notes that the request, or what takes up its response again, is about to be sent, and
// returns the context to send it with.
func (s *sending) begin(ctx context.Context) context.Context {
	if s == nil {
		return ctx
	}
	s.attempt()
	s.accepted.Store(false)
	return context.WithValue(ctx, sendingKey{}, s)
}

// attempt notes that a connection is wanted for the request, perhaps once more.
func (s *sending) attempt() {
	s.written.Store(false)
	s.responded.Store(false)
}

// accept notes that the server has accepted the request.
func (s *sending) accept() {
	if s != nil {
		s.accepted.Store(true)
	}
}

// atServer reports whether the server is carrying the request out, as far as can be seen.
func (s *sending) atServer() bool {
	if before := s.continues.Load(); before != nil {
		return before.atServer()
	}
	return s.accepted.Load() || s.written.Load() && !s.responded.Load()
}
